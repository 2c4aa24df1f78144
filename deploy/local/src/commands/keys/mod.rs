//! `omniroute keys`.

mod expiry;

use std::time::Duration;

use omniroute_core::{
    settings::{SettingValue as _, Span},
    time::{Clock, SystemClock, UnixMillis},
};
use serde_json::{Map, Value, json};

use super::{
    lookup::{every, id_of},
    providers,
};
use crate::{
    cli::{CreateKey, EditKey, KeysAction},
    client::Client,
    context::Context,
    failure::{Exit, Failure},
    flag_names::FlagNames,
    screen::{self, Screen, quoted},
};

/// `keys create` takes the name as its argument…
const NEW: FlagNames = FlagNames::new(&[("name", "NAME")]);
/// …and `keys edit` as a flag.
const EDITED: FlagNames = FlagNames::new(&[("name", "--name"), ("isActive", "--enable")]);

/// The state of a key that is good.
pub(crate) const ACTIVE: &str = "active";
/// The control plane lets an old secret work on for so long at most.
const LONGEST_GRACE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

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
    refuse_taken(context, &all(client).await?, &create.name, None)?;
    lists(client, &mut body, create.models, create.connections, create.scopes).await?;
    let made = client.with_flag_names(NEW).post("/api/keys", &Value::Object(body)).await?;
    show_secret(context, &made);
    Ok(())
}

/// REST takes a name twice, as the original does; people who call keys by their names are spared that. `own`: id of
/// the key that is given the name.
fn refuse_taken(context: &Context, keys: &[Value], name: &str, own: Option<&str>) -> Result<(), Failure> {
    let Some(id) = holder_of(keys, name, own) else { return Ok(()) };
    let word = quoted(name.trim());
    Err(Failure::failed(format!(
        "a key is called `{}` already (id {id}): choose another name, delete that one (`{}`), or give it a new secret \
         (`{}`)",
        name.trim(),
        context.command(&format!("keys revoke {word}")),
        context.command(&format!("keys regenerate {word}")),
    )))
}

/// Id of another key that has this name.
fn holder_of(keys: &[Value], name: &str, own: Option<&str>) -> Option<String> {
    let is_holder =
        |key: &&Value| screen::text(key, "name") == name.trim() && own.is_none_or(|own| screen::text(key, "id") != own);
    keys.iter().find(is_holder).map(|key| screen::text(key, "id"))
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
        let old = match screen::text(made, "previousValidUntil") {
            until if until.is_empty() => String::new(),
            until => format!("; the old one still counts until {until}"),
        };
        let id = screen::text(made, "id");
        Screen::warning(&format!("this is the only time that the key is shown; its id is {id}{expires}{old}"));
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
    if let Some(name) = &edit.name {
        refuse_taken(context, &keys, name, Some(&id))?;
    }
    lists(client, &mut body, edit.models, edit.connections, edit.scopes).await?;
    if body.is_empty() {
        return Err(Failure::new(Exit::Usage, "nothing to change: `omniroute keys edit --help` lists what can be"));
    }
    let changed = client.with_flag_names(EDITED).patch(&format!("/api/keys/{id}"), &Value::Object(body)).await?;
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
        if span.0 > LONGEST_GRACE {
            return Err(Failure::new(Exit::Usage, format!("--grace {grace}: the longest is 30d")));
        }
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
    let is_bound = keys.iter().any(|key| !screen::list(key, "allowedConnections").is_empty());
    let connections = if is_bound { providers::all(client).await? } else { Vec::new() };
    let named = |id: &Value| {
        let of = connections.iter().find(|connection| connection.get("id") == Some(id));
        of.map_or_else(|| id.as_str().unwrap_or_default().to_owned(), |connection| screen::text(connection, "name"))
    };
    let row = |key: &Value| {
        let texts = |field: &str, none: &str| {
            let texts: Vec<&str> = screen::list(key, field).iter().filter_map(Value::as_str).collect();
            if texts.is_empty() { none.to_owned() } else { texts.join(" ") }
        };
        let [id, name, masked, expires, used] =
            ["id", "name", "key", "expiresAt", "lastUsedAt"].map(|field| screen::text(key, field));
        let state = state(key, now).to_owned();
        let bound: Vec<String> = screen::list(key, "allowedConnections").iter().map(named).collect();
        let bound = if bound.is_empty() { "all".to_owned() } else { bound.join(" ") };
        [id, name, masked, state, texts("scopes", "-"), texts("allowedModels", "all"), bound, expires, used]
    };
    let rows: Vec<_> = keys.iter().map(row).collect();
    context.screen.json(&json!({ "keys": keys }));
    context
        .screen
        .table(["ID", "NAME", "KEY", "STATE", "SCOPES", "MODELS", "CONNECTIONS", "EXPIRES", "LAST USED"], &rows);
    Ok(())
}

pub(crate) fn state(key: &Value, now: UnixMillis) -> &'static str {
    let expires = UnixMillis::parse(&screen::text(key, "expiresAt"));
    if key.get("revokedAt").is_some_and(|at| !at.is_null()) {
        "revoked"
    } else if expires.is_some_and(|at| at <= now) {
        "expired"
    } else if key.get("isActive").and_then(Value::as_bool) == Some(false) {
        "off"
    } else {
        ACTIVE
    }
}

async fn revoke(context: &Context, client: &Client, wanted: &str, is_every: bool) -> Result<(), Failure> {
    let keys = all(client).await?;
    let ids: Vec<String> = match every(&keys, wanted) {
        found if is_every && !found.is_empty() => found.iter().map(|key| screen::text(key, "id")).collect(),
        found if found.len() > 1 => {
            let refused = id_of("key", &keys, wanted).map_or_else(|failure| failure.to_string(), |_| String::new());
            let command = context.command(&format!("keys revoke {} --all", quoted(wanted)));
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

    #[test]
    fn a_name_is_taken_by_another_key_and_not_by_the_one_that_has_it() {
        let keys = [json!({ "id": "1", "name": "ci" }), json!({ "id": "2", "name": "laptop" })];
        assert_eq!(holder_of(&keys, " ci ", None).as_deref(), Some("1"));
        assert_eq!(holder_of(&keys, "ci", Some("2")).as_deref(), Some("1"));
        assert_eq!(holder_of(&keys, "ci", Some("1")), None);
        assert_eq!(holder_of(&keys, "other", None), None);
    }
}
