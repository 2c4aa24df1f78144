use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::{
    codec::{
        DecodeContext, EncodeTarget, Encoded, NameTable, ResponseContext, Sealer, StreamDecoder, StreamEncoder,
        WireError,
    },
    ir::{Event, Family, Losses, Profile, Request, Signature, ThinkingStyle, Validator},
    openai,
};

mod answers;
mod malformed;
mod read_requests;
mod read_streams;
mod thinking;
mod tools;
mod written_requests;
mod written_streams;

/// Seals openly: `sealed:family:payload`.
struct TestSealer;

impl Sealer for TestSealer {
    fn seal(&self, signature: &Signature<'_>, _: &str) -> String {
        format!("sealed:{}:{}", signature.family.as_str(), signature.payload)
    }

    fn open(&self, token: &str) -> Option<Signature<'static>> {
        let (family, payload) = token.strip_prefix("sealed:")?.split_once(':')?;
        let family = match family {
            "openai" => Family::OpenAi,
            "gemini" => Family::Gemini,
            _ => return None,
        };
        Some(Signature { family, payload: payload.to_owned().into() })
    }
}

const CONTEXT: DecodeContext<'_> = DecodeContext { sealer: &TestSealer, answer: "" };

fn exchange() -> ResponseContext {
    ResponseContext {
        id: "1".into(),
        created: 7,
        model: "mock/m".into(),
        include_usage: false,
        show_thinking: true,
        estimated_input: 11,
        answer_tool: false,
        names: NameTable::default(),
        echo: Vec::new(),
        compacts: false,
        sealer: Arc::new(TestSealer),
    }
}

const BUDGET: ThinkingStyle = ThinkingStyle::Budget { min: 1_024, max: 64_000, can_disable: true };

fn profile() -> Profile {
    Profile { max_output_tokens: Some(64_000), thinking: BUDGET, ..Profile::default() }
}

fn read(body: &str) -> Request<'_> {
    decode_request(body.as_bytes(), &CONTEXT).expect("a request")
}

/// A Chat request, as another dialect's client sends it.
fn chat(body: &str) -> Request<'_> {
    openai::decode_request(body.as_bytes(), &CONTEXT).expect("a chat request")
}

fn try_encode(request: &Request<'_>, profile: &Profile) -> Result<(Encoded, Losses), WireError> {
    let names = NameTable::build(request, 64, |_, c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let target = EncodeTarget { model: "claude", profile, names: &names, stream: true };
    let mut losses = Losses::default();
    encode_request(request, &target, &mut losses).map(|encoded| (encoded, losses))
}

/// The written body, the beta header and what was lost.
fn encode(request: &Request<'_>, profile: &Profile) -> (Value, String, Vec<String>) {
    let (encoded, losses) = try_encode(request, profile).expect("encoded");
    let body = serde_json::from_slice(&encoded.body).expect("valid JSON");
    let header = encoded.headers.first().map(|(_, value)| value.clone()).unwrap_or_default();
    (body, header, losses.names().map(str::to_owned).collect())
}

/// Events of a stream, checked for their order.
fn events(stream: &str, split: usize) -> Vec<Event<'static>> {
    let (mut decoder, mut validator) = (Decoder::default(), Validator::default());
    let mut all = Vec::new();
    let mut emit = |event: Event<'_>| {
        validator.check(&event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        all.push(own(event));
    };
    for piece in stream.as_bytes().chunks(split.max(1)) {
        decoder.feed(piece, &mut emit);
    }
    decoder.end(&mut emit);
    validator.end().expect("a complete stream");
    all
}

