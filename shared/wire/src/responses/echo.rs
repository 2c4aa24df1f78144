//! Parts of the request that an answer repeats.

use serde_json::value::RawValue;

use crate::{ir::Json, text::Str};

/// Fields of the request that a response has too, with what stands there when the client said nothing.
pub(super) const FIELDS: [(&str, &str); 20] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("previous_response_id", "null"),
    ("prompt", "null"),
    ("prompt_cache_key", "null"),
    ("prompt_cache_retention", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
    ("store", "true"),
    ("temperature", "1.0"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("top_p", "1.0"),
    ("truncation", "\"disabled\""),
    ("user", "null"),
];

/// Also repeated, but the answer knows better.
pub(super) const SERVICE_TIER: &str = "service_tier";

/// What an answer to this body repeats, for [`ResponseContext::echo`](crate::codec::ResponseContext::echo). Nothing when the body cannot
/// be read: the request is then refused anyway.
pub fn echo(body: &[u8]) -> Vec<(&'static str, Json<'static>)> {
    serde_json::from_slice::<Echo>(body).map(|echo| echo.0).unwrap_or_default()
}

struct Echo(Vec<(&'static str, Json<'static>)>);

impl<'de> serde::Deserialize<'de> for Echo {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EchoVisitor;

        impl<'de> serde::de::Visitor<'de> for EchoVisitor {
            type Value = Echo;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Echo, A::Error> {
                let mut fields: Vec<(&'static str, Json<'static>)> = Vec::new();
                while let Some(key) = map.next_key::<Str<'de>>()? {
                    let raw: &'de RawValue = map.next_value()?;
                    if raw.get() != "null"
                        && let Some(name) = known(&key.0)
                    {
                        fields.push((name, Json::from(raw).into_owned()));
                    }
                }
                Ok(Echo(fields))
            }
        }

        deserializer.deserialize_map(EchoVisitor)
    }
}

fn known(key: &str) -> Option<&'static str> {
    let names = FIELDS.iter().map(|(name, _)| *name);
    names.chain([SERVICE_TIER]).find(|name| *name == key)
}
