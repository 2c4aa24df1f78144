//! `omniroute providers`: [`add`] makes connections, [`change`] mends and removes them.

mod add;
mod change;

use serde_json::{Value, json};

use super::lookup::id_of;
use crate::{
    cli::{ProviderKey, ProvidersAction},
    client::Client,
    context::Context,
    failure::{Exit, Failure},
    flag_names::FlagNames,
    screen,
};

const WORDS: FlagNames = FlagNames::new(&[("name", "--name"), ("priority", "--priority")]);

/// Part of a connection's `providerSpecificData`: the model that it is tested with, of a provider that lists none.
const TEST_MODEL: &str = "validationModelId";

/// Part of a connection's `providerSpecificData` and field of a node: which of OpenAI's chat APIs the host has.
const API_TYPE: &str = "apiType";

pub(crate) async fn run(context: &Context, action: ProvidersAction) -> Result<(), Failure> {
    let client = Client::new(context)?.with_flag_names(WORDS);
    match action {
        ProvidersAction::Add(add) => add::make(context, &client, add).await,
        ProvidersAction::List => list(context, &client).await,
        ProvidersAction::Test { connection, model } => {
            test(context, &client, connection.as_deref(), model.as_deref()).await
        }
        ProvidersAction::SetKey { connection, key, test_model } => {
            change::set_key(context, &client, &connection, &key, test_model.as_deref()).await
        }
        ProvidersAction::Edit(edit) => change::edit(context, &client, edit).await,
        ProvidersAction::Enable { connection } => change::switch(context, &client, &connection, true).await,
        ProvidersAction::Disable { connection } => change::switch(context, &client, &connection, false).await,
        ProvidersAction::Remove { connection, keep_node } => {
            change::remove(context, &client, &connection, keep_node).await
        }
    }
}

/// The provider's key, where one is given.
pub(super) fn key_of(given: &ProviderKey) -> Result<Option<String>, Failure> {
    if let Some(file) = &given.api_key_file {
        let read = std::fs::read_to_string(file);
        let text = read.map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", file.display())))?;
        return Ok(Some(text.trim().to_owned()));
    }
    match &given.api_key {
        None if given.api_key_stdin => screen::secret_line("--api-key-stdin", "API key of the provider").map(Some),
        key => Ok(key.clone()),
    }
}

async fn list(context: &Context, client: &Client) -> Result<(), Failure> {
    let connections = all(client).await?;
    let row = |connection: &Value| {
        let (prefix, state) = (prefix_of(connection), state_of(connection));
        let [id, name, priority] = ["id", "name", "priority"].map(|field| screen::text(connection, field));
        [id, name, prefix, priority, state, screen::text(connection, "lastError")]
    };
    let rows: Vec<_> = connections.iter().map(row).collect();
    context.screen.json(&json!({ "connections": connections }));
    context.screen.table(["ID", "NAME", "PREFIX", "PRIORITY", "STATE", "LAST ERROR"], &rows);
    Ok(())
}

/// What its models' names begin with.
pub(super) fn prefix_of(connection: &Value) -> String {
    let specific = connection.get("providerSpecificData").unwrap_or(&Value::Null);
    match screen::text(specific, "prefix") {
        prefix if prefix.is_empty() => screen::text(connection, "provider"),
        prefix => prefix,
    }
}

pub(super) fn state_of(connection: &Value) -> String {
    let is_on = connection.get("isActive").and_then(Value::as_bool).unwrap_or(true);
    if is_on { screen::text(connection, "testStatus") } else { "off".to_owned() }
}