fn own(event: Event<'_>) -> Event<'static> {
    use crate::ir::PartKind;
    let text = |text: std::borrow::Cow<'_, str>| std::borrow::Cow::<'static, str>::Owned(text.into_owned());
    let sign = |signature: Signature<'_>| Signature { family: signature.family, payload: text(signature.payload) };
    match event {
        Event::Start { id, model, created } => Event::Start { id: text(id), model: text(model), created },
        Event::PartStart { choice, part, kind } => {
            let kind = match kind {
                PartKind::Text => PartKind::Text,
                PartKind::Thinking => PartKind::Thinking,
                PartKind::Refusal => PartKind::Refusal,
                PartKind::RedactedThinking { data } => PartKind::RedactedThinking { data: sign(data) },
                PartKind::ToolCall { id, name, kind } => PartKind::ToolCall { id: text(id), name: text(name), kind },
                PartKind::ServerTool { family, raw } => PartKind::ServerTool { family, raw: raw.into_owned() },
                PartKind::Media { media_type, data } => {
                    PartKind::Media { media_type: text(media_type), data: text(data) }
                }
            };
            Event::PartStart { choice, part, kind }
        }
        Event::TextDelta { choice, part, text: delta } => Event::TextDelta { choice, part, text: text(delta) },
        Event::ThinkingDelta { choice, part, text: delta } => Event::ThinkingDelta { choice, part, text: text(delta) },
        Event::SignatureDelta { choice, part, signature } => {
            Event::SignatureDelta { choice, part, signature: sign(signature) }
        }
        Event::ArgsDelta { choice, part, text: delta } => Event::ArgsDelta { choice, part, text: text(delta) },
        Event::Annotation { choice, part, annotation } => {
            Event::Annotation { choice, part, annotation: annotation.into_owned() }
        }
        Event::Logprobs { choice, raw } => Event::Logprobs { choice, raw: raw.into_owned() },
        Event::PartStop { choice, part } => Event::PartStop { choice, part },
        Event::Served { service_tier, system_fingerprint } => {
            Event::Served { service_tier: service_tier.map(text), system_fingerprint: system_fingerprint.map(text) }
        }
        Event::Usage(usage) => Event::Usage(usage),
        Event::Finish { choice, reason, stop_sequence } => {
            Event::Finish { choice, reason, stop_sequence: stop_sequence.map(text) }
        }
        Event::Error(error) => Event::Error(error),
        Event::Ping => Event::Ping,
    }
}

/// What an encoder makes of events: every event's name and data.
fn written<'e>(
    events: impl IntoIterator<Item = &'e Event<'static>>,
    exchange: ResponseContext,
) -> Vec<(String, Value)> {
    let mut encoder = Encoder::new(exchange);
    let mut out = Vec::new();
    events.into_iter().for_each(|event| encoder.event(event, &mut out));
    encoder.end(&mut out);
    let text = String::from_utf8(out).expect("text");
    text.split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.split_once('\n').expect("two lines");
            let name = name.strip_prefix("event: ").expect("a name").to_owned();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
            assert_eq!(data["type"], name.as_str(), "the name stands in the data too");
            (name, data)
        })
        .collect()
}

/// Puts a written stream together as Anthropic's own clients do, and refuses what they would choke on.
fn assembled(events: &[(String, Value)]) -> Value {
    let mut message = Value::Null;
    let mut open = None;
    for (name, data) in events {
        match name.as_str() {
            "message_start" => {
                assert!(message.is_null(), "started twice");
                message = data["message"].clone();
            }
            "content_block_start" => {
                assert_eq!(open, None, "two blocks open at once");
                let content = message["content"].as_array_mut().expect("started");
                assert_eq!(data["index"], content.len(), "indexes have gaps");
                content.push(data["content_block"].clone());
                open = Some(content.len() - 1);
            }
            "content_block_delta" => {
                let index = open.expect("a delta outside its block");
                assert_eq!(data["index"], index);
                let block = &mut message["content"][index];
                let delta = &data["delta"];
                let (kind, field, piece) = match delta["type"].as_str().expect("a type") {
                    "text_delta" => ("text", "text", "text"),
                    "thinking_delta" => ("thinking", "thinking", "thinking"),
                    "signature_delta" => ("thinking", "signature", "signature"),
                    "input_json_delta" => ("tool_use", "json", "partial_json"),
                    "citations_delta" => {
                        let citation = delta["citation"].clone();
                        match block["citations"].as_array_mut() {
                            Some(citations) => citations.push(citation),
                            None => block["citations"] = Value::Array(vec![citation]),
                        }
                        continue;
                    }
                    other => panic!("unknown delta {other}"),
                };
                assert_eq!(block["type"], kind, "a delta inside a block of another kind");
                let grown = format!("{}{}", block[field].as_str().unwrap_or(""), delta[piece].as_str().expect("text"));
                block[field] = Value::from(grown);
            }
            "content_block_stop" => {
                let index = open.take().expect("no block is open");
                assert_eq!(data["index"], index);
                let block = &mut message["content"][index];
                if let Some(Value::String(json)) = block.as_object_mut().expect("an object").remove("json") {
                    block["input"] = serde_json::from_str(&json).expect("whole arguments");
                }
            }
            "message_delta" => {
                assert_eq!(open, None, "the end while a block is open");
                for field in ["stop_reason", "stop_sequence"] {
                    message[field] = data["delta"][field].clone();
                }
                message["usage"] = data["usage"].clone();
            }
            "message_stop" | "ping" => {}
            other => panic!("unknown event {other}"),
        }
    }
    assert!(events.last().is_none_or(|(name, _)| name == "message_stop"), "no end");
    message
}
