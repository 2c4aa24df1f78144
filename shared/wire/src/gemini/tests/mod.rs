mod across;
mod answers;
mod errors;
mod mutations;
mod requests_in;
mod requests_out;
mod settings_out;
mod side;
mod streams_in;
mod streams_out;

use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::{
    codec::{DecodeContext, EncodeTarget, Encoded, NameTable, ResponseContext, Sealer, WireError},
    ir::{Family, Format, Losses, Part, Profile, Request, Role, Signature, SystemPart, SystemRole, Turn},
};

/// Tokens that show what they hold; not base64, as a real one need not be.
struct OpenSealer;

impl Sealer for OpenSealer {
    fn seal(&self, signature: &Signature<'_>, model: &str) -> String {
        format!("sealed:{}:{model}:{}", signature.family.as_str(), signature.payload)
    }

    fn open(&self, token: &str) -> Option<Signature<'static>> {
        let rest = token.strip_prefix("sealed:")?;
        let mut fields = rest.splitn(3, ':');
        let family = if fields.next()? == "anthropic" { Family::Anthropic } else { Family::OpenAi };
        let payload = fields.nth(1)?.to_owned().into();
        Some(Signature { family, payload })
    }
}

const CONTEXT: DecodeContext<'_> = DecodeContext { sealer: &OpenSealer, answer: "" };

fn exchange() -> ResponseContext {
    ResponseContext {
        id: "r1".into(),
        created: 7,
        model: "mock/m".into(),
        include_usage: false,
        show_thinking: true,
        estimated_input: 0,
        answer_tool: false,
        names: NameTable::default(),
        echo: Vec::new(),
        compacts: false,
        sealer: Arc::new(OpenSealer),
    }
}

fn decode(body: &str) -> Result<Request<'_>, WireError> {
    decode_request(body.as_bytes(), "models/gemini-2.5-pro", false, &CONTEXT)
}

/// Writes a request and reads what was written; the losses as one text.
fn encode_for(request: &Request<'_>, model: &str, profile: &Profile) -> Result<(Value, String), WireError> {
    let names = name_table(request);
    let target = EncodeTarget { model, profile, names: &names, stream: false };
    let mut losses = Losses::default();
    let Encoded { body, headers, answer_tool } = encode_request(request, &target, &mut losses)?;
    assert!(headers.is_empty());
    assert_eq!(answer_tool, String::from_utf8_lossy(&body).contains("omniroute_json_answer"));
    let value = serde_json::from_slice(&body).expect("valid JSON");
    Ok((value, losses.names().collect::<Vec<_>>().join(",")))
}

fn encode(request: &Request<'_>) -> (Value, String) {
    encode_for(request, "gemini-2.5-pro", &Profile::default()).expect("encoded")
}

fn turn<'a>(role: Role, parts: Vec<Part<'a>>) -> Turn<'a> {
    Turn { role, parts, name: None }
}

fn call<'a>(id: &'a str, name: &'a str, arguments: &'a str) -> Part<'a> {
    let kind = crate::ir::CallKind::Function;
    Part::ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), kind, signature: None, cache: None }
}

fn result<'a>(call_id: &'a str, text: &'a str) -> Part<'a> {
    Part::ToolResult {
        call_id: call_id.into(),
        name: None,
        parts: vec![Part::text(text)],
        is_error: false,
        cache: None,
    }
}

fn asks<'a>(turns: Vec<Turn<'a>>) -> Request<'a> {
    let mut request = Request::new(Format::OpenAiChat, "m");
    request.turns = turns;
    request
}

fn system(text: &str, position: usize) -> SystemPart<'_> {
    SystemPart { text: text.into(), role: SystemRole::System, position, cache: None }
}
