mod calls;
mod health;
mod proxies;
mod settings;

use std::net::SocketAddr;

use omniroute_core::settings::Secret;
use serde_json::{Value, json};

use super::{Credentials, ProxyDraft};
use crate::tests::gateway::Gateway;

pub(super) const PROXIES: &str = "/api/v1/management/proxies";
pub(super) const ASSIGNMENTS: &str = "/api/v1/management/proxies/assignments";

/// Id of a new proxy at this address.
pub(super) async fn proxy(
    gateway: &Gateway,
    kind: &str,
    address: SocketAddr,
    credentials: Option<(&str, &str)>,
) -> String {
    let (username, password) = credentials.unwrap_or_default();
    let body = json!({
        "name": kind, "type": kind, "host": address.ip().to_string(), "port": address.port(),
        "username": username, "password": password,
    });
    text(&gateway.post(PROXIES, body).await.ok(201)["id"])
}

pub(super) async fn assign(gateway: &Gateway, proxy: &str, scope: &str, id: &str) -> Value {
    let body = json!({ "scope": scope, "scopeId": id, "proxyId": proxy });
    gateway.put(ASSIGNMENTS, body).await.ok(200)["assignment"].clone()
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

pub(super) fn nowhere() -> SocketAddr {
    "127.0.0.1:9".parse().expect("an address")
}

/// A proxy with credentials.
pub(crate) fn draft(name: &str) -> ProxyDraft {
    ProxyDraft {
        name: name.to_owned(),
        kind: "http".to_owned(),
        host: "proxy.example".to_owned(),
        port: 3128,
        credentials: Credentials { username: Secret::new("user"), password: Secret::new("secret") },
        region: None,
        notes: None,
        status: "active".to_owned(),
        source: "manual".to_owned(),
        family: "auto".to_owned(),
    }
}
