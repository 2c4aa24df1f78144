//! Finds keys, connections and endpoints by what people call them.

use serde_json::Value;

use super::providers;
use crate::{failure::Failure, screen};

/// Id of the one that has this id or, if only one does, this name.
pub(super) fn id_of(what: &str, all: &[Value], wanted: &str) -> Result<String, Failure> {
    let found = every(all, wanted);
    match found.as_slice() {
        [one] => Ok(screen::text(one, "id")),
        [] => Err(Failure::failed(format!("no {what} has the id or the name `{wanted}`"))),
        several => {
            let ids: Vec<String> = several.iter().map(|one| format!("\n  {}", described(one))).collect();
            let ids = ids.concat();
            Err(Failure::failed(format!("several {what}s are called `{wanted}`; name one by its id:{ids}")))
        }
    }
}

/// Those that are called so: the one with this id, else all with this name.
pub(super) fn every<'a>(all: &'a [Value], wanted: &str) -> Vec<&'a Value> {
    let has = |field: &'static str| move |value: &&Value| value.get(field).and_then(Value::as_str) == Some(wanted);
    match all.iter().find(has("id")) {
        Some(one) => vec![one],
        None => all.iter().filter(has("name")).collect(),
    }
}

fn described(one: &Value) -> String {
    let [id, created, used] = ["id", "createdAt", "lastUsedAt"].map(|field| screen::text(one, field));
    let mut said = format!("{id}  made {created}");
    if !used.is_empty() {
        said.push_str(&format!(", last used {used}"));
    }
    // Of connections.
    if one.get("provider").is_some() {
        said.push_str(&format!(", prefix {}, {}", providers::prefix_of(one), providers::state_of(one)));
        let error = screen::text(one, "lastError");
        if !error.is_empty() {
            said.push_str(&format!(": {error}"));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_wins_and_an_ambiguous_name_is_answered_with_the_ids() {
        let all =
            [json!({"id": "1", "name": "laptop"}), json!({"id": "2", "name": "ci"}), json!({"id": "3", "name": "ci"})];
        assert_eq!(id_of("key", &all, "2").expect("by id"), "2");
        assert_eq!(id_of("key", &all, "laptop").expect("by name"), "1");
        let refused = id_of("key", &all, "ci").expect_err("two").to_string();
        assert!(refused.contains("\n  2 ") && refused.contains("\n  3 "), "{refused}");
        assert!(id_of("key", &all, "nobody").is_err());
    }
}
