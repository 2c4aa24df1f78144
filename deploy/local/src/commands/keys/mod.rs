//! `omniroute keys`.

mod expiry;

use omniroute_core::{
    settings::{SettingValue as _, Span},
    time::{Clock, SystemClock, UnixMillis},
};
use serde_json::{Map, Value, json};

use super::{
    named::{every, id_of},
    providers,
};
use crate::{
    cli::{CreateKey, EditKey, KeysAction},
    client::Client,
    context::Context,
    failure::{Exit, Failure},
    screen::{self, Screen},
};

pub(crate) async fn run(context: &Context, action: KeysAction) -> Result<(), Failure> {
    let client = Client::new(context)?;
    match action {
        KeysAction::Create(create) => make(context, &client, create).await,
        KeysAction::List => list(context, &client).await,
        KeysAction::Edit(edit) => change(context, &client, edit).await,
        KeysAction::Regenerate { key, grace } => regenerate(context, &client, &key, grace.as_deref()).await,
        KeysAction::Revoke { key, all } => revoke(context, &client, &key, all).await,
        KeysAction::RotateMaster => rotate_master(context, &client).await,
    }
}

async fn make(context: &Context, client: &Client, create: CreateKey) -> Result<(), Failure> {
    let mut body = Map::new();
    body.insert("name".to_owned(), json!(create.name));
    if let Some(when) = &create.expires {
        body.insert("expiresAt".to_owned(), json!(expiry::moment(when, SystemClock.now())?.to_rfc3339()));
    }
    let name = create.name.trim();
    if let Some(taken) = all(client).await?.iter().find(|key| screen::text(key, "name") == name) {
        return Err(Failure::failed(format!(
            "a key is called `{name}` already (id {}): choose another name, delete that one (`{}`), or give it a new \
             secret (`{}`)",
            screen::text(taken, "id"),
            context.command(&format!("keys revoke {name}")),
            context.command(&format!("keys regenerate {name}")),
        )));
    }
    lists(client, &mut body, create.models, create.connections, create.scopes).await?;
    let made = client.post("/api/keys", &Value::Object(body)).await?;
    show_secret(context, &made);
    Ok(())
}

/// The one time that a key is shown: alone on standard output, for `$(…)`.
fn show_secret(context: &Context, made: &Value) {
    context.screen.json(made);
    context.screen.line(&screen::text(made, "key"));
    if !context.screen.is_json() {
        let expires = match screen::text(made, "expiresAt") {
            at if at.is_empty() => String::new(),
            at => format!("; it expires at {at}"),
        };
        let id = screen::text(made, "id");
        Screen::warning(&format!("this is the only time that the key is shown; its id is {id}{expires}"));
        warnings(made);
    }
}

fn warnings(answer: &Value) {
    for warning in screen::list(answer, "warnings").iter().filter_map(Value::as_str) {
        Screen::warning(warning);
    }
}

/// Adds what a key may use to a body, the lists that are not empty. Connections become ids.
async fn lists(
    client: &Client,
    body: &mut Map<String, Value>,
    models: Vec<String>,
    connections: Vec<String>,
    scopes: Vec<String>,
) -> Result<(), Failure> {
    if !connections.is_empty() {
        let known = providers::all(client).await?;
        let ids = connections.iter().map(|wanted| id_of("connection", &known, wanted));
        body.insert("allowedConnections".to_owned(), json!(ids.collect::<Result<Vec<_>, _>>()?));
    }
    for (field, values) in [("allowedModels", models), ("scopes", scopes)] {
        if !values.is_empty() {
            body.insert(field.to_owned(), json!(values));
        }
    }
    Ok(())
}

async fn change(context: &Context, client: &Client, edit: EditKey) -> Result<(), Failure> {
    let mut body = Map::new();
    match edit.expires.as_deref() {
        None => {}
        Some("never") => drop(body.insert("expiresAt".to_owned(), Value::Null)),
        Some(when) => {
            let at = expiry::moment(when, SystemClock.now())?;
            body.insert("expiresAt".to_owned(), json!(at.to_rfc3339()));
        }
    }
    if let Some(name) = &edit.name {
        body.insert("name".to_owned(), json!(name));
    }
    if edit.enable || edit.disable {
        body.insert("isActive".to_owned(), json!(edit.enable));
    }
    let cleared =
        [(edit.any_model, "allowedModels"), (edit.any_connection, "allowedConnections"), (edit.no_scope, "scopes")];
    for (_, field) in cleared.iter().filter(|(is_cleared, _)| *is_cleared) {
        body.insert((*field).to_owned(), json!([]));
    }
    let keys = all(client).await?;
    let id = id_of("key", &keys, &edit.key)?;
    lists(client, &mut body, edit.models, edit.connections, edit.scopes).await?;
    if body.is_empty() {
        return Err(Failure::new(Exit::Usage, "nothing to change: `omniroute keys edit --help` lists what can be"));
    }
    let changed = client.patch(&format!("/api/keys/{id}"), &Value::Object(body)).await?;
    context.screen.json(&changed);
    context.screen.line(&format!("Key {id} is changed; every proxy knows within a second."));
    if !context.screen.is_json() {
        warnings(&changed);
    }
    Ok(())
}

