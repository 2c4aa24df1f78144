//! Streams: split anywhere they say the same, collected they are the whole answer, for every pair.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use omniroute_wire::{
    codec::NameTable,
    gemini::Framing,
    ir::{
        Annotation, CallKind, Choice, Collector, Event, Family, FinishReason, Format, Part, Response, Signature,
        Validator, replay,
    },
    translate::{Dialect, decode_response, decoder},
    usage::Usage,
};
use proptest::prelude::*;

use crate::{
    fixtures::{ANSWERS, CONTEXT, answer, dialects, exchange, stream},
    golden::relay,
};

/// Every event of a stream that comes in these pieces, checked for order.
fn events<'p>(format: Format, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<String> {
    let (mut decoder, mut validator, mut all) = (decoder(format), Validator::default(), Vec::new());
    let mut emit = |event: Event<'_>| {
        validator.check(&event).unwrap_or_else(|error| panic!("{format}: {error}: {event:?}"));
        all.push(format!("{event:?}"));
    };
    for piece in pieces {
        decoder.feed(piece, &mut emit);
    }
    decoder.end(&mut emit);
    validator.end().expect("a complete stream");
    all
}

fn collected(format: Format, bytes: &[u8]) -> Response<'static> {
    let (mut decoder, mut collector) = (decoder(format), Collector::default());
    decoder.feed(bytes, &mut |event| collector.push(&event));
    decoder.end(&mut |event| collector.push(&event));
    collector.finish().unwrap_or_else(|error| panic!("{format}: {error:?}"))
}

/// What an answer says, whatever seams and order of kinds a format has: thoughts, text, calls.
#[derive(Debug, Default, PartialEq)]
struct Said {
    thoughts: String,
    signatures: Vec<String>,
    text: String,
    citations: Vec<String>,
    calls: Vec<String>,
    others: Vec<String>,
}

