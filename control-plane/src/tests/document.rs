//! Holds the API document against the router and against the code that reads bodies.

use std::collections::{BTreeMap, BTreeSet};

use ::http::{Method, header};
use axum::Router;
use serde_json::{Map, Value};
use utoipa::PartialSchema;

use super::gateway::Gateway;
use crate::{
    areas::{access, operations, providers, settings},
    http::{self, Body, Fields},
};

/// Routes that serve pages and files, not the API.
const PAGES: [&str; 8] = [
    "/",
    "/dashboard",
    "/dashboard/",
    "/dashboard/{file}",
    "/api/docs",
    "/api/docs/",
    "/api/docs/{*rest}",
    "/api/openapi.json",
];

async fn document(gateway: &Gateway) -> Value {
    gateway.call(Method::GET, "/api/openapi.json").anonymous().send().await.ok(200)
}

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            let item = item.as_object().expect("an item").iter();
            item.map(move |(method, operation)| (path.clone(), method.to_uppercase(), operation))
        })
        .collect()
}

/// Paths of a router, out of its `Debug` form: it has no other way to tell.
fn paths_of(router: &Router) -> BTreeSet<String> {
    let text = format!("{router:?}");
    let mut paths = BTreeSet::new();
    for part in text.split('"').skip(1).step_by(2) {
        if part.starts_with('/') && !part.contains("__private__") {
            paths.insert(part.to_owned());
        }
    }
    paths
}

#[tokio::test]
async fn every_route_of_the_router_is_in_the_document() {
    let gateway = Gateway::new().await;
    let document = document(&gateway).await;
    let documented: BTreeSet<String> = document["paths"].as_object().expect("paths").keys().cloned().collect();
    let served = paths_of(&http::routes(gateway.areas.api().0));
    assert!(served.contains("/api/keys/{id}"), "the debug form has changed: {served:?}");
    let undocumented: Vec<_> =
        served.iter().filter(|path| !documented.contains(*path) && !PAGES.contains(&path.as_str())).collect();
    assert!(undocumented.is_empty(), "{undocumented:?}");
    let unserved: Vec<_> = documented.difference(&served).collect();
    assert!(unserved.is_empty(), "{unserved:?}");
}

#[tokio::test]
async fn every_method_of_every_route_is_in_the_document() {
    let gateway = Gateway::new().await;
    let document = document(&gateway).await;
    let all = operations(&document);
    let paths: BTreeSet<&String> = all.iter().map(|(path, _, _)| path).collect();
    for path in paths {
        let documented: BTreeSet<&str> =
            all.iter().filter(|(other, _, _)| other == path).map(|(_, method, _)| method.as_str()).collect();
        let concrete = path.replace("{id}", "some-id").replace("{connectionId}", "some-id");
        let refused = gateway.call(Method::TRACE, &concrete).send().await;
        assert_eq!(refused.code(405), "RESOURCE_004", "{path}");
        let allowed = refused.headers[header::ALLOW].to_str().expect("a text").to_owned();
        let served: BTreeSet<&str> = allowed.split(',').map(str::trim).filter(|method| *method != "HEAD").collect();
        assert_eq!(served, documented, "{path}");
    }
}

#[tokio::test]
async fn the_document_is_complete() {
    let gateway = Gateway::new().await;
    let document = document(&gateway).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(operation["summary"].is_string(), "{name} has no summary");
        assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{name} has no tag");
        assert!(ids.insert(operation["operationId"].as_str()), "{name}: its id is taken");
        let responses = operation["responses"].as_object().expect("responses");
        let is_open =
            operation["security"].as_array().is_some_and(|all| all.iter().any(|one| one == &Value::Object(Map::new())));
        assert_eq!(responses.contains_key("401"), !is_open || path == "/api/auth/login", "{name}: 401");
        if path.contains('{') {
            assert!(responses.contains_key("404"), "{name}: 404");
        }
    }
    for reference in references(&document) {
        let pointer = reference.strip_prefix('#').expect("a local reference");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(name, inner)| match (name.as_str(), inner) {
                ("$ref", Value::String(reference)) => vec![reference.clone()],
                _ => references(inner),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn no_two_areas_give_one_name_to_different_shapes() {
    let gateway = Gateway::new().await;
    let mut shapes: BTreeMap<String, (&str, Value)> = BTreeMap::new();
    for (area, mut router, _) in gateway.areas.routes() {
        let components = router.get_openapi_mut().components.take().expect("shapes");
        for (name, schema) in components.schemas {
            let schema = serde_json::to_value(schema).expect("a schema");
            let (first, known) = shapes.entry(name.clone()).or_insert((area, schema.clone()));
            assert_eq!(*known, schema, "{name} of {area} and {first}");
        }
    }
    assert!(shapes.len() > 50, "{} shapes", shapes.len());
}

#[tokio::test]
async fn routes_marked_open_are_open_and_no_others() {
    let gateway = Gateway::new().await;
    let document = document(&gateway).await;
    for (path, method, operation) in operations(&document) {
        let is_open =
            operation["security"].as_array().is_some_and(|all| all.iter().any(|one| one == &Value::Object(Map::new())));
        let concrete = path.replace("{id}", "some-id").replace("{connectionId}", "some-id");
        let method: Method = method.parse().expect("a method");
        let answer = gateway.call(method.clone(), &concrete).anonymous().from(super::gateway::REMOTE).send().await;
        let is_refused = answer.status == 401 && answer.json()["error"]["code"] == "AUTH_001";
        assert_eq!(is_refused, !is_open, "{method} {path}: {}", answer.text);
    }
}

/// Names of the properties of a schema, also of those that it is put together of.
fn properties(schema: &Value, document: &Value, names: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').expect("a local reference");
        properties(document.pointer(pointer).expect("a schema"), document, names);
    }
    if let Some(own) = schema["properties"].as_object() {
        names.extend(own.keys().cloned());
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        properties(part, document, names);
    }
}

fn check_body<T: Body + PartialSchema>(document: &Value, name: &str) {
    let mut fields = Fields::new(Map::new());
    let _ = T::read(&mut fields);
    let read: BTreeSet<String> = fields.asked.iter().map(|name| (*name).to_owned()).collect();
    let mut documented = BTreeSet::new();
    let schema = serde_json::to_value(T::schema()).expect("a schema");
    properties(&schema, document, &mut documented);
    assert_eq!(read, documented, "{name}");
}

#[tokio::test]
async fn what_a_body_may_have_is_what_is_read_of_it() {
    let gateway = Gateway::new().await;
    let document = document(&gateway).await;
    macro_rules! check {
        ($($body:ty),* $(,)?) => { $( check_body::<$body>(&document, stringify!($body)); )* };
    }
    check!(
        access::login::LoginBody,
        access::login::ChangeLogin,
        settings::ChangeSettings,
        settings::GatewaySettings,
        providers::nodes::CreateNode,
        providers::nodes::ChangeNode,
        providers::connections::CreateConnection,
        providers::connections::ChangeConnection,
        providers::models::SetAlias,
        providers::models::SetModel,
        providers::models::HideModels,
        providers::checks::TestOptions,
        providers::checks::ValidateProvider,
        providers::checks::ValidateNode,
        access::keys::CreateKey,
        access::keys::ChangeKey,
        access::keys::RegenerateKey,
        operations::DrainOptions,
    );
}