async fn regenerate(context: &Context, client: &Client, wanted: &str, grace: Option<&str>) -> Result<(), Failure> {
    let mut body = json!({});
    if let Some(grace) = grace {
        let span = Span::parse(grace).map_err(|why| Failure::new(Exit::Usage, format!("--grace {grace}: {why}")))?;
        body["graceSeconds"] = json!(span.0.as_secs());
    }
    let id = id_of("key", &all(client).await?, wanted)?;
    let made = client.post(&format!("/api/keys/{id}/regenerate"), &body).await?;
    show_secret(context, &made);
    Ok(())
}

async fn list(context: &Context, client: &Client) -> Result<(), Failure> {
    let keys = all(client).await?;
    let now = SystemClock.now();
    let row = |key: &Value| {
        let texts = |field: &str, none: &str| {
            let texts: Vec<&str> = screen::list(key, field).iter().filter_map(Value::as_str).collect();
            if texts.is_empty() { none.to_owned() } else { texts.join(" ") }
        };
        let [id, name, masked, expires, used] =
            ["id", "name", "key", "expiresAt", "lastUsedAt"].map(|field| screen::text(key, field));
        let state = state(key, now).to_owned();
        [id, name, masked, state, texts("scopes", "-"), texts("allowedModels", "all"), expires, used]
    };
    let rows: Vec<_> = keys.iter().map(row).collect();
    context.screen.json(&json!({ "keys": keys }));
    context.screen.table(["ID", "NAME", "KEY", "STATE", "SCOPES", "MODELS", "EXPIRES", "LAST USED"], &rows);
    Ok(())
}

fn state(key: &Value, now: UnixMillis) -> &'static str {
    let expires = UnixMillis::parse(&screen::text(key, "expiresAt"));
    if key.get("revokedAt").is_some_and(|at| !at.is_null()) {
        "revoked"
    } else if expires.is_some_and(|at| at <= now) {
        "expired"
    } else if key.get("isActive").and_then(Value::as_bool) == Some(false) {
        "off"
    } else {
        "active"
    }
}

async fn revoke(context: &Context, client: &Client, wanted: &str, is_every: bool) -> Result<(), Failure> {
    let keys = all(client).await?;
    let ids: Vec<String> = match every(&keys, wanted) {
        found if is_every && !found.is_empty() => found.iter().map(|key| screen::text(key, "id")).collect(),
        found if found.len() > 1 => {
            let refused = id_of("key", &keys, wanted).map_or_else(|failure| failure.to_string(), |_| String::new());
            let command = context.command(&format!("keys revoke {wanted} --all"));
            return Err(Failure::failed(format!("{refused}\nor delete all of them: `{command}`")));
        }
        _ => vec![id_of("key", &keys, wanted)?],
    };
    for id in &ids {
        client.delete(&format!("/api/keys/{id}")).await?;
        context.screen.line(&format!("Key {id} is deleted; every proxy refuses it within a second."));
    }
    context.screen.json(&json!({ "id": ids.first(), "deleted": ids }));
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
pub(crate) async fn all(client: &Client) -> Result<Vec<Value>, Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_key_is_shown_as_expired_and_no_longer_as_active() {
        let now = UnixMillis(1_700_000_000_000);
        let key = |at: u64| json!({ "isActive": true, "expiresAt": UnixMillis(at).to_rfc3339(), "revokedAt": null });
        assert_eq!(state(&key(now.0 + 1000), now), "active");
        assert_eq!(state(&key(now.0), now), "expired");
        assert_eq!(state(&json!({ "isActive": false, "expiresAt": null }), now), "off");
        assert_eq!(state(&json!({ "isActive": true, "revokedAt": "2023-01-01T00:00:00Z" }), now), "revoked");
    }
}
