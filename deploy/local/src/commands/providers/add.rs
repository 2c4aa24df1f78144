//! `omniroute providers add`: a connection; before it, for a new endpoint of one's own, the node that it belongs to.
//! Then it is tested.

use serde_json::{Value, json};

use super::{API_TYPE, TEST_MODEL, key_of, outcome};
use crate::{
    cli::{AddProvider, NodeType},
    client::Client,
    commands::nodes,
    context::Context,
    failure::{Exit, Failure},
    flag_names::FlagNames,
    screen::{self, quoted},
};

/// An endpoint is named by what stands where a provider does.
const NODE: FlagNames = FlagNames::new(&[("name", "PROVIDER"), ("prefix", "--prefix"), ("type", "--type")]);
const NAMED: FlagNames = FlagNames::new(&[("name", "--name"), ("provider", "PROVIDER")]);
/// Without a name, a connection has its provider's.
const UNNAMED: FlagNames = FlagNames::new(&[("name", "PROVIDER"), ("provider", "PROVIDER")]);

/// Models shown after a provider was added; the rest are counted.
const MODELS_SHOWN: usize = 20;

/// A node whose connection is refused is taken back, so that the same command can be tried again.
pub(super) async fn make(context: &Context, client: &Client, add: AddProvider) -> Result<(), Failure> {
    if add.node_type == NodeType::Anthropic && add.api_type.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "--api-type is for OpenAI's chat APIs; --type anthropic has one API only",
        ));
    }
    let name = add.name.clone().unwrap_or_else(|| add.provider.clone());
    let mut body = json!({ "name": name, "provider": add.provider });
    if let Some(key) = key_of(&add.key)? {
        body["apiKey"] = json!(key);
    }
    for (field, given) in [("region", &add.region), (TEST_MODEL, &add.test_model)] {
        if let Some(given) = given {
            body["providerSpecificData"][field] = json!(given);
        }
    }
    for (field, value) in &add.data.data {
        body["providerSpecificData"][field] = json!(value);
    }
    let nodes = nodes::all(client).await?;
    let with_prefix = |prefix: &str| nodes.iter().find(|node| screen::text(node, "prefix") == prefix);
    let (mut made_node, mut prefix) = (None, add.prefix.clone());
    if let Some(wanted) = &add.prefix {
        let id = match with_prefix(wanted) {
            Some(node) => adopt(context, client, &add, node).await?,
            None => {
                let node = client.with_flag_names(NODE).post("/api/provider-nodes", &node(&add, wanted)).await?;
                let id = screen::text(node.get("node").unwrap_or(&Value::Null), "id");
                made_node = Some(id.clone());
                id
            }
        };
        body["provider"] = json!(id);
    } else {
        if add.name.is_none()
            && let Some(taken) = super::all(client).await?.iter().find(|taken| screen::text(taken, "name") == name)
        {
            let said = format!("a connection is called `{name}` already ({})", told(taken));
            return Err(in_the_way(context, taken, &said, &add.provider));
        }
        if let Some(node) = with_prefix(&add.provider) {
            if let Some(api_type) = &add.api_type {
                return Err(nodes::own_api_type(context, &add.provider, api_type));
            }
            body["provider"] = json!(screen::text(node, "id"));
            prefix = Some(add.provider.clone());
        }
        for (field, given) in [("baseUrl", &add.base_url), (API_TYPE, &add.api_type)] {
            if let Some(given) = given {
                body["providerSpecificData"][field] = json!(given);
            }
        }
    }
    let names = if add.name.is_some() { NAMED } else { UNNAMED };
    let made = match client.with_flag_names(names).post("/api/providers", &body).await {
        Ok(made) => made,
        Err(refused) => {
            if let Some(id) = made_node {
                client.delete(&format!("/api/provider-nodes/{id}")).await?;
            }
            return Err(refused);
        }
    };
    let connection = made.get("connection").cloned().unwrap_or_default();
    let prefix = prefix.unwrap_or_else(|| screen::text(&connection, "provider"));
    finish(context, client, &connection, &prefix).await
}

