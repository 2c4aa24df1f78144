//! One golden a pair: the request on its way up, each answer on its way down, whole and streamed.

use std::fs;

use omniroute_wire::{
    codec::ResponseContext,
    ir::{Event, Format, Part, Request, Source, Validator},
    translate::{Dialect, decode_response, decoder},
};

use crate::{
    fixtures::{ANSWERS, CONTEXT, answer, dialects, exchange, path, read, stream, translated},
    pretty::pretty,
};

/// What a client gets of a stream, fed in one piece and checked for order.
pub(crate) fn relay(dialect: &Dialect, exchange: &ResponseContext, format: Format, bytes: &[u8]) -> Vec<u8> {
    let (mut decoder, mut encoder) = (decoder(format), dialect.encoder(exchange.clone()));
    let (mut validator, mut out) = (Validator::default(), Vec::new());
    let mut pass = |event: Event<'_>| {
        validator.check(&event).unwrap_or_else(|error| panic!("{format}: {error}: {event:?}"));
        encoder.event(&event, &mut out);
    };
    decoder.feed(bytes, &mut pass);
    decoder.end(&mut pass);
    validator.end().expect("a complete stream");
    encoder.end(&mut out);
    out
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

fn render(dialect: &Dialect, body: &[u8], format: Format) -> String {
    let mut request = dialect.decode_request(body, &CONTEXT).expect("a request");
    let mut golden = String::new();
    let mut section = |title: &str, content: &str| {
        golden += &format!("=== {title} ===\n{}\n\n", content.trim_end());
    };
    let mut result = translated(&request, format);
    if let Err(error) = &result {
        // Some upstreams take no files: that is said, and the rest of the request still has to be looked at.
        section("refused", &format!("{} ({}): {error}", error.code, error.param.as_deref().unwrap_or("-")));
        without_files(&mut request);
        result = translated(&request, format);
    }
    let (encoded, losses, names) = result.unwrap_or_else(|error| panic!("{format}: {error:?}"));
    section("request", &pretty(&text(encoded.body)));
    for (name, value) in encoded.headers {
        section("header", &format!("{name}: {value}"));
    }
    section("dropped", &losses.header().unwrap_or_else(|| "-".to_owned()));
    let exchange = ResponseContext { echo: dialect.echo(body), ..exchange(names) };
    for which in ANSWERS {
        let bytes = answer(format, which);
        let response = decode_response(format, &bytes, &CONTEXT).expect("an answer");
        let mut out = Vec::new();
        dialect.encode_response(&response, &exchange, &mut out);
        section(&format!("answer: {which}"), &pretty(&text(out)));
        let streamed = relay(dialect, &exchange, format, &stream(format, which));
        section(&format!("stream: {which}"), &text(streamed));
    }
    golden
}

fn without_files(request: &mut Request<'_>) {
    for turn in &mut request.turns {
        turn.parts.retain(|part| !matches!(part, Part::Document { source: Source::Inline { .. }, .. }));
    }
}

/// `created_at` of Ollama's answers is the time of writing.
fn without_clock(golden: &str) -> String {
    let mut out = String::with_capacity(golden.len());
    let mut rest = golden;
    for marker in std::iter::repeat("\"created_at\":") {
        let Some(at) = rest.find(marker) else { break };
        let (before, after) = rest.split_at(at + marker.len());
        out += before;
        let value = after.trim_start();
        let end = value.strip_prefix('"').and_then(|value| value.find('"'));
        rest = match end {
            Some(end) => {
                out += "\"TIME\"";
                &value[end + 2..]
            }
            None => after,
        };
    }
    out + rest
}

#[test]
fn every_pair_is_as_it_was_reviewed() {
    let update = std::env::var_os("UPDATE_GOLDENS").is_some();
    let mut parted = Vec::new();
    for (client, dialect) in dialects() {
        let body = read(&format!("client/{client}.json"));
        for format in Format::ALL {
            let name = format!("golden/{client}-{format}.txt");
            let now = without_clock(&render(&dialect, &body, format));
            if update {
                fs::write(path(&name), &now).expect("written");
                continue;
            }
            let golden = text(read(&name));
            let line = golden.lines().zip(now.lines()).position(|(old, new)| old != new);
            if golden != now {
                let at = line.unwrap_or_else(|| golden.lines().count().min(now.lines().count()));
                let show = |text: &str| text.lines().nth(at).unwrap_or("(end)").to_owned();
                parted.push(format!("{name}:{}\n  was {}\n  is  {}", at + 1, show(&golden), show(&now)));
            }
        }
    }
    assert!(parted.is_empty(), "read the differences, then run with UPDATE_GOLDENS=1:\n{}", parted.join("\n"));
}
