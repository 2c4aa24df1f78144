//! `omniroute status`.

use omniroute_core::time::UnixMillis;
use serde_json::Value;

use crate::{client::Client, context::Context, failure::Failure, screen};

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let client = Client::new(context)?;
    let health = client.get("/api/monitoring/health").await?;
    if health.get("proxies").is_none() {
        // Whoever is not signed in learns that the gateway lives, and no more.
        client.get("/api/settings").await?;
    }
    context.screen.json(&health);
    let shown = context.screen;
    let of = |field: &str| screen::text(&health, field);
    shown.line(&format!(
        "{} at {}, version {}, revision {}",
        of("status"),
        client.base(),
        of("version"),
        of("revision")
    ));
    let database = health.get("database").unwrap_or(&Value::Null);
    let coordination = health.get("coordination").unwrap_or(&Value::Null);
    let journal = health.get("journal").unwrap_or(&Value::Null);
    let pair = |value: &Value, name: &str| format!("{} ({})", screen::text(value, name), screen::text(value, "status"));
    shown.line(&format!(
        "database {}, coordination {}, {} active connections, {} usage events on their way, {} lost",
        pair(database, "engine"),
        pair(coordination, "backend"),
        of("activeConnections"),
        screen::text(journal, "pending"),
        screen::text(journal, "lost"),
    ));
    shown.line("");
    let proxies = screen::list(&health, "proxies");
    if proxies.is_empty() {
        shown.line("No proxy has joined.");
        return Ok(());
    }
    let now = UnixMillis::parse(&of("timestamp"));
    let row = |proxy: &Value| {
        let of = |field| screen::text(proxy, field);
        let heard = match (now, UnixMillis::parse(&of("lastSeenAt"))) {
            (Some(now), Some(at)) => format!("{} s ago", now.saturating_since(at).as_secs()),
            _ => String::new(),
        };
        let [id, state, version] = ["id", "state", "version"].map(of);
        let [revision, lag, requests, streams, total, error] =
            ["revision", "lag", "requestsInFlight", "streamsInFlight", "requestsTotal", "lastError"].map(of);
        [id, state, heard, version, revision, lag, requests, streams, total, error]
    };
    let rows: Vec<_> = proxies.iter().map(row).collect();
    let head =
        ["PROXY", "STATE", "REPORTED", "VERSION", "REVISION", "LAG", "IN FLIGHT", "STREAMS", "TOTAL", "LAST ERROR"];
    shown.table(head, &rows);
    for proxy in proxies {
        for rejection in screen::list(proxy, "rejections") {
            let [kind, id, reason] = ["kind", "id", "reason"].map(|field| screen::text(rejection, field));
            shown.line(&format!("{} does not take {kind} {id}: {reason}", screen::text(proxy, "id")));
        }
    }
    Ok(())
}
