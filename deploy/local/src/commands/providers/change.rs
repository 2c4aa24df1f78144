//! `omniroute providers set-key`, `edit`, `enable`, `disable`, `remove`.

use serde_json::{Map, Value, json};

use super::{API_TYPE, TEST_MODEL, all, key_of, outcome, tested};
use crate::{
    cli::{EditProvider, ProviderKey},
    client::Client,
    commands::{lookup::id_of, nodes},
    context::Context,
    failure::{Exit, Failure},
    screen::{self, quoted},
};

pub(super) async fn set_key(
    context: &Context,
    client: &Client,
    wanted: &str,
    key: &ProviderKey,
    test_model: Option<&str>,
) -> Result<(), Failure> {
    let Some(key) = key_of(key)? else {
        return Err(Failure::new(Exit::Usage, "give the key with --api-key-stdin or --api-key"));
    };
    let connections = all(client).await?;
    let held = held(&connections, wanted)?;
    let mut body = json!({ "apiKey": key });
    if let Some(model) = test_model {
        body["providerSpecificData"] = json!({ TEST_MODEL: model });
    }
    apply(context, client, held, &body).await
}

pub(super) async fn edit(context: &Context, client: &Client, edit: EditProvider) -> Result<(), Failure> {
    let mut body = Map::new();
    if let Some(key) = key_of(&edit.key)? {
        body.insert("apiKey".to_owned(), json!(key));
    }
    if let Some(name) = &edit.name {
        body.insert("name".to_owned(), json!(name));
    }
    let mut specific = Map::new();
    for (field, given, none) in [
        ("baseUrl", &edit.base_url, "default"),
        (API_TYPE, &edit.api_type, "default"),
        (TEST_MODEL, &edit.test_model, "none"),
    ] {
        if let Some(given) = given {
            specific.insert(field.to_owned(), json!((given != none).then_some(given)));
        }
    }
    for (field, value) in &edit.data.data {
        specific.insert(field.clone(), json!((!value.is_empty()).then_some(value)));
    }
    if !specific.is_empty() {
        body.insert("providerSpecificData".to_owned(), Value::Object(specific));
    }
    for (field, number) in [("priority", edit.priority), ("maxConcurrent", edit.max_concurrent)] {
        if let Some(number) = number {
            body.insert(field.to_owned(), json!(number));
        }
    }
    if body.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "nothing to change: `omniroute providers edit --help` lists what can be",
        ));
    }
    let connections = all(client).await?;
    let held = held(&connections, &edit.connection)?;
    if let Some(api_type) = &edit.api_type {
        let nodes = nodes::all(client).await?;
        let provider = screen::text(held, "provider");
        if let Some(node) = nodes.iter().find(|node| screen::text(node, "id") == provider) {
            return Err(nodes::own_api_type(context, &screen::text(node, "prefix"), api_type));
        }
    }
    apply(context, client, held, &Value::Object(body)).await
}

/// The connection that is called so.
fn held<'a>(connections: &'a [Value], wanted: &str) -> Result<&'a Value, Failure> {
    let id = id_of("connection", connections, wanted)?;
    let found = connections.iter().find(|connection| screen::text(connection, "id") == id);
    found.ok_or_else(|| Failure::failed(format!("no connection has the id or the name `{wanted}`")))
}

/// Whose connection it is: a provider of the catalog, or a node.
fn provider_of(connections: &[Value], id: &str) -> String {
    let connection = connections.iter().find(|connection| screen::text(connection, "id") == id);
    connection.map(|connection| screen::text(connection, "provider")).unwrap_or_default()
}

/// Changes a connection and tests it, since an edit is most often a repair.
async fn apply(context: &Context, client: &Client, held: &Value, body: &Value) -> Result<(), Failure> {
    let id = screen::text(held, "id");
    let changed = client.patch(&format!("/api/providers/{id}"), body).await?;
    let connection = changed.get("connection").cloned().unwrap_or_default();
    let name = screen::text(&connection, "name");
    let said = if is_same(held, &connection) { "is as it was" } else { "is changed" };
    if connection.get("isActive").and_then(Value::as_bool) == Some(false) {
        context.screen.json(&json!({ "connection": connection }));
        context.screen.line(&format!(
            "Connection `{name}` {said}. It is switched off: `{}`",
            context.command(&format!("providers enable {}", quoted(&name)))
        ));
        return Ok(());
    }
    let result = tested(client, &id, None).await?;
    context.screen.json(&json!({ "connection": connection, "test": result }));
    context.screen.line(&format!("Connection `{name}` {said}."));
    outcome(context, &connection, &result)?;
    context.screen.line("Its test passed.");
    Ok(())
}

/// Whether an edit found everything as it wanted it: the gateway then leaves the time of the last change alone.
fn is_same(before: &Value, after: &Value) -> bool {
    let changed_at = |connection: &Value| screen::text(connection, "updatedAt");
    !changed_at(before).is_empty() && changed_at(before) == changed_at(after)
}

pub(super) async fn switch(context: &Context, client: &Client, wanted: &str, is_on: bool) -> Result<(), Failure> {
    let id = id_of("connection", &all(client).await?, wanted)?;
    let changed = client.patch(&format!("/api/providers/{id}"), &json!({ "isActive": is_on })).await?;
    context.screen.json(&changed);
    let said = if is_on { "switched on" } else { "switched off; no request goes there" };
    context.screen.line(&format!("Connection {id} is {said}."));
    Ok(())
}

pub(super) async fn remove(
    context: &Context,
    client: &Client,
    wanted: &str,
    is_node_kept: bool,
) -> Result<(), Failure> {
    let connections = all(client).await?;
    let id = id_of("connection", &connections, wanted)?;
    let provider = provider_of(&connections, &id);
    let siblings = connections.iter().filter(|connection| screen::text(connection, "provider") == provider).count();
    let nodes = nodes::all(client).await?;
    let node = nodes.iter().find(|node| screen::text(node, "id") == provider);
    client.delete(&format!("/api/providers/{id}")).await?;
    context.screen.line(&format!("Connection {id} is deleted."));
    let mut deleted_node = None;
    if let Some(node) = node.filter(|_| siblings == 1) {
        let prefix = screen::text(node, "prefix");
        if is_node_kept {
            context.screen.line(&format!("The endpoint `{prefix}` is kept; it has no connection now."));
        } else {
            client.delete(&format!("/api/provider-nodes/{provider}")).await?;
            context.screen.line(&format!("The endpoint `{prefix}`, which had no other connection, is deleted too."));
            deleted_node = Some(provider);
        }
    }
    context.screen.json(&json!({ "id": id, "deletedNode": deleted_node }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_that_found_everything_as_it_wanted_it_has_changed_nothing() {
        let at = |time: &str| json!({ "name": "c", "updatedAt": time });
        assert!(is_same(&at("2030-01-31T00:00:00.000Z"), &at("2030-01-31T00:00:00.000Z")));
        assert!(!is_same(&at("2030-01-31T00:00:00.000Z"), &at("2030-01-31T00:00:01.000Z")));
        assert!(!is_same(&json!({}), &json!({})), "a gateway that does not tell");
    }
}
