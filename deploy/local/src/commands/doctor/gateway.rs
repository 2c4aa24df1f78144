//! A running gateway: how it says it is, its clock, its providers.

use std::time::Duration;

use omniroute_core::time::{Clock, SystemClock, UnixMillis};
use serde_json::Value;

use super::Finding;
use crate::{
    client::Client,
    commands::providers,
    context::Context,
    data_dir,
    failure::{Exit, Failure},
    screen,
};

/// The planes refuse each other beyond ten minutes; tokens of the CLI fail sooner.
const TOLERATED: Duration = Duration::from_secs(30);

pub(super) async fn look(context: &Context) -> Vec<Finding> {
    let is_new = !context.is_remote()
        && context.running.is_none()
        && !context.launcher.token.is_set()
        && !context.control_plane.jwt_secret.is_set()
        && !context.data_dir().file(data_dir::JWT_SECRET).exists();
    let start = format!("start it with `{}`", context.command("up"));
    if is_new {
        return vec![Finding::note("gateway", "it was never started here", start)];
    }
    let asked = async {
        let client = Client::new(context)?;
        let health = client.get("/api/monitoring/health").await?;
        Ok::<_, Failure>((client, health))
    };
    let (client, health) = match asked.await {
        Ok(asked) => asked,
        Err(failure) if failure.exit() == Exit::Unreachable && context.launcher.url.is_empty() => {
            let what = "it does not run, so its clock and its providers cannot be checked";
            return vec![Finding::note("gateway", what, start)];
        }
        Err(failure) => return vec![Finding::bad("gateway", failure.to_string(), "see what it says")],
    };
    if let Some(finding) = stranger(&health, client.base(), context.launcher.token.is_set()) {
        return vec![finding];
    }
    let mut findings = vec![clock(&health, SystemClock.now())];
    findings.extend(state(&health, &context.command("status")));
    findings.extend(connections(context, &client).await);
    findings
}

/// A gateway tells its proxies to whoever may manage it. One that does not is another one, of which nothing else that
/// is said here would hold.
fn stranger(health: &Value, base: &str, has_token: bool) -> Option<Finding> {
    if health.get("proxies").is_some() {
        return None;
    }
    if has_token {
        let what = format!("what answers at {base} does not let OMNIROUTE_TOKEN manage it");
        let remedy = "OMNIROUTE_TOKEN must be an API key with the scope `manage` of this very gateway";
        return Some(Finding::bad("gateway", what, remedy));
    }
    let remedy = "name that gateway's directory with --data-dir, or its address with --url and a key of the scope \
                  `manage` with OMNIROUTE_TOKEN";
    Some(Finding::bad("gateway", format!("another gateway answers at {base}: it does not let us in"), remedy))
}

fn clock(health: &Value, now: UnixMillis) -> Finding {
    let Some(theirs) = UnixMillis::parse(&screen::text(health, "timestamp")) else {
        return Finding::bad("clock", "the gateway does not tell its time", "is --url the address of a gateway?");
    };
    let apart = theirs.saturating_since(now).max(now.saturating_since(theirs));
    if apart <= TOLERATED {
        return Finding::good("clock", "agrees with the gateway's");
    }
    let what = format!("differs from the gateway's by {} seconds", apart.as_secs());
    Finding::bad("clock", what, "let both machines take their time from NTP")
}

fn state(health: &Value, status_command: &str) -> Vec<Finding> {
    let of = |field: &str| health.get(field).unwrap_or(&Value::Null);
    let mut findings = Vec::new();
    let status = screen::text(health, "status");
    findings.push(match status.as_str() {
        "healthy" => Finding::good("gateway", format!("healthy, version {}", screen::text(health, "version"))),
        _ => Finding::bad(
            "gateway",
            format!("it says that it is {status}"),
            format!("`{status_command}` shows the details"),
        ),
    });
    let database = of("database");
    match screen::text(database, "status").as_str() {
        "unhealthy" => findings.push(Finding::bad(
            "database",
            "the control plane gets no answer from it",
            "start it; see DATABASE_URL",
        )),
        "unwritable" => findings.push(Finding::bad(
            "database",
            format!("nothing can be stored: {}", screen::text(database, "error")),
            "free space on its disk, or see why it is read-only; the gateway goes on by itself",
        )),
        _ => {}
    }
    if screen::text(of("coordination"), "status") == "degraded" {
        let error = screen::text(of("coordination"), "lastError");
        findings.push(Finding::bad(
            "Redis",
            format!("the gateway goes on without it: {error}"),
            "start it; see REDIS_URL",
        ));
    }
    if screen::text(of("cryptography"), "status") == "degraded" {
        let what = "a stored secret does not open with the master keys at hand";
        findings.push(Finding::bad("master key", what, "add the missing key to STORAGE_ENCRYPTION_KEY"));
    }
    let proxies = screen::list(health, "proxies");
    if proxies.is_empty() {
        let remedy = "check CONTROL_PLANE_URL and OMNIROUTE_JOIN_TOKEN of the proxy, and read its log";
        findings.push(Finding::bad("proxies", "none has joined", remedy));
    }
    for proxy in proxies {
        let [id, state, lag] = ["id", "state", "lag"].map(|field| screen::text(proxy, field));
        findings.push(match state.as_str() {
            "serving" if lag == "0" => Finding::good("proxy", format!("{id} serves the newest configuration")),
            "serving" => {
                let remedy = "proxies report every few seconds: look again";
                Finding::note("proxy", format!("{id} serves, {lag} revisions behind when it last reported"), remedy)
            }
            "lost" => {
                Finding::note("proxy", format!("{id} has not reported for a while"), "start it, if it should run")
            }
            _ => Finding::note("proxy", format!("{id} is {state}"), "wait, then look again"),
        });
    }
    findings
}

