//! A small JSON tree that keeps the order of fields and the text of numbers: models answer in the order that a schema has.

use serde_json::value::RawValue;

use crate::text::Str;

/// Deeper values stay the text that they are.
const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Object(Object),
    Array(Vec<Tree>),
    /// JSON text of a string, a number, a boolean, null, or of what is nested too deep.
    Text(String),
}

/// Fields in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object(pub(crate) Vec<(String, Tree)>);

// === impl Tree ===

impl Tree {
    /// Reads valid JSON; anything else stays text.
    pub(crate) fn read(json: &str) -> Self {
        Self::read_at(json.trim(), 0)
    }

    fn read_at(json: &str, depth: usize) -> Self {
        if depth > MAX_DEPTH {
            return Self::Text(json.to_owned());
        }
        if json.starts_with('{')
            && let Ok(fields) = serde_json::from_str::<Fields<'_>>(json)
        {
            let fields = fields.0.into_iter();
            return Self::Object(Object(
                fields.map(|(name, raw)| (name.0.into_owned(), Self::read_at(raw.get(), depth + 1))).collect(),
            ));
        }
        if json.starts_with('[')
            && let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json)
        {
            return Self::Array(items.into_iter().map(|raw| Self::read_at(raw.get(), depth + 1)).collect());
        }
        Self::Text(json.to_owned())
    }

    pub(crate) fn string(text: &str) -> Self {
        Self::Text(serde_json::Value::from(text).to_string())
    }

    pub(crate) const fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// The text of a string.
    pub(crate) fn as_str(&self) -> Option<String> {
        let Self::Text(text) = self else { return None };
        serde_json::from_str(text).ok()
    }

    /// Whether it is exactly this JSON text.
    pub(crate) fn is(&self, json: &str) -> bool {
        matches!(self, Self::Text(text) if text == json)
    }

    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Object(object) => {
                out.push('{');
                for (index, (name, value)) in object.0.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(&serde_json::Value::from(name.as_str()).to_string());
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Text(text) => out.push_str(text),
        }
    }
}

impl std::fmt::Display for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}

// === impl Object ===

impl Object {
    pub(crate) fn get(&self, name: &str) -> Option<&Tree> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Tree> {
        self.0.iter_mut().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Tree> {
        let at = self.0.iter().position(|(own, _)| own == name)?;
        Some(self.0.remove(at).1)
    }

    /// In the place of the field of that name, else behind the others.
    pub(crate) fn set(&mut self, name: &str, value: Tree) {
        match self.get_mut(name) {
            Some(own) => *own = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

struct Fields<'a>(Vec<(Str<'a>, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Fields<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> serde::de::Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_numbers_survive() {
        let json = r#"{"z":1.50,"a":["é\n",{"y":1e400,"b":null}],"":true}"#;
        assert_eq!(Tree::read(json).to_string(), json);
        let Tree::Object(mut object) = Tree::read(json) else { panic!("an object") };
        assert_eq!(object.remove("z"), Some(Tree::Text("1.50".to_owned())));
        object.set("a", Tree::string("q\""));
        object.set("n", Tree::Array(Vec::new()));
        assert_eq!(Tree::Object(object).to_string(), r#"{"a":"q\"","":true,"n":[]}"#);
    }

    #[test]
    fn nesting_beyond_the_bound_stays_text() {
        let deep = ["[".repeat(20_000), "]".repeat(20_000)].concat();
        assert_eq!(Tree::read(&deep).to_string(), deep);
    }
}
