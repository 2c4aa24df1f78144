//! Google's servers read a field under its name in JSON and under its name in the schema, `inlineData` and
//! `inline_data`, and bytes in either alphabet of base64. The SDKs make use of that.

use serde_json::{Map, Value};

/// Values that are the client's own, whatever their fields are called.
const FREE: [&str; 7] =
    ["args", "response", "parametersJsonSchema", "responseJsonSchema", "labels", "default", "example"];

/// The request with every field under its name in JSON.
pub(super) fn in_camel_case(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(in_camel_case).collect(),
        Value::Object(fields) => {
            let rename = |(name, value): (&String, &Value)| {
                let name = camel(name);
                let value = match (name.as_str(), value) {
                    (name, value) if FREE.contains(&name) => value.clone(),
                    // The keys are names of the client's.
                    ("properties", Value::Object(fields)) => fields
                        .iter()
                        .map(|(name, value)| (name.clone(), in_camel_case(value)))
                        .collect::<Map<_, _>>()
                        .into(),
                    ("data", Value::String(data)) => data.replace('-', "+").replace('_', "/").into(),
                    (_, value) => in_camel_case(value),
                };
                (name, value)
            };
            fields.iter().map(rename).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name + letters.as_str()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_renamed_and_the_clients_own_names_are_not() {
        let read = in_camel_case(&json!({
            "inline_data": {"mime_type": "image/png", "data": "a-_b"},
            "function_call": {"args": {"the_city": 1}},
            "response_schema": {"property_ordering": [], "properties": {"first_name": {"min_length": 1}}},
        }));
        assert_eq!(
            read,
            json!({
                "inlineData": {"mimeType": "image/png", "data": "a+/b"},
                "functionCall": {"args": {"the_city": 1}},
                "responseSchema": {"propertyOrdering": [], "properties": {"first_name": {"minLength": 1}}},
            })
        );
    }
}
