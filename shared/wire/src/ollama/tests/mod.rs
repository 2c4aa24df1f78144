mod answers;
mod foreign;
mod generate;
mod requests;
mod streams;

use std::sync::Arc;

use super::*;
use crate::{
    codec::{DecodeContext, EncodeTarget, NameTable, ResponseContext, Sealer, WireError},
    ir::{Losses, Profile, Request, Signature},
};

struct NoSealer;

impl Sealer for NoSealer {
    fn seal(&self, signature: &Signature<'_>, _: &str) -> String {
        format!("sealed:{}", signature.payload)
    }

    fn open(&self, _: &str) -> Option<Signature<'static>> {
        None
    }
}

const CONTEXT: DecodeContext<'_> = DecodeContext { sealer: &NoSealer, answer: "" };

fn exchange() -> ResponseContext {
    ResponseContext {
        id: "1".into(),
        created: 7,
        model: "mock/m".into(),
        include_usage: true,
        show_thinking: true,
        estimated_input: 0,
        answer_tool: false,
        names: NameTable::default(),
        echo: Vec::new(),
        compacts: false,
        sealer: Arc::new(NoSealer),
    }
}

/// A request as Ollama would get it, and what was lost.
fn encode_with(request: &Request<'_>, profile: &Profile) -> Result<(serde_json::Value, Vec<String>), WireError> {
    let names = NameTable::build(request, 64, |_, c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let target = EncodeTarget { model: "up", profile, names: &names, stream: false };
    let mut losses = Losses::default();
    let encoded = encode_request(request, &target, &mut losses)?;
    let body = serde_json::from_slice(&encoded.body).expect("valid JSON");
    Ok((body, losses.names().map(str::to_owned).collect()))
}

fn encode(request: &Request<'_>) -> (serde_json::Value, Vec<String>) {
    encode_with(request, &Profile::default()).expect("encoded")
}
