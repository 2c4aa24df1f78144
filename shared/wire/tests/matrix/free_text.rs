//! The free text of a custom tool that went up as a function: streams and whole answers say the same of it, whatever the
//! model made of the form.

use omniroute_wire::{
    ir::{CallKind, Choice, Collector, Event, FinishReason, Format, Part, Response, replay},
    translate::{Dialect, decode_response, decoder, name_table},
};
use proptest::prelude::*;

use crate::fixtures::{CONTEXT, exchange};

/// The answer of a model that called the function.
fn answer(arguments: &str) -> Response<'_> {
    let call = Part::ToolCall {
        id: "call_1".into(),
        name: "patch".into(),
        arguments: arguments.into(),
        kind: CallKind::Function,
        signature: None,
        cache: None,
    };
    let choice = Choice { parts: vec![call], finish: Some(FinishReason::ToolCalls), ..Choice::default() };
    Response { choices: vec![choice], ..Response::default() }
}

/// What a client of this dialect gets of it: in one piece, or in a stream whose arguments are split.
fn free_text(dialect: &Dialect, arguments: &str, split: Option<usize>) -> String {
    let declared = match dialect {
        Dialect::Responses => r#"{"model":"m","input":"x","tools":[{"type":"custom","name":"patch"}]}"#,
        _ => {
            r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"custom","custom":{"name":"patch"}}]}"#
        }
    };
    let request = dialect.decode_request(declared.as_bytes(), &CONTEXT).expect("a request");
    let exchange = exchange(name_table(Format::OpenAiChat, &request));
    let mut out = Vec::new();
    let read = match split {
        None => {
            dialect.encode_response(&answer(arguments), &exchange, &mut out);
            decode_response(dialect.format(), &out, &CONTEXT).expect("our own answer")
        }
        Some(split) => {
            let (mut encoder, whole) = (dialect.encoder(exchange), answer(""));
            replay(&whole, &mut |event| {
                if matches!(event, Event::ArgsDelta { .. }) {
                    return;
                }
                if let Event::PartStop { choice, part } = event {
                    for text in [&arguments[..split], &arguments[split..]] {
                        encoder.event(&Event::ArgsDelta { choice, part, text: text.into() }, &mut out);
                    }
                }
                encoder.event(&event, &mut out);
            });
            encoder.end(&mut out);
            let (mut decoder, mut collector) = (decoder(dialect.format()), Collector::default());
            decoder.feed(&out, &mut |event| collector.push(&event));
            decoder.end(&mut |event| collector.push(&event));
            collector.finish().expect("our own stream")
        }
    };
    match read.choices.first().and_then(|choice| choice.parts.first()) {
        Some(Part::ToolCall { arguments, kind: CallKind::Custom, .. }) => arguments.clone().into_owned(),
        other => panic!("no free text: {other:?}"),
    }
}

/// JSON of such arguments, and what is only like it.
fn arguments() -> impl Strategy<Value = String> {
    const PIECES: [&str; 21] = [
        "{",
        "}",
        "{\"input\":",
        "\"input\"",
        "\"x\"",
        "input",
        ":",
        ",",
        " ",
        "\n",
        "\"",
        "\\",
        "\\n",
        "\\u00e9",
        "\\ud83e",
        "\\udd80",
        "\u{1F980}",
        "a",
        "null",
        "[1]",
        "{}",
    ];
    proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn it_is_the_same_in_streams_and_in_whole_answers(
        arguments in (any::<bool>(), arguments())
            .prop_map(|(begun, rest)| if begun { format!("{{\"input\": \"{rest}") } else { rest }),
        split in any::<proptest::sample::Index>(),
    ) {
        let ends: Vec<usize> = arguments.char_indices().map(|(at, _)| at).chain([arguments.len()]).collect();
        for dialect in [Dialect::Chat, Dialect::Responses] {
            let whole = free_text(&dialect, &arguments, None);
            prop_assert_eq!(&free_text(&dialect, &arguments, Some(*split.get(&ends))), &whole, "{:?}", arguments);
        }
    }
}

#[test]
fn a_model_that_does_not_keep_to_the_form_is_taken_by_its_word() {
    for (arguments, said) in [
        (r#"{"patch":"other"}"#, r#"{"patch":"other"}"#),
        (r#"{"input":"trunc"#, "trunc"),
        (r#"{"input":"a\ud83d"}"#, "a\u{fffd}"),
        (r#"{"why":"input","input":"a"}"#, "a"),
        ("*** Begin Patch", "*** Begin Patch"),
        ("{}", ""),
    ] {
        for dialect in [Dialect::Chat, Dialect::Responses] {
            for split in [None, Some(0), Some(arguments.len() / 2)] {
                assert_eq!(free_text(&dialect, arguments, split), said, "{arguments} {split:?}");
            }
        }
    }
}
