//! What must hold for any bytes at all: no panic, valid JSON out, events in order, and the same events wherever a stream is
//! split. The fuzz targets and a test over the seeds share these checks.

use std::sync::Arc;

use bytes::Bytes;
use omniroute_wire::{
    anthropic,
    bedrock::{self, frames::write_event},
    codec::{DecodeContext, EncodeTarget, NameTable, ResponseContext, Sealer},
    cohere,
    gemini::{self, Framing},
    ir::{Event, Format, Losses, Profile, Request, Response, Signature, ThinkingStyle, Validator, replay},
    json_tail::UsageTail,
    ollama::{self, Shape, Timing},
    openai, responses,
    scan::scan,
    translate::{Dialect, decode_response, decoder, encode_request, name_table},
};

struct PlainSealer;

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

const CONTEXT: DecodeContext<'_> = DecodeContext { sealer: &PlainSealer, answer: "" };

fn exchange(names: NameTable) -> ResponseContext {
    ResponseContext {
        id: "1".into(),
        created: 7,
        model: "m".into(),
        include_usage: true,
        show_thinking: true,
        estimated_input: 3,
        answer_tool: false,
        names,
        echo: Vec::new(),
        compacts: false,
        sealer: Arc::new(PlainSealer),
    }
}

fn dialects() -> [Dialect; 8] {
    let gemini = |framing| Dialect::Gemini { model: "m".into(), stream: true, framing };
    let ollama = |shape| Dialect::Ollama { shape, timing: Timing::default() };
    [
        Dialect::Chat,
        Dialect::Completions,
        Dialect::Responses,
        Dialect::Messages,
        gemini(Framing::Sse),
        gemini(Framing::JsonArray),
        ollama(Shape::Chat),
        ollama(Shape::Generate),
    ]
}

/// A model that takes everything, and one that takes little.
fn profiles() -> [Profile; 2] {
    let poor = Profile {
        max_output_tokens: Some(4096),
        thinking: ThinkingStyle::Budget { min: 1024, max: 8192, can_disable: true },
        fixed_sampling: true,
        json_schema: false,
        full_json_schema: false,
        tools: false,
        media_urls: false,
        ..Profile::default()
    };
    [Profile::default(), poor]
}

fn assert_json(bytes: &[u8], what: &str) {
    let valid = serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok();
    assert!(valid, "{what}: no JSON: {}", String::from_utf8_lossy(bytes));
}

/// A document of `format`: as a request where clients speak it, as an answer, as an error.
pub fn document(format: Format, bytes: &[u8]) {
    for dialect in dialects().iter().filter(|dialect| dialect.format() == format) {
        if let Ok(request) = dialect.decode_request(bytes, &CONTEXT) {
            encode_everywhere(&request);
        }
        let _ = dialect.echo(bytes);
    }
    if let Ok(response) = decode_response(format, bytes, &CONTEXT) {
        write_everywhere(&response);
    }
    for status in [400, 429, 500] {
        let _ = match format {
            Format::OpenAiChat => openai::decode_error(status, bytes),
            Format::OpenAiResponses => responses::decode_error(status, bytes),
            Format::Anthropic => anthropic::decode_error(status, bytes),
            Format::Gemini => gemini::decode_error(status, bytes),
            Format::Ollama => ollama::decode_error(status, bytes),
            Format::Cohere => cohere::decode_error(status, bytes),
            Format::Bedrock => bedrock::decode_error(status, None, bytes),
        };
    }
}

fn encode_everywhere(request: &Request<'_>) {
    for format in Format::ALL {
        let names = name_table(format, request);
        for profile in &profiles() {
            for stream in [false, true] {
                let target = EncodeTarget { model: "claude-gemini", profile, names: &names, stream };
                let mut losses = Losses::default();
                if let Ok(encoded) = encode_request(format, request, &target, &mut losses) {
                    assert_json(&encoded.body, format.as_str());
                }
                let _ = losses.header();
            }
        }
    }
}

fn write_everywhere(response: &Response<'_>) {
    let mut validator = Validator::default();
    replay(response, &mut |event| validator.check(&event).expect("a replayed answer is in order"));
    for dialect in &dialects() {
        let exchange = exchange(NameTable::default());
        let mut out = Vec::new();
        dialect.encode_response(response, &exchange, &mut out);
        assert_json(&out, "an answer");
        let (mut encoder, mut out) = (dialect.encoder(exchange), Vec::new());
        replay(response, &mut |event| encoder.event(&event, &mut out));
        encoder.end(&mut out);
        assert_stream(dialect, &out);
    }
}

