mod caching;
mod content;
mod request;
mod response;
mod seeds;
mod stream;
mod thinking;

use crate::{
    codec::{DecodeContext, EncodeTarget, NameTable, Sealer, WireError},
    ir::{CallKind, Format, Losses, Part, Profile, Request, Role, Signature, Turn},
    openai,
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
const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const NOVA: &str = "us.amazon.nova-2-lite-v1:0";
const LLAMA: &str = "us.meta.llama4-maverick-17b-instruct-v1:0";

fn turn(role: Role, parts: Vec<Part<'_>>) -> Turn<'_> {
    Turn { role, parts, name: None }
}

fn call<'a>(id: &'a str, name: &'a str, arguments: &'a str) -> Part<'a> {
    Part::ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
        kind: CallKind::Function,
        signature: None,
        cache: None,
    }
}

fn result<'a>(id: &'a str, parts: Vec<Part<'a>>, is_error: bool) -> Part<'a> {
    Part::ToolResult { call_id: id.into(), name: None, parts, is_error, cache: None }
}

/// Of a client that sets its own cache marks, so that none are added.
fn request(turns: Vec<Turn<'_>>) -> Request<'_> {
    let mut request = Request::new(Format::Anthropic, "m");
    request.turns = turns;
    request
}

fn encode(
    request: &Request<'_>,
    model: &str,
    profile: &Profile,
) -> Result<(serde_json::Value, Vec<String>), WireError> {
    let names = NameTable::build(request, super::MAX_NAME_LEN, super::is_name_char);
    let target = EncodeTarget { model, profile, names: &names, stream: false };
    let mut losses = Losses::default();
    let encoded = super::encode_request(request, &target, &mut losses)?;
    assert_eq!(encoded.answer_tool, String::from_utf8_lossy(&encoded.body).contains("omniroute_json_answer"));
    let body = serde_json::from_slice(&encoded.body)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&encoded.body)));
    Ok((body, losses.names().map(str::to_owned).collect()))
}

/// A request as it is sent to a Claude, and what was lost.
fn sent(request: &Request<'_>) -> (serde_json::Value, Vec<String>) {
    encode(request, CLAUDE, &plain_profile()).expect("encoded")
}

/// Nothing is added that the test does not ask for.
fn plain_profile() -> Profile {
    Profile { automatic_cache_marks: false, ..Profile::default() }
}

/// A Chat body on its way to Bedrock.
fn chat(body: &str, model: &str, profile: &Profile) -> Result<(serde_json::Value, Vec<String>), WireError> {
    let request = openai::decode_request(body.as_bytes(), &CONTEXT).expect("a Chat request");
    encode(&request, model, profile)
}
