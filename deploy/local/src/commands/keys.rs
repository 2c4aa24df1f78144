//! `omniroute keys`.

use omniroute_core::{
    settings::{SettingValue as _, Span},
    time::{Clock, SystemClock, UnixMillis},
};
use serde_json::{Value, json};

use crate::{
    cli::{CreateKey, KeysAction},
    client::Client,
    context::Context,
    failure::{Exit, Failure},
    screen,
};

pub(crate) async fn run(context: &Context, action: KeysAction) -> Result<(), Failure> {
    let client = Client::new(context)?;
    match action {
        KeysAction::Create(create) => make(context, &client, create).await,
        KeysAction::List => list(context, &client).await,
        KeysAction::Revoke { key } => revoke(context, &client, &key).await,
        KeysAction::RotateMaster => rotate_master(context, &client).await,
    }
}

async fn make(context: &Context, client: &Client, create: CreateKey) -> Result<(), Failure> {
    let mut body = json!({ "name": create.name });
    let lists =
        [("allowedModels", create.models), ("allowedConnections", create.connections), ("scopes", create.scopes)];
    for (field, values) in lists {
        if !values.is_empty() {
            body[field] = json!(values);
        }
    }
    if let Some(when) = create.expires {
        body["expiresAt"] = json!(moment(&when, SystemClock.now())?.to_rfc3339());
    }
    let made = client.post("/api/keys", &body).await?;
    context.screen.json(&made);
    context.screen.line(&screen::text(&made, "key"));
    if !context.screen.is_json() {
        screen::Screen::warning(&format!(
            "this is the only time that the key is shown; its id is {}",
            screen::text(&made, "id")
        ));
    }
    Ok(())
}

/// A time, or one that lies a span ahead.
fn moment(text: &str, now: UnixMillis) -> Result<UnixMillis, Failure> {
    if let Ok(Span(span)) = Span::parse(text) {
        return Ok(now.saturating_add(span));
    }
    let hint = "expected a time such as 2030-01-31T00:00:00Z or a span such as 30d";
    UnixMillis::parse(text).ok_or_else(|| Failure::new(Exit::Usage, format!("--expires {text}: {hint}")))
}

async fn list(context: &Context, client: &Client) -> Result<(), Failure> {
    let keys = all(client).await?;
    let row = |key: &Value| {
        let models: Vec<&str> = screen::list(key, "allowedModels").iter().filter_map(Value::as_str).collect();
        let models = if models.is_empty() { "all".to_owned() } else { models.join(" ") };
        let [id, name, masked, expires, used] =
            ["id", "name", "key", "expiresAt", "lastUsedAt"].map(|field| screen::text(key, field));
        [id, name, masked, state(key).to_owned(), models, expires, used]
    };
    let rows: Vec<_> = keys.iter().map(row).collect();
    context.screen.json(&json!({ "keys": keys }));
    context.screen.table(["ID", "NAME", "KEY", "STATE", "MODELS", "EXPIRES", "LAST USED"], &rows);
    Ok(())
}

fn state(key: &Value) -> &'static str {
    if key.get("revokedAt").is_some_and(|at| !at.is_null()) {
        "revoked"
    } else if key.get("isActive").and_then(Value::as_bool) == Some(false) {
        "off"
    } else {
        "active"
    }
}

async fn revoke(context: &Context, client: &Client, wanted: &str) -> Result<(), Failure> {
    let keys = all(client).await?;
    let id = named("key", &keys, wanted)?;
    let answer = client.delete(&format!("/api/keys/{id}")).await?;
    context.screen.json(&json!({ "id": id, "message": answer.get("message") }));
    context.screen.line(&format!("Key {id} is deleted; every proxy refuses it within a second."));
    Ok(())
}

async fn rotate_master(context: &Context, client: &Client) -> Result<(), Failure> {
    let done = client.post("/api/settings/master-key/rotate", &json!({})).await?;
    context.screen.json(&done);
    let failed = screen::list(&done, "failed");
    context.screen.line(&format!(
        "{} stored values are now sealed with master key {}.",
        screen::text(&done, "resealed"),
        screen::text(&done, "keyId"),
    ));
    let others = screen::list(&done, "others");
    if !others.is_empty() {
        let names: Vec<_> = others.iter().map(|other| screen::text(other, "name")).collect();
        return Err(Failure::failed(format!(
            "keep the old keys: these control planes still seal with another one: {}. Restart them with the new key first, \
             then run this again",
            names.join(", ")
        )));
    }
    if failed.is_empty() {
        context.screen.line("The old keys can leave STORAGE_ENCRYPTION_KEY.");
        return Ok(());
    }
    let places: Vec<_> = failed.iter().filter_map(Value::as_str).collect();
    Err(Failure::failed(format!("no key of the ring opens these; keep the old keys: {}", places.join(", "))))
}

/// Every page of the list.
async fn all(client: &Client) -> Result<Vec<Value>, Failure> {
    let mut keys = Vec::new();
    loop {
        let page = client.get(&format!("/api/keys?limit=1000&offset={}", keys.len())).await?;
        let rows = screen::list(&page, "keys");
        keys.extend_from_slice(rows);
        let total = page.get("total").and_then(Value::as_u64).unwrap_or(0);
        if rows.is_empty() || keys.len() as u64 >= total {
            return Ok(keys);
        }
    }
}

/// Id of the one that has this id or, if only one does, this name.
pub(super) fn named(what: &str, all: &[Value], wanted: &str) -> Result<String, Failure> {
    let has = |field: &'static str| move |value: &&Value| value.get(field).and_then(Value::as_str) == Some(wanted);
    let by_id = all.iter().find(has("id"));
    let mut by_name = all.iter().filter(has("name"));
    match (by_id.or_else(|| by_name.next()), by_name.next()) {
        (Some(one), None) => Ok(screen::text(one, "id")),
        (Some(_), Some(_)) => {
            Err(Failure::failed(format!("several {what}s are called `{wanted}`; name one by its id")))
        }
        (None, _) => Err(Failure::failed(format!("no {what} has the id or the name `{wanted}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_time_or_a_span_from_now() {
        let now = UnixMillis(1_700_000_000_000);
        let day = 24 * 60 * 60 * 1000;
        assert_eq!(moment("30d", now).expect("a span").0, now.0 + 30 * day);
        assert_eq!(moment("2030-01-31T00:00:00Z", now).expect("a time").to_rfc3339(), "2030-01-31T00:00:00.000Z");
        assert_eq!(moment("soon", now).expect_err("neither").exit(), Exit::Usage);
    }

    #[test]
    fn an_id_wins_and_an_ambiguous_name_is_refused() {
        let all =
            [json!({"id": "1", "name": "laptop"}), json!({"id": "2", "name": "ci"}), json!({"id": "3", "name": "ci"})];
        assert_eq!(named("key", &all, "2").expect("by id"), "2");
        assert_eq!(named("key", &all, "laptop").expect("by name"), "1");
        assert!(named("key", &all, "ci").is_err());
        assert!(named("key", &all, "nobody").is_err());
    }
}
