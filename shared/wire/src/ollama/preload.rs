//! Requests that only load or unload the model: `ollama run` sends one before the first prompt.
//!
//! A gateway has nothing to load. It answers them itself, at no cost, so that the client goes on.

use omniroute_core::time::UnixMillis;

use super::Shape;
use crate::{codec::ResponseContext, ir::Request, write::Writer};

/// What such a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preload {
    Load,
    /// `keep_alive: 0`.
    Unload,
}

/// Whether a request that came in Ollama's format asks for no answer. It must not be sent upstream then.
pub fn preload(request: &Request<'_>) -> Option<Preload> {
    if !request.turns.is_empty() || !request.system.is_empty() {
        return None;
    }
    let keep = request.extensions.get("keep_alive").map(|raw| raw.to_value());
    let zero = match keep {
        Some(serde_json::Value::Number(number)) => number.as_f64() == Some(0.0),
        Some(serde_json::Value::String(text)) => {
            let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            digits.parse::<f64>().is_ok_and(|number| number == 0.0)
        }
        _ => false,
    };
    Some(if zero { Preload::Unload } else { Preload::Load })
}

/// The answer, streamed or not: one object.
pub fn encode_preload(preload: Preload, exchange: &ResponseContext, shape: Shape, out: &mut Vec<u8>) {
    Writer::new(out).object(|w| {
        w.field_str("model", &exchange.model);
        w.field_str("created_at", &UnixMillis(exchange.created.saturating_mul(1000)).to_rfc3339());
        match shape {
            Shape::Chat => w.key("message").object(|w| {
                w.field_str("role", "assistant");
                w.field_str("content", "");
            }),
            Shape::Generate => w.field_str("response", ""),
        }
        w.field("done", &true);
        w.field_str("done_reason", if preload == Preload::Load { "load" } else { "unload" });
    });
    out.push(b'\n');
}
