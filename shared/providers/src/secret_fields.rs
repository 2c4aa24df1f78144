//! A secret that is made of several parts, as people have it: a JSON object, or lines of `NAME=value`.

use serde_json::{Map, Value};

/// The parts.
pub(crate) enum SecretFields {
    Object(Map<String, Value>),
    Lines(Vec<(String, String)>),
}

// === impl SecretFields ===

impl SecretFields {
    /// `None` when it is neither.
    pub(crate) fn read(secret: &str) -> Option<Self> {
        let secret = secret.trim();
        if secret.starts_with('{') {
            return serde_json::from_str(secret).ok().map(Self::Object);
        }
        let lines: Vec<_> = secret.lines().filter_map(line).collect();
        (!lines.is_empty()).then_some(Self::Lines(lines))
    }

    /// The first of these names that there is, if it is not empty.
    pub(crate) fn get(&self, names: &[&str]) -> Option<String> {
        let found = names.iter().find_map(|name| match self {
            Self::Object(object) => object.get(*name)?.as_str().map(str::to_owned),
            Self::Lines(lines) => lines.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone()),
        });
        found.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}

fn line(line: &str) -> Option<(String, String)> {
    let (name, value) = line.trim().trim_start_matches("export ").split_once('=')?;
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let name = name.trim();
    is_name(name).then(|| (name.to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()))
}