/// Tests a new connection and shows its models.
async fn finish(context: &Context, client: &Client, connection: &Value, prefix: &str) -> Result<(), Failure> {
    let [id, name] = ["id", "name"].map(|field| screen::text(connection, field));
    let result = super::tested(client, &id, None).await?;
    let listing = client.get(&format!("/api/providers/{id}/models")).await;
    let models: Vec<String> = match &listing {
        Ok(listing) => screen::list(listing, "models").iter().map(|model| screen::text(model, "id")).collect(),
        Err(_) => Vec::new(),
    };
    context.screen.json(&json!({ "connection": connection, "test": result, "models": models, "prefix": prefix }));
    context.screen.line(&format!("Connection `{name}` is added, with the id {id}."));
    outcome(context, connection, &result)?;
    if models.is_empty() {
        let why = match &listing {
            Ok(_) => "It lists no models".to_owned(),
            Err(failure) => format!("Its models cannot be listed ({failure})"),
        };
        let asked = format!("ask for one by the name that the provider gives it, as `{prefix}/MODEL`.");
        context.screen.line(&format!("Its test passed. {why}: {asked}"));
        return Ok(());
    }
    context.screen.line("Its test passed. Its models:");
    for model in models.iter().take(MODELS_SHOWN) {
        context.screen.line(&format!("  {prefix}/{model}"));
    }
    if models.len() > MODELS_SHOWN {
        let command = context.command(&format!("models list {prefix}/"));
        context.screen.line(&format!("  and {} more: `{command}`", models.len() - MODELS_SHOWN));
    }
    Ok(())
}

/// Id of the node that has the wanted prefix already, when this command may go on with it: it is the same endpoint, and
/// no connection of it is in the way.
async fn adopt(context: &Context, client: &Client, add: &AddProvider, node: &Value) -> Result<String, Failure> {
    let [id, prefix, url] = ["id", "prefix", "baseUrl"].map(|field| screen::text(node, field));
    let wanted = add.base_url.as_deref().unwrap_or_default().trim().trim_end_matches('/');
    let connections = super::all(client).await?;
    let taken = connections.iter().find(|connection| screen::text(connection, "provider") == id);
    match taken {
        None if wanted == url => {
            if let Some(api_type) = add.api_type.as_ref().filter(|wanted| **wanted != screen::text(node, API_TYPE)) {
                client.patch(&format!("/api/provider-nodes/{id}"), &json!({ API_TYPE: api_type })).await?;
            }
            Ok(id)
        }
        None => Err(Failure::failed(format!(
            "the prefix `{prefix}` belongs to the endpoint {url}: choose another prefix, change that endpoint (`{}`), or \
             remove it (`{}`)",
            context.command(&format!("nodes edit {prefix} --base-url {}", quoted(wanted))),
            context.command(&format!("nodes remove {prefix}")),
        ))),
        Some(connection) => {
            let name = screen::text(connection, "name");
            let said =
                format!("the prefix `{prefix}` is taken by the connection `{name}` to {url} ({})", told(connection));
            Err(in_the_way(context, connection, &said, &prefix))
        }
    }
}

/// A connection that is there already, and what can be done: most often its key was wrong at the first try.
fn in_the_way(context: &Context, connection: &Value, said: &str, provider: &str) -> Failure {
    let name = quoted(&screen::text(connection, "name"));
    Failure::failed(format!(
        "{said}\n  \
         give it another key:         {}\n  \
         add a second connection:     {}\n  \
         remove it, to start anew:    {}",
        context.command(&format!("providers set-key {name} --api-key-stdin")),
        context.command(&format!("providers add {} --name NAME --api-key-stdin", quoted(provider))),
        context.command(&format!("providers remove {name}")),
    ))
}

/// How a connection is.
fn told(connection: &Value) -> String {
    let state = super::state_of(connection);
    match screen::text(connection, "lastError") {
        error if error.is_empty() => state,
        error => format!("{state}: {error}"),
    }
}

fn node(add: &AddProvider, prefix: &str) -> Value {
    let mut node = json!({ "name": add.provider, "prefix": prefix, "baseUrl": add.base_url });
    match add.node_type {
        NodeType::Openai => {
            node["type"] = json!("openai-compatible");
            node[API_TYPE] = json!(add.api_type.as_deref().unwrap_or("chat"));
        }
        NodeType::Anthropic => node["type"] = json!("anthropic-compatible"),
    }
    node
}
