//! `omniroute nodes`: endpoints of one's own, which `providers add --prefix` makes.

use serde_json::{Map, Value, json};

use super::{lookup::id_of, providers};
use crate::{
    cli::NodesAction,
    client::Client,
    context::Context,
    failure::{Exit, Failure},
    flag_names::FlagNames,
    screen,
};

const WORDS: FlagNames = FlagNames::new(&[("name", "--name"), ("prefix", "--prefix")]);

/// The type of endpoints that have an API type.
const OPENAI: &str = "openai-compatible";

pub(crate) async fn run(context: &Context, action: NodesAction) -> Result<(), Failure> {
    let client = Client::new(context)?.with_flag_names(WORDS);
    match action {
        NodesAction::List => list(context, &client).await,
        NodesAction::Edit { node, name, prefix, base_url, api_type, key } => {
            let key = providers::key_of(&key)?;
            let fields =
                [("name", name), ("prefix", prefix), ("baseUrl", base_url), ("apiType", api_type), ("apiKey", key)];
            let given = fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), json!(value?))));
            edit(context, &client, &node, given.collect()).await
        }
        NodesAction::Remove { node } => remove(context, &client, &node).await,
    }
}

async fn list(context: &Context, client: &Client) -> Result<(), Failure> {
    let nodes = all(client).await?;
    let connections = providers::all(client).await?;
    let row = |node: &Value| {
        let [id, prefix, name, kind, api, url] =
            ["id", "prefix", "name", "type", "apiType", "baseUrl"].map(|field| screen::text(node, field));
        let of_node = connections.iter().filter(|connection| screen::text(connection, "provider") == id).count();
        [prefix, name, kind, api, url, of_node.to_string(), id]
    };
    let rows: Vec<_> = nodes.iter().map(row).collect();
    context.screen.json(&json!({ "nodes": nodes }));
    context.screen.table(["PREFIX", "NAME", "TYPE", "API", "BASE URL", "CONNECTIONS", "ID"], &rows);
    Ok(())
}

async fn edit(context: &Context, client: &Client, wanted: &str, body: Map<String, Value>) -> Result<(), Failure> {
    if body.is_empty() {
        return Err(Failure::new(Exit::Usage, "nothing to change: give --name, --prefix, --base-url or --api-type"));
    }
    let nodes = all(client).await?;
    let id = found(&nodes, wanted)?;
    let is_openai = |node: &Value| screen::text(node, "id") == id && screen::text(node, "type") == OPENAI;
    if body.contains_key("apiType") && !nodes.iter().any(is_openai) {
        let what = "--api-type is for OpenAI's chat APIs; an endpoint of type anthropic has one API only";
        return Err(Failure::new(Exit::Usage, what));
    }
    let changed = client.patch(&format!("/api/provider-nodes/{id}"), &Value::Object(body)).await?;
    context.screen.json(&changed);
    context.screen.line(&format!("The endpoint {id} is changed."));
    Ok(())
}

async fn remove(context: &Context, client: &Client, wanted: &str) -> Result<(), Failure> {
    let id = found(&all(client).await?, wanted)?;
    client.delete(&format!("/api/provider-nodes/{id}")).await?;
    context.screen.json(&json!({ "id": id }));
    context.screen.line(&format!("The endpoint {id}, its connections and its models are deleted."));
    Ok(())
}

pub(super) async fn all(client: &Client) -> Result<Vec<Value>, Failure> {
    let answer = client.get("/api/provider-nodes").await?;
    Ok(screen::list(&answer, "nodes").to_vec())
}

/// The API type that is given for a connection of an endpoint: it is the endpoint's, for all its connections.
pub(super) fn own_api_type(context: &Context, prefix: &str, api_type: &str) -> Failure {
    // An endpoint has no default to go back to.
    let wanted = if api_type == "default" { "chat" } else { api_type };
    let command = context.command(&format!("nodes edit {prefix} --api-type {wanted}"));
    let what = format!("the API type belongs to the endpoint `{prefix}`, for all its connections: `{command}`");
    Failure::new(Exit::Usage, what)
}

/// By prefix, which only one has, else by id or name.
fn found(nodes: &[Value], wanted: &str) -> Result<String, Failure> {
    match nodes.iter().find(|node| screen::text(node, "prefix") == wanted) {
        Some(node) => Ok(screen::text(node, "id")),
        None => id_of("endpoint", nodes, wanted),
    }
}
