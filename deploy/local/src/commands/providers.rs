//! `omniroute providers`.

use serde_json::{Value, json};

use super::keys::named;
use crate::{
    cli::{AddProvider, NodeType, ProvidersAction},
    client::Client,
    context::Context,
    failure::{Exit, Failure},
    screen,
};

/// Models shown after a provider was added; the rest are counted.
const MODELS_SHOWN: usize = 20;

pub(crate) async fn run(context: &Context, action: ProvidersAction) -> Result<(), Failure> {
    let client = Client::new(context)?;
    match action {
        ProvidersAction::Add(add) => make(context, &client, add).await,
        ProvidersAction::List => list(context, &client).await,
        ProvidersAction::Test { connection } => test(context, &client, connection.as_deref()).await,
    }
}

/// A connection; before it, for an endpoint of one's own, the node that it belongs to. Then it is tested. A node whose
/// connection is refused is taken back, so that the same command can be tried again.
async fn make(context: &Context, client: &Client, mut add: AddProvider) -> Result<(), Failure> {
    let api_key = match add.api_key.take() {
        Some(key) => Some(key),
        None if add.api_key_stdin => Some(key_from(&mut std::io::stdin().lock())?),
        None => None,
    };
    let name = add.name.clone().unwrap_or_else(|| add.provider.clone());
    let mut body = json!({ "name": name, "provider": add.provider });
    if let Some(key) = api_key {
        body["apiKey"] = json!(key);
    }
    let mut node_id = None;
    if let Some(prefix) = &add.prefix {
        let node = client.post("/api/provider-nodes", &node(&add, prefix)).await?;
        let id = screen::text(node.get("node").unwrap_or(&Value::Null), "id");
        body["provider"] = json!(id);
        node_id = Some(id);
    } else if let Some(url) = &add.base_url {
        body["providerSpecificData"] = json!({ "baseUrl": url });
    }
    let made = match client.post("/api/providers", &body).await {
        Ok(made) => made,
        Err(refused) => {
            if let Some(id) = node_id {
                client.delete(&format!("/api/provider-nodes/{id}")).await?;
            }
            return Err(refused);
        }
    };
    let connection = made.get("connection").cloned().unwrap_or_default();
    let id = screen::text(&connection, "id");
    let result = client.post(&format!("/api/providers/{id}/test"), &json!({})).await?;
    let listing = client.get(&format!("/api/providers/{id}/models")).await;
    let models: Vec<String> = match &listing {
        Ok(listing) => screen::list(listing, "models").iter().map(|model| screen::text(model, "id")).collect(),
        Err(_) => Vec::new(),
    };
    let prefix = add.prefix.unwrap_or_else(|| screen::text(&connection, "provider"));
    context.screen.json(&json!({ "connection": connection, "test": result, "models": models, "prefix": prefix }));
    context.screen.line(&format!("Connection `{name}` is added, with the id {id}."));
    if !is_valid(&result) {
        return Err(Failure::failed(format!(
            "its test failed: {}; it stays as it is: `omniroute providers test {id}` asks again",
            reason(&result)
        )));
    }
    context.screen.line("Its test passed. Its models:");
    for model in models.iter().take(MODELS_SHOWN) {
        context.screen.line(&format!("  {prefix}/{model}"));
    }
    if models.len() > MODELS_SHOWN {
        context.screen.line(&format!("  and {} more; GET /v1/models lists them all", models.len() - MODELS_SHOWN));
    }
    Ok(())
}

fn node(add: &AddProvider, prefix: &str) -> Value {
    let mut node = json!({ "name": add.provider, "prefix": prefix, "baseUrl": add.base_url });
    match add.node_type {
        NodeType::Openai => {
            node["type"] = json!("openai-compatible");
            node["apiType"] = json!("chat");
        }
        NodeType::Anthropic => node["type"] = json!("anthropic-compatible"),
    }
    node
}

fn key_from(input: &mut impl std::io::BufRead) -> Result<String, Failure> {
    let mut line = String::new();
    input.read_line(&mut line).map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    match line.trim() {
        "" => Err(Failure::new(Exit::Usage, "--api-key-stdin: the first line of standard input is empty")),
        key => Ok(key.to_owned()),
    }
}

async fn list(context: &Context, client: &Client) -> Result<(), Failure> {
    let connections = all(client).await?;
    let row = |connection: &Value| {
        let specific = connection.get("providerSpecificData").unwrap_or(&Value::Null);
        let prefix = match screen::text(specific, "prefix") {
            prefix if prefix.is_empty() => screen::text(connection, "provider"),
            prefix => prefix,
        };
        let is_on = connection.get("isActive").and_then(Value::as_bool).unwrap_or(true);
        let state = if is_on { screen::text(connection, "testStatus") } else { "off".to_owned() };
        let [id, name, priority] = ["id", "name", "priority"].map(|field| screen::text(connection, field));
        [id, name, prefix, priority, state, screen::text(connection, "lastError")]
    };
    let rows: Vec<_> = connections.iter().map(row).collect();
    context.screen.json(&json!({ "connections": connections }));
    context.screen.table(["ID", "NAME", "PREFIX", "PRIORITY", "STATE", "LAST ERROR"], &rows);
    Ok(())
}

async fn test(context: &Context, client: &Client, wanted: Option<&str>) -> Result<(), Failure> {
    let connections = all(client).await?;
    let ids = match wanted {
        Some(wanted) => vec![named("connection", &connections, wanted)?],
        None => connections.iter().map(|connection| screen::text(connection, "id")).collect(),
    };
    let mut results = Vec::new();
    let mut failed = 0;
    for id in &ids {
        let result = client.post(&format!("/api/providers/{id}/test"), &json!({})).await?;
        let said = if is_valid(&result) {
            format!("works, {} ms", screen::text(&result, "latencyMs"))
        } else {
            failed += 1;
            format!("fails: {}", reason(&result))
        };
        let named = connections.iter().find(|connection| screen::text(connection, "id") == *id);
        context.screen.line(&format!("{}  {id}  {said}", named.map(|c| screen::text(c, "name")).unwrap_or_default()));
        results.push(json!({ "id": id, "test": result }));
    }
    context.screen.json(&json!({ "results": results }));
    match failed {
        0 if ids.is_empty() => Err(Failure::failed("there is no connection; `omniroute providers add` makes one")),
        0 => Ok(()),
        failed => Err(Failure::failed(format!("{failed} of {} connections failed their test", ids.len()))),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_from_standard_input_is_its_first_line() {
        assert_eq!(key_from(&mut "sk-1 \nrest".as_bytes()).expect("a key"), "sk-1");
        assert_eq!(key_from(&mut "\n".as_bytes()).expect_err("empty").exit(), Exit::Usage);
    }
}
