//! What some hosts want of a body beside its format: fields of the top level under another name, left out, or added.

use std::fmt;

use serde::{
    Deserialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Changes of a body's top level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Fields that are left out.
    pub(crate) without: &'static [&'static str],
    /// Fields that have another name.
    pub(crate) renamed: &'static [(&'static str, &'static str)],
    /// The same where the value is a text.
    pub(crate) renamed_texts: &'static [(&'static str, &'static str)],
    /// Fields that are added unless the body has them.
    pub(crate) with: Vec<(&'static str, String)>,
    /// Headers that go with it.
    pub(crate) headers: &'static [(&'static str, &'static str)],
}

/// An object's fields in their order, unread.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

// === impl Envelope ===

impl Envelope {
    /// The body changed; `None` when it is no object.
    pub fn apply(&self, body: &[u8]) -> Option<Vec<u8>> {
        let Fields(fields) = serde_json::from_slice(body).ok()?;
        let mut out = Vec::with_capacity(body.len() + 128);
        out.push(b'{');
        let mut add = |name: &str, value: &str| {
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(serde_json::Value::from(name).to_string().as_bytes());
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        };
        for (name, value) in &self.with {
            if fields.iter().all(|(own, _)| own != name) {
                add(name, value);
            }
        }
        for (name, value) in &fields {
            if self.without.contains(&name.as_str()) {
                continue;
            }
            let texts = self.renamed_texts.iter().filter(|_| value.get().starts_with('"'));
            let renamed = self.renamed.iter().chain(texts).find(|(old, _)| old == name);
            add(renamed.map_or(name.as_str(), |(_, new)| new), value.get());
        }
        out.push(b'}');
        Some(out)
    }

    pub fn headers(&self) -> &'static [(&'static str, &'static str)] {
        self.headers
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Reading).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_top_level_changes_and_values_stay_as_they_were_written() {
        let envelope = Envelope {
            without: &["model", "stream"],
            renamed: &[("id", "model_id")],
            renamed_texts: &[("tool_choice", "tool_choice_option")],
            with: vec![("project_id", "\"p\"".into()), ("kept", "1".into())],
            headers: &[],
        };
        let body = br#"{ "model":"m","id":"x", "tool_choice":"auto","kept": 2.50,"messages":[{"model":"inner"}],"stream":true}"#;
        let out = envelope.apply(body).expect("an object");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            r#"{"project_id":"p","model_id":"x","tool_choice_option":"auto","kept":2.50,"messages":[{"model":"inner"}]}"#
        );
        let object = envelope.apply(br#"{"tool_choice":{"type":"function"}}"#).expect("an object");
        assert!(String::from_utf8(object).expect("text").ends_with(r#""tool_choice":{"type":"function"}}"#));
        for bad in [&b"[]"[..], b"", b"{", b"1"] {
            assert_eq!(envelope.apply(bad), None);
        }
    }
}
