mod accumulate;
mod across;
mod adversarial;
mod answer;
mod compaction;
mod decode_request;
mod decode_stream;
mod encode_request;
mod encode_stream;
mod history;
mod passthrough;
mod stored;

use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::{
    codec::{
        DecodeContext, EncodeTarget, Encoded, NameTable, ResponseContext, Sealer, StreamDecoder, StreamEncoder,
        WireError,
    },
    ir::{Collector, Event, Family, Losses, Profile, Request, Response, Signature, Validator},
};

/// Seals so that a test can read it.
pub(super) struct PlainSealer;

impl Sealer for PlainSealer {
    fn seal(&self, signature: &Signature<'_>, _: &str) -> String {
        format!("sealed|{}|{}", signature.family.as_str(), signature.payload)
    }

    fn open(&self, token: &str) -> Option<Signature<'static>> {
        let (family, payload) = token.strip_prefix("sealed|")?.split_once('|')?;
        let family = match family {
            "anthropic" => Family::Anthropic,
            "gemini" => Family::Gemini,
            _ => Family::OpenAi,
        };
        Some(Signature { family, payload: payload.to_owned().into() })
    }
}

pub(super) const CONTEXT: DecodeContext<'_> = DecodeContext { sealer: &PlainSealer, answer: "" };

pub(super) fn exchange() -> ResponseContext {
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
        sealer: Arc::new(PlainSealer),
    }
}

pub(super) fn names_of(request: &Request<'_>) -> NameTable {
    NameTable::build(request, 64, |_, c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

pub(super) fn request(body: &str) -> Request<'_> {
    decode_request(body.as_bytes(), &CONTEXT).unwrap_or_else(|error| panic!("{error}: {:?}", error.param))
}

pub(super) fn refusal_of(body: &str) -> WireError {
    decode_request(body.as_bytes(), &CONTEXT).expect_err(body)
}

pub(super) fn encoded(request: &Request<'_>, profile: &Profile) -> Result<(Value, Losses), WireError> {
    let names = names_of(request);
    let target = EncodeTarget { model: "up", profile, names: &names, stream: false };
    let mut losses = Losses::default();
    let Encoded { body, .. } = encode_request(request, &target, &mut losses)?;
    Ok((serde_json::from_slice(&body).expect("valid JSON"), losses))
}

/// Through the representation and back, for the same format.
pub(super) fn through(body: &str) -> (Value, Losses) {
    encoded(&request(body), &Profile::default()).expect("encoded")
}

/// Every event of a stream, checked for order, from pieces of this size.
pub(super) fn decoded(stream: &[u8], split: usize) -> Vec<String> {
    let (mut decoder, mut validator) = (Decoder::default(), Validator::default());
    let mut all = Vec::new();
    let mut emit = |event: Event<'_>| {
        validator.check(&event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        all.push(format!("{event:?}"));
    };
    for piece in stream.chunks(split.max(1)) {
        decoder.feed(piece, &mut emit);
    }
    decoder.end(&mut emit);
    validator.end().expect("a complete stream");
    all
}

pub(super) fn collected(stream: &[u8]) -> Result<Response<'static>, crate::ir::StreamError> {
    let (mut decoder, mut collector) = (Decoder::default(), Collector::default());
    decoder.feed(stream, &mut |event| collector.push(&event));
    decoder.end(&mut |event| collector.push(&event));
    collector.finish()
}

/// What a client gets of these events.
pub(super) fn written(exchange: ResponseContext, events: &[Event<'_>]) -> Vec<u8> {
    let (mut encoder, mut out, mut validator) = (Encoder::new(exchange), Vec::new(), Validator::default());
    for event in events {
        validator.check(event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        encoder.event(event, &mut out);
    }
    encoder.end(&mut out);
    out
}

/// The data of each event, with the checks that hold for every stream.
pub(super) fn frames(stream: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stream).expect("text");
    assert!(text.ends_with("\n\n") && !text.contains("[DONE]"));
    let frames: Vec<Value> = text
        .trim_end()
        .split("\n\n")
        .map(|event| {
            let (name, data) = event.split_once('\n').expect("two lines");
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
            assert_eq!(name.strip_prefix("event: "), data["type"].as_str(), "the name is the type");
            data
        })
        .collect();
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(frame["sequence_number"], number, "no gaps: {frame}");
    }
    frames
}

pub(super) fn kinds(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap_or_default()).collect()
}