async fn connections(context: &Context, client: &Client) -> Vec<Finding> {
    let unable = |failure: &Failure| vec![Finding::bad("providers", failure.to_string(), "see what it says")];
    let connections = match providers::all(client).await {
        Ok(connections) => connections,
        Err(failure) => return unable(&failure),
    };
    if connections.is_empty() {
        let remedy = format!("`{}` makes one", context.command("providers add PROVIDER --api-key-stdin"));
        return vec![Finding::note("providers", "there is no connection yet", remedy)];
    }
    let mut findings = Vec::new();
    for connection in &connections {
        let [id, name] = ["id", "name"].map(|field| screen::text(connection, field));
        let subject = format!("provider connection `{name}`");
        if connection.get("isActive").and_then(Value::as_bool) == Some(false) {
            let command = context.command(&format!("providers enable {id}"));
            findings.push(Finding::good(subject, format!("switched off; `{command}` switches it on")));
            continue;
        }
        findings.push(match providers::tested(client, &id, None).await {
            Ok(result) if providers::is_valid(&result) => {
                Finding::good(subject, format!("answers in {} ms", screen::text(&result, "latencyMs")))
            }
            Ok(result) => {
                let kind = screen::text(result.get("diagnosis").unwrap_or(&Value::Null), "type");
                Finding::bad(subject, providers::reason(&result), providers::remedy(context, connection, &kind))
            }
            Err(failure) => Finding::bad(subject, failure.to_string(), "see what it says"),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::doctor::Verdict;

    #[test]
    fn a_clock_that_is_a_minute_off_is_bad_either_way() {
        let now = UnixMillis(1_700_000_000_000);
        let health = |at: u64| json!({ "timestamp": UnixMillis(at).to_rfc3339() });
        assert_eq!(clock(&health(now.0 + 1000), now).verdict, Verdict::Good);
        assert_eq!(clock(&health(now.0 + 60_000), now).verdict, Verdict::Bad);
        assert_eq!(clock(&health(now.0 - 60_000), now).verdict, Verdict::Bad);
        assert_eq!(clock(&json!({}), now).verdict, Verdict::Bad);
    }

    #[test]
    fn a_gateway_that_does_not_let_us_in_is_not_judged() {
        assert!(stranger(&json!({ "proxies": [] }), "http://x", false).is_none());
        let finding = stranger(&json!({ "status": "healthy" }), "http://x", false).expect("a finding");
        assert_eq!(finding.verdict, Verdict::Bad);
    }

    #[test]
    fn a_database_that_cannot_be_written_is_bad_and_says_why() {
        let health = json!({"status": "unhealthy", "proxies": [{"id": "p", "state": "serving", "lag": 0}],
            "database": {"status": "unwritable", "error": "database or disk is full"}});
        let findings = state(&health, "omniroute status");
        let database = findings.iter().find(|finding| finding.subject == "database").expect("a finding");
        assert_eq!(database.verdict, Verdict::Bad);
        assert!(database.what.contains("disk is full"), "{}", database.what);
    }

    #[test]
    fn a_degraded_part_is_named_with_what_to_do() {
        let health = json!({"status": "degraded", "database": {"status": "healthy"},
            "coordination": {"status": "degraded", "lastError": "refused"}, "proxies": []});
        let findings = state(&health, "omniroute status");
        let bad: Vec<&str> =
            findings.iter().filter(|f| f.verdict == Verdict::Bad).map(|f| f.subject.as_str()).collect();
        assert_eq!(bad, ["gateway", "Redis", "proxies"]);
        assert!(findings.iter().filter(|f| f.verdict == Verdict::Bad).all(|f| f.remedy.is_some()));
    }
}
