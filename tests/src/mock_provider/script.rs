//! How an answer goes wrong, or takes its time. The default is an answer as it should be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What to do with the requests for one model.
///
/// Given through [`MockProvider::script`](super::MockProvider::script), `POST /__mock/scripts`, or inside the name of
/// the model: `gpt-mock+words=200+chunk_delay_ms=5` asks for `gpt-mock` under that script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Answer with so many words instead of an echo.
    pub words: Option<usize>,
    /// Before the head of the answer.
    pub delay_ms: u64,
    /// Between the head and the first byte of the body.
    pub body_delay_ms: u64,
    /// Between the events of a stream.
    pub chunk_delay_ms: u64,
    /// Cut a stream into frames of this many bytes, wherever that splits it.
    pub frame_bytes: Option<usize>,
    /// Parallel tool calls, where the request has tools.
    pub tool_calls: Option<usize>,
    /// The tools to call and their arguments (text: as it is), as far as the request has them; no others are called.
    pub calls: BTreeMap<String, Value>,
    /// Go on calling until so many rounds of results have come; 1 unless it says otherwise.
    pub rounds: Option<usize>,
    /// Think aloud, where the request leaves it open.
    pub thinking: bool,

    /// Part of the prompt that counts as read from the cache.
    pub cached_tokens: u64,
    /// Counted as output on top of what is seen.
    pub reasoning_tokens: u64,
    /// Say nothing of the usage, whatever was asked.
    pub no_usage: bool,

    /// Answer with this status; 200 means an error object behind a 200.
    pub status: Option<u16>,
    pub code: Option<String>,
    pub message: Option<String>,
    /// Instead of an error object.
    pub body: Option<String>,
    /// On top of the usual ones.
    pub headers: BTreeMap<String, String>,

    /// An HTML page instead of an answer; with `status`, of that status.
    pub html: bool,
    /// Bytes that mean nothing, under the content type of an answer.
    pub garbage: bool,
    /// The head of an answer, and an empty body.
    pub empty: bool,
    /// The head of an answer, and never a byte of its body.
    pub no_body: bool,
    /// Never even a head.
    pub no_head: bool,

    /// Over HTTP/2, end a document in a frame of its own, behind the one with its last bytes.
    pub late_end: bool,
    /// Over HTTP/2, tell the client that this connection takes no more requests.
    pub go_away: bool,

    /// Break the connection (over HTTP/2: reset the stream) after this many events of a stream, or this many bytes of a
    /// document.
    pub hang_up_after: Option<usize>,
    /// Go silent after this many events of a stream, with the connection open.
    pub stall_after: Option<usize>,
    /// Send an error event after this many events, and end.
    pub error_after: Option<usize>,
    /// Send an event that is no JSON after this many events, and end.
    pub garbage_after: Option<usize>,
    /// End the stream without `[DONE]`.
    pub no_done: bool,
    /// End the stream without a finish reason and without `[DONE]`.
    pub no_finish: bool,

    /// Do so for this many requests only; later ones are answered as usual.
    pub times: Option<u32>,
}

// === impl Script ===

impl Script {
    /// An error of this status, with OpenAI's usual message.
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// Splits `model+key=value+…`. `None` when what follows the first `+` is no script.
    pub fn in_model(model: &str) -> Option<(&str, Self)> {
        let (model, rest) = model.split_once('+')?;
        let mut fields = Map::new();
        let mut headers = Map::new();
        for pair in rest.split('+') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
            match key.strip_prefix("header.") {
                Some(name) => headers.insert(name.to_owned(), Value::String(value.to_owned())),
                None => fields.insert(key.to_owned(), typed(value)),
            };
        }
        fields.insert("headers".to_owned(), Value::Object(headers));
        Some((model, serde_json::from_value(Value::Object(fields)).ok()?))
    }
}

fn typed(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text.parse::<u64>().map_or_else(|_| Value::String(text.to_owned()), Value::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_can_stand_in_the_name_of_a_model() {
        let (model, script) =
            Script::in_model("a/gpt-mock+status=429+code=x+header.retry-after=2+no_done").expect("one");
        assert_eq!(model, "a/gpt-mock");
        assert_eq!((script.status, script.code.as_deref(), script.no_done), (Some(429), Some("x"), true));
        assert_eq!(script.headers["retry-after"], "2");
        assert!(Script::in_model("gpt-mock").is_none());
        assert!(Script::in_model("gpt-mock+nonsense=1").is_none(), "a misspelt script is an unknown model");
    }
}