/// A stream of `format`: split in two ways it must give the same events, in order, that every encoder can write.
pub fn stream(format: Format, bytes: &[u8]) {
    let framed = if format == Format::Bedrock { bedrock_frames(bytes) } else { None };
    let bytes = framed.as_deref().unwrap_or(bytes);
    let whole = events(format, &[bytes]);
    let mut random = bytes.iter().fold(bytes.len() as u64 + 7, |sum, byte| {
        sum.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(*byte) + 1)
    });
    for most in [3, 64] {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let length = (usize::try_from(random >> 33).unwrap_or(0) % most + 1).min(rest.len());
            let (piece, more) = rest.split_at(length);
            pieces.push(piece);
            rest = more;
        }
        assert_eq!(events(format, &pieces), whole, "pieces of up to {most} bytes");
    }
    for dialect in &dialects() {
        let (mut decoder, mut encoder) = (decoder(format), dialect.encoder(exchange(NameTable::default())));
        let mut out = Vec::new();
        decoder.feed(bytes, &mut |event| encoder.event(&event, &mut out));
        decoder.end(&mut |event| encoder.event(&event, &mut out));
        encoder.end(&mut out);
        assert_stream(dialect, &out);
    }
}

/// `event {json}` a line, framed: a fuzzer would never guess the checksums.
fn bedrock_frames(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return None;
    }
    let mut out = Vec::new();
    for line in text.lines() {
        let (event, payload) = line.split_once(' ').unwrap_or((line, "{}"));
        write_event(event, payload.as_bytes(), &mut out);
    }
    Some(out)
}

fn events(format: Format, pieces: &[&[u8]]) -> Vec<String> {
    let (mut decoder, mut validator, mut all) = (decoder(format), Validator::default(), Vec::new());
    let mut emit = |event: Event<'_>| {
        let order = validator.check(&event);
        assert!(order.is_ok(), "{order:?}: {event:?}");
        all.push(format!("{event:?}"));
    };
    pieces.iter().for_each(|piece| decoder.feed(piece, &mut emit));
    decoder.end(&mut emit);
    let order = validator.end();
    assert!(order.is_ok(), "{order:?} behind {:?}", all.last());
    all
}

fn assert_stream(dialect: &Dialect, out: &[u8]) {
    let text = std::str::from_utf8(out).expect("a stream is text");
    match dialect {
        Dialect::Gemini { framing: Framing::JsonArray, .. } => assert_json(out, "a JSON array"),
        Dialect::Ollama { .. } => text.lines().for_each(|line| assert_json(line.as_bytes(), "a line")),
        _ => {
            for line in text.lines() {
                match line.strip_prefix("data: ") {
                    Some("[DONE]") => {}
                    Some(data) => assert_json(data.as_bytes(), "an event"),
                    None => assert!(
                        line.is_empty() || line.starts_with("event: ") || line.starts_with(':'),
                        "a line of no event: {line}"
                    ),
                }
            }
        }
    }
}

/// What passthrough does to bodies and streams: nothing is lost, and what is exchanged leaves valid JSON.
pub fn passthrough(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    if let Ok(found) = scan(bytes) {
        let new = "a\"model\n";
        for segments in [
            openai::upstream_body(body.clone(), &found, new).segments,
            openai::renamed_body(body.clone(), &found, new),
            anthropic::upstream_body(body.clone(), &found, new),
            responses::upstream_body(body.clone(), &found, new, true),
        ] {
            assert_json(&segments.concat(), "a spliced body");
        }
    }
    let _ = gemini::scan_body(bytes);
    let pieces: Vec<Bytes> = bytes.chunks(bytes.len() % 61 + 1).map(Bytes::copy_from_slice).collect();
    let mut tail = UsageTail::default();
    pieces.iter().for_each(|piece| tail.feed(piece));
    let _ = (openai::answer_facts(&tail), tail.facts_by(gemini::answer_facts));
    let _ = (anthropic::answer_facts(&tail), responses::answer_facts(&tail));
    let _ = anthropic::read_answer_usage(bytes);
    macro_rules! watch {
        ($scanner:expr) => {{
            let (mut scanner, mut out) = ($scanner, Vec::new());
            pieces.iter().for_each(|piece| scanner.feed(piece.clone(), &mut out));
            scanner.end(&mut out);
            let _ = scanner.finish_reason();
            out.concat()
        }};
    }
    let through: [Vec<u8>; 4] = [
        watch!(openai::UsageScanner::new(false)),
        watch!(anthropic::UsageScanner::new()),
        watch!(responses::UsageScanner::new()),
        watch!(gemini::UsageScanner::new()),
    ];
    assert!(through.iter().all(|out| out == bytes), "a scanner changed what it only watches");
    assert!(watch!(openai::UsageScanner::new(true)).len() <= bytes.len());
}
