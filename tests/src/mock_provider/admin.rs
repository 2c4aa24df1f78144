//! Orders to the provider, for programs that run it as a process of its own.

use http::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, body::Body, journal::Seen, script::Script, server::document};

pub(super) const PREFIX: &str = "/__mock/";

#[derive(Deserialize)]
struct SetScript {
    model: String,
    #[serde(default)]
    script: Script,
}

#[derive(Deserialize)]
struct AcceptKey {
    key: String,
}

/// `POST scripts {model, script}`, `DELETE scripts`, `POST keys {key}`, `GET requests`, `GET last` (the newest POST),
/// `GET totals`.
pub(super) fn answer(shared: &Shared, method: &Method, path: &str, body: &[u8]) -> Response<Body> {
    let done = || document(StatusCode::OK, &json!({"ok": true}));
    match (method, path) {
        (&Method::POST, "scripts") => match serde_json::from_slice::<SetScript>(body) {
            Ok(order) => {
                shared.scripts.lock().insert(order.model, (order.script, 0));
                done()
            }
            Err(error) => wrong(&error),
        },
        (&Method::DELETE, "scripts") => {
            shared.scripts.lock().clear();
            done()
        }
        (&Method::POST, "keys") => match serde_json::from_slice::<AcceptKey>(body) {
            Ok(order) => {
                shared.keys.lock().insert(order.key);
                done()
            }
            Err(error) => wrong(&error),
        },
        (&Method::GET, "requests") => {
            let seen: Vec<Value> = shared.journal.seen().iter().map(shown).collect();
            document(StatusCode::OK, &json!({"requests": seen}))
        }
        (&Method::GET, "last") => {
            let seen = shared.journal.seen();
            let last = seen.iter().rev().find(|seen| seen.method == "POST");
            document(StatusCode::OK, &last.map_or(Value::Null, shown))
        }
        (&Method::GET, "totals") => {
            let totals = shared.journal.totals();
            let rows =
                totals.iter().map(|((key, model), totals)| json!({"key": key, "model": model, "totals": totals}));
            document(StatusCode::OK, &json!({"totals": rows.collect::<Vec<_>>()}))
        }
        _ => document(StatusCode::NOT_FOUND, &json!({"error": "no such order"})),
    }
}

fn wrong(error: &serde_json::Error) -> Response<Body> {
    document(StatusCode::BAD_REQUEST, &json!({"error": error.to_string()}))
}

fn shown(seen: &Seen) -> Value {
    let headers: Vec<Value> =
        seen.headers.iter().map(|(name, value)| json!([name, String::from_utf8_lossy(value)])).collect();
    json!({
        "number": seen.number, "method": seen.method, "path": seen.path, "headers": headers,
        "body": String::from_utf8_lossy(&seen.body), "key": seen.key, "model": seen.model, "stream": seen.stream,
        "status": seen.status, "fate": seen.fate, "promptTokens": seen.prompt_tokens,
        "cachedTokens": seen.cached_tokens, "completionTokens": seen.completion_tokens,
    })
}