fn said(parts: &[Part<'_>]) -> Said {
    let mut said = Said::default();
    // A token that is not opened here says the same; an empty one says nothing. Gemini's field holds base64.
    let payload = |own: &Signature<'_>| {
        let plain = STANDARD.decode(own.payload.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let token =
            plain.filter(|plain| plain.starts_with("sealed|")).unwrap_or_else(|| own.payload.clone().into_owned());
        let payload = token.rsplit('|').next().unwrap_or_default();
        // A stream numbers thoughts among the parts that it told.
        match serde_json::from_str::<serde_json::Value>(payload) {
            Ok(serde_json::Value::Object(mut marks)) => {
                marks.remove("index");
                serde_json::Value::Object(marks).to_string()
            }
            _ => payload.to_owned(),
        }
    };
    for part in parts {
        match part {
            Part::Thinking { text, signature } => {
                said.thoughts += text;
                said.signatures.extend(signature.as_ref().map(payload).filter(|payload| !payload.is_empty()));
            }
            Part::RedactedThinking { data } => said.others.push(payload(data)),
            Part::Text { text, annotations, .. } => {
                said.text += text;
                said.citations.extend(
                    annotations
                        .iter()
                        .map(|own| format!("{:?} {:?} {:?}-{:?}", own.url, own.title, own.start, own.end)),
                );
            }
            Part::ToolCall { id, name, arguments, kind, signature, .. } => {
                let arguments: serde_json::Value = serde_json::from_str(arguments).expect("JSON");
                let signature = signature.as_ref().map(payload);
                said.calls.push(format!("{id} {name} {arguments} {kind:?} {signature:?}"));
            }
            Part::ServerTool { raw, .. } => said.others.push(raw.to_value().to_string()),
            other => said.others.push(format!("{other:?}")),
        }
    }
    said
}

fn assert_same(what: &str, streamed: &Response<'_>, whole: &Response<'_>) {
    assert_eq!(streamed.choices.len(), whole.choices.len(), "{what}");
    for (streamed, whole) in streamed.choices.iter().zip(&whole.choices) {
        assert_eq!(said(&streamed.parts), said(&whole.parts), "{what}");
        assert_eq!((streamed.finish, &streamed.stop_sequence), (whole.finish, &whole.stop_sequence), "{what}");
    }
    assert_eq!(streamed.usage, whole.usage, "{what}");
}

#[test]
fn splitting_a_stream_at_any_byte_changes_no_event() {
    for format in Format::ALL {
        for which in ANSWERS {
            let bytes = stream(format, which);
            let whole = events(format, [bytes.as_slice()]);
            for at in 0..=bytes.len() {
                let (first, second) = bytes.split_at(at);
                assert_eq!(events(format, [first, second]), whole, "{format} {which} at {at}");
            }
            assert_eq!(events(format, bytes.chunks(1)), whole, "{format} {which}, byte for byte");
        }
    }
}

#[test]
fn a_collected_stream_is_the_whole_answer() {
    for format in Format::ALL {
        for which in ANSWERS {
            let body = answer(format, which);
            let whole = decode_response(format, &body, &CONTEXT).expect("an answer");
            assert_same(&format!("{format} {which}"), &collected(format, &stream(format, which)), &whole);
        }
    }
}

#[test]
fn a_translated_stream_collected_is_the_translated_answer() {
    for (client, dialect) in dialects() {
        for format in Format::ALL {
            for which in ANSWERS {
                let exchange = exchange(NameTable::default());
                let streamed = relay(&dialect, &exchange, format, &stream(format, which));
                let body = answer(format, which);
                let mut whole = Vec::new();
                dialect.encode_response(
                    &decode_response(format, &body, &CONTEXT).expect("an answer"),
                    &exchange,
                    &mut whole,
                );
                let whole = decode_response(dialect.format(), &whole, &CONTEXT).expect("our own answer");
                let what = format!("{client} from {format}, {which}");
                assert_same(&what, &collected(dialect.format(), &streamed), &whole);
            }
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[a-z \\\\\"\n\u{e9}\u{1F980}]{1,12}").expect("a pattern")
}

fn part() -> impl Strategy<Value = Part<'static>> {
    let signed = proptest::option::of(Just(Signature { family: Family::Anthropic, payload: "c2ln".into() }));
    let annotation = (0_u64..3, 3_u64..9).prop_map(|(start, end)| Annotation {
        url: Some("https://example.com".into()),
        title: Some("t".into()),
        cited_text: None,
        start: Some(start),
        end: Some(end),
        family: Family::OpenAi,
        raw: None,
    });
    let annotations = proptest::collection::vec(annotation, 0..2);
    prop_oneof![
        (text(), annotations).prop_map(|(text, annotations)| Part::Text {
            text: text.into(),
            annotations,
            cache: None
        }),
        (text(), signed).prop_map(|(text, signature)| Part::Thinking { text: text.into(), signature }),
        ("[a-z]{1,6}", text(), 0_u32..999).prop_map(|(name, value, number)| Part::ToolCall {
            id: format!("call_{number}").into(),
            name: name.into(),
            arguments: format!("{{\"v\": {}, \"n\":1.0}}", serde_json::Value::from(value)).into(),
            kind: CallKind::Function,
            signature: None,
            cache: None,
        }),
    ]
}

fn response() -> impl Strategy<Value = Response<'static>> {
    let usage = (1_u64..9999, 0_u64..99, 1_u64..999, 0_u64..99).prop_map(|(input, cached, output, thought)| Usage {
        input: Some(input),
        cache_read: Some(cached),
        output: Some(output),
        reasoning: Some(thought),
        ..Usage::default()
    });
    (proptest::collection::vec(part(), 1..5), usage, any::<bool>()).prop_map(|(parts, usage, cut)| {
        let called = parts.iter().any(|part| matches!(part, Part::ToolCall { .. }));
        let finish = match (called, cut) {
            (true, _) => FinishReason::ToolCalls,
            (false, true) => FinishReason::MaxTokens,
            (false, false) => FinishReason::End,
        };
        let choice = Choice { parts, finish: Some(finish), ..Choice::default() };
        Response { id: "r".into(), model: "m".into(), choices: vec![choice], usage, ..Response::default() }
    })
}

fn written(dialect: &Dialect, response: &Response<'_>) -> Vec<u8> {
    let (mut encoder, mut out) = (dialect.encoder(exchange(NameTable::default())), Vec::new());
    replay(response, &mut |event| encoder.event(&event, &mut out));
    encoder.end(&mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_is_the_same_whole_streamed_and_split(response in response(), cuts in proptest::collection::vec(1_usize..40, 1..6)) {
        let array = Dialect::Gemini { model: "m".into(), stream: true, framing: Framing::JsonArray };
        for (client, dialect) in dialects().into_iter().chain([("gemini array", array)]) {
            let format = dialect.format();
            let stream = written(&dialect, &response);
            let mut pieces = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = more;
            }
            prop_assert_eq!(events(format, pieces), events(format, [stream.as_slice()]), "{}", client);
            let mut whole = Vec::new();
            dialect.encode_response(&response, &exchange(NameTable::default()), &mut whole);
            let whole = decode_response(format, &whole, &CONTEXT).expect("our own answer");
            assert_same(client, &collected(format, &stream), &whole);
        }
    }
}
