//! What the pairs are made of: clients and upstreams, with their files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use omniroute_wire::{
    bedrock::frames::write_event,
    codec::{DecodeContext, EncodeTarget, Encoded, NameTable, ResponseContext, Sealer, WireError},
    gemini::Framing,
    ir::{Effort, EffortScale, Family, Format, Losses, Profile, Request, Signature, ThinkingStyle},
    ollama::{Shape, Timing},
    translate::{Dialect, encode_request, name_table},
};

/// The answers that each upstream has a file of: one with thoughts and parallel calls, one with text that was cut off.
pub(crate) const ANSWERS: [&str; 2] = ["calls", "text"];

/// Seals so that a golden shows what is inside.
pub(crate) struct PlainSealer;

impl Sealer for PlainSealer {
    fn seal(&self, signature: &Signature<'_>, _: &str) -> String {
        format!("sealed|{}|{}", signature.family.as_str(), signature.payload)
    }

    fn open(&self, token: &str) -> Option<Signature<'static>> {
        let (word, payload) = token.strip_prefix("sealed|")?.split_once('|')?;
        let family = Format::ALL.into_iter().map(Format::family).find(|family| family.as_str() == word)?;
        Some(Signature { family, payload: payload.to_owned().into() })
    }
}

pub(crate) const CONTEXT: DecodeContext<'_> = DecodeContext { sealer: &PlainSealer, answer: "" };

/// A file beside the tests.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/matrix").join(name)
}

pub(crate) fn read(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every dialect of a chat client.
pub(crate) fn dialects() -> Vec<(&'static str, Dialect)> {
    vec![
        ("chat", Dialect::Chat),
        ("responses", Dialect::Responses),
        ("messages", Dialect::Messages),
        ("gemini", Dialect::Gemini { model: "mock/m".into(), stream: true, framing: Framing::Sse }),
        ("ollama", Dialect::Ollama { shape: Shape::Chat, timing: Timing::default() }),
    ]
}

/// A model of each upstream family as the catalog describes it: its name and its profile.
pub(crate) fn upstream(format: Format) -> (&'static str, Profile) {
    let plain = Profile::default();
    let efforts = EffortScale(vec![Effort::Minimal, Effort::Low, Effort::Medium, Effort::High]);
    let budget = ThinkingStyle::Budget { min: 1024, max: 128_000, can_disable: true };
    match format {
        Format::OpenAiChat => {
            ("gpt-x", Profile { developer_role: true, system_anywhere: true, alternatives_at_top: false, ..plain })
        }
        Format::OpenAiResponses => (
            "gpt-5-x",
            Profile {
                fixed_sampling: true,
                developer_role: true,
                system_anywhere: true,
                alternatives_at_top: false,
                max_completion_tokens: true,
                efforts,
                ..plain
            },
        ),
        Format::Anthropic => ("claude-x", Profile { thinking: budget, max_output_tokens: Some(64_000), ..plain }),
        Format::Gemini => ("gemini-3-x", Profile { efforts, ..plain }),
        Format::Ollama => ("llama-x", Profile { media_urls: false, ..plain }),
        Format::Cohere => ("command-x", plain),
        Format::Bedrock => (
            "anthropic.claude-x",
            Profile { thinking: budget, max_output_tokens: Some(64_000), media_urls: false, ..plain },
        ),
    }
}

/// A client's request, written for an upstream.
pub(crate) fn translated(request: &Request<'_>, format: Format) -> Result<(Encoded, Losses, NameTable), WireError> {
    let (model, profile) = upstream(format);
    let names = name_table(format, request);
    let target = EncodeTarget { model, profile: &profile, names: &names, stream: request.stream };
    let mut losses = Losses::default();
    let encoded = encode_request(format, request, &target, &mut losses)?;
    Ok((encoded, losses, names))
}

pub(crate) fn exchange(names: NameTable) -> ResponseContext {
    ResponseContext {
        id: "0a1b".into(),
        created: 1_700_000_000,
        model: "mock/m".into(),
        include_usage: true,
        show_thinking: true,
        estimated_input: 123,
        answer_tool: false,
        names,
        echo: Vec::new(),
        compacts: false,
        sealer: Arc::new(PlainSealer),
    }
}

/// An upstream's answer in one piece.
pub(crate) fn answer(format: Format, which: &str) -> Vec<u8> {
    read(&format!("upstream/{format}.{which}.json"))
}

/// The same answer, streamed. Bedrock's file has an event a line, which are framed here.
pub(crate) fn stream(format: Format, which: &str) -> Vec<u8> {
    let file = read(&format!("upstream/{format}.{which}.stream"));
    if format != Format::Bedrock {
        return file;
    }
    let mut out = Vec::new();
    for line in std::str::from_utf8(&file).expect("text").lines() {
        let (event, payload) = line.split_once(' ').expect("an event and its payload");
        write_event(event, payload.as_bytes(), &mut out);
    }
    out
}

#[test]
fn the_sealer_opens_what_it_seals() {
    let signature = Signature { family: Family::Gemini, payload: "a|b".into() };
    assert_eq!(PlainSealer.open(&PlainSealer.seal(&signature, "m")), Some(signature));
}