async fn test(context: &Context, client: &Client, wanted: Option<&str>, model: Option<&str>) -> Result<(), Failure> {
    let connections = all(client).await?;
    let tested_ones: Vec<&Value> = match wanted {
        Some(wanted) => {
            let id = id_of("connection", &connections, wanted)?;
            connections.iter().filter(|connection| screen::text(connection, "id") == id).collect()
        }
        None => connections.iter().collect(),
    };
    // Line by line, since a test may take its time.
    let width = |field| tested_ones.iter().map(|one| screen::text(one, field).chars().count()).max().unwrap_or(0);
    let (name_width, id_width) = (width("name"), width("id"));
    let mut results = Vec::new();
    let mut failed = 0;
    for connection in &tested_ones {
        let [id, name] = ["id", "name"].map(|field| screen::text(connection, field));
        let result = tested(client, &id, model).await?;
        let said = if is_valid(&result) {
            format!("works, {} ms", screen::text(&result, "latencyMs"))
        } else {
            failed += 1;
            format!("fails: {}", reason(&result))
        };
        context.screen.line(&format!("{name:name_width$}  {id:id_width$}  {said}"));
        results.push(json!({ "id": id, "test": result }));
    }
    context.screen.json(&json!({ "results": results }));
    match failed {
        0 if tested_ones.is_empty() => Err(Failure::failed(format!(
            "there is no connection; `{}` makes one",
            context.command("providers add PROVIDER --api-key-stdin")
        ))),
        0 => Ok(()),
        failed => Err(Failure::failed(format!("{failed} of {} connections failed their test", tested_ones.len()))),
    }
}

/// What a test of a connection says. With a model, that one is asked for a few tokens.
pub(super) async fn tested(client: &Client, id: &str, model: Option<&str>) -> Result<Value, Failure> {
    let body = model.map_or_else(|| json!({}), |model| json!({ "validationModelId": model }));
    client.post(&format!("/api/providers/{id}/test"), &body).await
}

/// `Err` for a test that failed, with what to do about it.
fn outcome(context: &Context, connection: &Value, result: &Value) -> Result<(), Failure> {
    if is_valid(result) {
        return Ok(());
    }
    let kind = screen::text(result.get("diagnosis").unwrap_or(&Value::Null), "type");
    Err(Failure::failed(format!(
        "its test failed: {}\n  {}\n  test it again: {}",
        reason(result),
        remedy(context, connection, &kind),
        context.command(&format!("providers test {}", screen::text(connection, "id"))),
    )))
}

pub(super) async fn all(client: &Client) -> Result<Vec<Value>, Failure> {
    let answer = client.get("/api/providers").await?;
    Ok(screen::list(&answer, "connections").to_vec())
}

pub(super) fn is_valid(result: &Value) -> bool {
    result.get("valid").and_then(Value::as_bool) == Some(true)
}

pub(super) fn reason(result: &Value) -> String {
    match screen::text(result, "error") {
        reason if reason.is_empty() => "no reason given".to_owned(),
        reason => reason,
    }
}

/// What to do about a failed test of a connection, by the kind of its diagnosis.
pub(super) fn remedy(context: &Context, connection: &Value, kind: &str) -> String {
    let id = screen::text(connection, "id");
    // Another host is not sent the key that is stored, so it is asked for again.
    let has_key = connection.get("hasApiKey").and_then(Value::as_bool) == Some(true);
    let key = if has_key { " --api-key-stdin" } else { "" };
    let other_url = context.command(&format!("providers edit {id} --base-url URL{key}"));
    match kind {
        "upstream_auth_error" => {
            let command = context.command(&format!("providers set-key {id} --api-key-stdin"));
            format!("enter the provider's API key anew: {command}")
        }
        "upstream_rate_limited" => "wait, or raise the limit at the provider".to_owned(),
        "network_error" => format!("check the network and the base URL; to change it: {other_url}"),
        "blocked" => "the address is private: ALLOW_PRIVATE_UPSTREAMS=true lets the gateway go there".to_owned(),
        "unsupported" => {
            let command = context.command(&format!("providers edit {id} --test-model MODEL"));
            format!(
                "a provider that lists no models is tested with one of them: {command}; another base URL: {other_url}"
            )
        }
        _ => format!("see the provider's own status page, and check the base URL; to change it: {other_url}"),
    }
}
