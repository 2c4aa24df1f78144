//! Writes JSON straight into a buffer, without a tree in between.

use memchr::memchr2;
use serde::Serialize;

use crate::{ir::Json, quote::quote};

/// A JSON writer over a growing buffer. Commas are its business; balance is the closures'.
pub(crate) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// Whether the next item needs a comma in front.
    comma: bool,
}

// === impl Writer ===

impl<'o> Writer<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, comma: false }
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    /// An object as the next item.
    pub(crate) fn object(&mut self, fields: impl FnOnce(&mut Self)) {
        self.nest(b'{', b'}', fields);
    }

    /// A list as the next item.
    pub(crate) fn array(&mut self, items: impl FnOnce(&mut Self)) {
        self.nest(b'[', b']', items);
    }

    fn nest(&mut self, open: u8, close: u8, inside: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.push(open);
        self.comma = false;
        inside(self);
        self.out.push(close);
        self.comma = true;
    }

    /// A field's name; its value is the next item.
    pub(crate) fn key(&mut self, name: &str) -> &mut Self {
        self.separate();
        self.put(name);
        self.out.push(b':');
        self.comma = false;
        self
    }

    pub(crate) fn str(&mut self, text: &str) {
        self.separate();
        self.put(text);
    }

    /// JSON text as the next item, to the byte but for its line ends: they can only stand between tokens, and inside an
    /// event or a line of a stream they would end it.
    pub(crate) fn raw(&mut self, json: &str) {
        self.separate();
        let start = self.out.len();
        self.out.extend_from_slice(json.as_bytes());
        if memchr2(b'\n', b'\r', json.as_bytes()).is_some() {
            self.out[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        }
    }

    /// Anything that serde can write without failing: numbers, booleans, strings, lists of them.
    pub(crate) fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        self.separate();
        self.put_value(value);
    }

    pub(crate) fn field_str(&mut self, name: &str, text: &str) {
        self.key(name).str(text);
    }

    pub(crate) fn field_raw(&mut self, name: &str, json: &str) {
        self.key(name).raw(json);
    }

    pub(crate) fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.key(name).value(value);
    }

    pub(crate) fn field_null(&mut self, name: &str) {
        self.key(name).raw("null");
    }

    /// The field only when there is a value.
    pub(crate) fn field_opt(&mut self, name: &str, value: Option<&impl Serialize>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }

    pub(crate) fn field_str_opt(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.field_str(name, text);
        }
    }

    pub(crate) fn field_json_opt(&mut self, name: &str, json: Option<&Json<'_>>) {
        if let Some(json) = json {
            self.field_raw(name, json.as_str());
        }
    }

    fn put(&mut self, text: &str) {
        quote(text, self.out);
    }

    fn put_value(&mut self, value: &(impl Serialize + ?Sized)) {
        let before = self.out.len();
        // Writing into memory cannot fail, and no type handed in here fails to serialise. Were one to, a null keeps the
        // document well formed.
        if serde_json::to_writer(&mut *self.out, value).is_err() {
            self.out.truncate(before);
            self.out.extend_from_slice(b"null");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_json_cannot_end_a_line_of_a_stream() {
        let mut out = Vec::new();
        Writer::new(&mut out).raw("{\r\n  \"a\": \"b\\n\"\n}");
        assert_eq!(out, b"{    \"a\": \"b\\n\" }");
    }

    #[test]
    fn nested_items_get_their_commas_and_escapes() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.object(|w| {
            w.field_str("a", "line\n\"quoted\"");
            w.key("b").array(|w| {
                w.raw("1.50");
                w.object(|_| {});
                w.value(&true);
            });
            w.field_opt("c", None::<&u64>);
            w.field_null("d");
        });
        assert_eq!(String::from_utf8(out).expect("text"), r#"{"a":"line\n\"quoted\"","b":[1.50,{},true],"d":null}"#);
    }
}
