use serde_json::json;

use super::*;
use crate::{
    codec::StreamDecoder,
    ir::{Collector, Event, FinishReason, Response, StreamError, Validator},
};

const ELEMENTS: [&str; 6] = [
    r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true}],"role":"model"},"index":0}],"modelVersion":"gemini-3-pro","responseId":"R","usageMetadata":{"promptTokenCount":10}}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":" so","thought":true}],"role":"model"}}],"responseId":"R"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"h\u00e9 "}],"role":"model"}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"🦀"}],"role":"model"}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"n": 1.0}},"thoughtSignature":"c2ln"},{"functionCall":{"id":"own","name":"g","args":{}}}],"role":"model"}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":6,"thoughtsTokenCount":2,"totalTokenCount":18}}"#,
];

fn framed(elements: &[&str]) -> [String; 3] {
    let events = elements.iter().map(|element| format!("data: {element}\r\n\r\n")).collect();
    let array = format!("[{}\r\n]", elements.join(",\r\n"));
    let sparse = elements.iter().map(|element| format!(": comment\ndata:{element}\n\n")).collect::<String>()
        + "data: [DONE]\n\n";
    [events, array, sparse]
}

fn events(stream: &str, split: usize) -> Vec<String> {
    let (mut decoder, mut validator) = (Decoder::default(), Validator::default());
    let mut all = Vec::new();
    let mut emit = |event: Event<'_>| {
        validator.check(&event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        all.push(format!("{event:?}"));
    };
    stream.as_bytes().chunks(split).for_each(|piece| decoder.feed(piece, &mut emit));
    decoder.end(&mut emit);
    validator.end().expect("a complete stream");
    all
}

fn collect(stream: &str) -> Result<Response<'static>, StreamError> {
    let (mut decoder, mut collector, mut validator) = (Decoder::default(), Collector::default(), Validator::default());
    let mut emit = |event: Event<'_>| {
        validator.check(&event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        collector.push(&event);
    };
    decoder.feed(stream.as_bytes(), &mut emit);
    decoder.end(&mut emit);
    collector.finish()
}

#[test]
fn splitting_a_stream_of_any_framing_anywhere_changes_no_event() {
    let whole = events(&framed(&ELEMENTS)[0], usize::MAX);
    for stream in framed(&ELEMENTS) {
        for split in 1..=stream.len() {
            assert_eq!(events(&stream, split), whole, "pieces of {split}");
        }
    }
}

#[test]
fn calls_are_whole_and_stop_beside_them_means_tool_calls() {
    let response = collect(&framed(&ELEMENTS)[1]).expect("an answer");
    assert_eq!((response.id.as_ref(), response.model.as_ref()), ("R", "gemini-3-pro"));
    let choice = &response.choices[0];
    assert_eq!(choice.finish, Some(FinishReason::ToolCalls));
    assert_eq!(choice.parts[0], Part::Thinking { text: "hm so".into(), signature: None });
    assert_eq!(choice.parts[1], Part::text("hé 🦀"));
    let Part::ToolCall { id, arguments, signature: Some(signature), .. } = &choice.parts[2] else {
        panic!("a signed call")
    };
    assert_eq!((arguments.as_ref(), signature.payload.as_ref(), id.len()), (r#"{"n": 1.0}"#, "c2ln", 29));
    assert!(matches!(&choice.parts[3], Part::ToolCall { id, signature: None, .. } if id == "own"));
    let usage = response.usage;
    assert_eq!((usage.input, usage.cache_read, usage.output, usage.reasoning), (Some(6), Some(4), Some(6), Some(2)));
    let whole =
        r#"{"responseId":"R","candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"n": 1.0}}}]}}]}"#;
    let answer = decode_response(whole.as_bytes(), &CONTEXT).expect("an answer");
    assert!(
        matches!(&answer.choices[0].parts[0], Part::ToolCall { id: own, .. } if own == id),
        "one id, streamed or not"
    );
}

#[test]
fn a_signature_after_the_text_stands_behind_it_and_citations_inside() {
    let stream = framed(&[
        r#"{"candidates":[{"content":{"parts":[{"text":"é says so"}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"c2ln"}]},"finishReason":"STOP","groundingMetadata":{"webSearchQueries":["q"],"groundingChunks":[{"web":{"uri":"https://a","title":"A"}},{"web":{"uri":"https://b","title":"B"}}],"groundingSupports":[{"segment":{"startIndex":3,"endIndex":7,"text":"says"},"groundingChunkIndices":[0,9]}]},"citationMetadata":{"citationSources":[{"startIndex":0,"endIndex":2,"uri":"https://c"}]}}]}"#,
    ]);
    let response = collect(&stream[0]).expect("an answer");
    let [Part::Text { text, annotations, .. }, Part::RedactedThinking { data }] = response.choices[0].parts.as_slice()
    else {
        panic!("{:?}", response.choices[0].parts)
    };
    assert_eq!((text.as_ref(), data.payload.as_ref()), ("é says so", "c2ln"));
    let cited: Vec<_> =
        annotations.iter().map(|own| (own.url.as_deref().unwrap_or_default(), own.start, own.end)).collect();
    assert_eq!(cited, [("https://a", Some(2), Some(6)), ("https://b", None, None), ("https://c", Some(0), Some(1))]);
}

#[test]
fn text_that_goes_on_after_a_signature_is_a_part_of_its_own() {
    let stream = framed(&[
        r#"{"candidates":[{"content":{"parts":[{"text":"a","thoughtSignature":"QQ=="},{"text":"b"},{"executableCode":{"code":"1"}},{"inlineData":{"mimeType":"image/png","data":"AA=="}}]},"finishReason":"STOP"}]}"#,
    ]);
    let parts = collect(&stream[0]).expect("an answer").choices.remove(0).parts;
    assert_eq!(parts[0], Part::text("a"));
    assert!(matches!(parts[1], Part::RedactedThinking { .. }));
    assert_eq!(parts[2], Part::text("b"));
    assert!(matches!(parts[3], Part::ServerTool { .. }));
    assert!(matches!(parts[4], Part::Image { .. }));
}

#[test]
fn a_reason_in_every_element_does_not_end_the_answer_early() {
    let stream = framed(&[
        r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"MAX_TOKENS"}]}"#,
    ]);
    let choice = collect(&stream[0]).expect("an answer").choices.remove(0);
    assert_eq!((choice.parts, choice.finish), (vec![Part::text("ab")], Some(FinishReason::MaxTokens)));
}

#[test]
fn several_candidates_are_kept_apart() {
    let stream = framed(&[
        r#"{"responseId":"R","candidates":[{"index":1,"content":{"parts":[{"text":"b"},{"functionCall":{"name":"f"}}]}},{"index":0,"content":{"parts":[{"text":"a"},{"functionCall":{"name":"f"}}]}}]}"#,
        r#"{"candidates":[{"index":0,"finishReason":"STOP","logprobsResult":{"chosenCandidates":[{"token":"a","logProbability":-0.5}]}},{"index":1,"finishReason":"SAFETY"}]}"#,
    ]);
    let choices = collect(&stream[1]).expect("an answer").choices;
    assert_eq!(
        choices.iter().map(|choice| choice.finish).collect::<Vec<_>>(),
        [Some(FinishReason::ToolCalls), Some(FinishReason::ContentFilter)]
    );
    let id = |choice: usize| match &choices[choice].parts[1] {
        Part::ToolCall { id, .. } => id.to_string(),
        other => panic!("{other:?}"),
    };
    assert_ne!(id(0), id(1));
    let logprobs = choices[0].logprobs.as_ref().expect("logprobs").to_value();
    assert_eq!(logprobs["content"][0], json!({"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[]}));
}

#[test]
fn a_blocked_prompt_is_a_content_filter() {
    for stream in framed(&[
        r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3}}"#,
    ]) {
        let response = collect(&stream).expect("an answer");
        assert_eq!(response.choices[0].finish, Some(FinishReason::ContentFilter));
        assert_eq!(response.usage.input, Some(3));
    }
}

#[test]
fn errors_cuts_and_garbage_are_errors_once() {
    let cut = &framed(&ELEMENTS)[1];
    let unterminated = format!("[{},{{\"candidates\":[", ELEMENTS.join(","));
    for (stream, code) in [
        ("", "upstream_stream_cut"),
        ("data: {\"usageMetadata\":{}}\n\n", "upstream_stream_cut"),
        (&cut[..cut.find("finishReason").expect("there")], "upstream_stream_cut"),
        (unterminated.as_str(), "upstream_stream_cut"),
        ("<html>busy</html>", "upstream_stream_cut"),
        ("data: nonsense\n\ndata: more\n\n", "upstream_malformed"),
        ("data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{}}]}}]}\n\n", "upstream_malformed"),
        (r#"[{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}]"#, "upstream_error"),
        (r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#, "upstream_error"),
        ("data: {\"candidates\":[{\"finishReason\":\"MALFORMED_FUNCTION_CALL\"}]}\n\n", "malformed_tool_call"),
        ("data: {\"candidates\":[{\"finishReason\":\"UNEXPECTED_TOOL_CALL\"}]}\n\n", "malformed_tool_call"),
    ] {
        for split in [1, 7, usize::MAX] {
            let all = events(stream, split);
            let errors: Vec<_> = all.iter().filter(|event| event.starts_with("Error")).collect();
            assert_eq!(errors.len(), 1, "{stream}: {all:?}");
            assert!(errors[0].contains(code), "{stream}: {errors:?}");
            assert!(!all.iter().any(|event| event.starts_with("Finish")), "{all:?}");
        }
    }
}

#[test]
fn a_candidate_that_is_cut_is_no_answer_whatever_became_of_others() {
    let told = |index: u32, rest: &str| {
        format!(r#"{{"candidates":[{{"index":{index},"content":{{"parts":[{{"text":"x"}}]}}{rest}}}]}}"#)
    };
    let (first, second) = (told(0, r#","finishReason":"STOP""#), told(1, ""));
    for stream in framed(&[&second, &first]).iter().chain(&framed(&[&first, &second])) {
        assert_eq!(collect(stream).expect_err("cut").code, "upstream_stream_cut", "{stream}");
    }
    for stream in framed(&[&second, &first, &told(1, r#","finishReason":"STOP""#)]) {
        assert_eq!(collect(&stream).expect("an answer").choices.len(), 2);
    }
}

#[test]
fn what_breaks_off_behind_a_whole_answer_takes_nothing_from_it() {
    let whole = &framed(&ELEMENTS)[0];
    assert!(whole.starts_with("data:"), "events");
    let expected = collect(whole).expect("an answer");
    for broken in ["data: {\"usageMetadata\":{\"promptTok", "data: {"] {
        assert_eq!(collect(&format!("{whole}{broken}")).expect("an answer"), expected, "{broken}");
        let in_the_middle = format!("{whole}{broken}\n\ndata: {{}}\n\n");
        assert_eq!(collect(&in_the_middle).expect_err("garbage").code, "upstream_malformed", "{broken}");
    }
}

#[test]
fn arguments_that_come_as_a_text_are_taken_when_they_are_an_object() {
    let element = |args: &str| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"functionCall":{{"name":"f","args":{args}}}}}]}},"finishReason":"STOP"}}]}}"#
        )
    };
    let response = collect(&framed(&[&element(r#""{\"a\": 1}""#)])[0]).expect("an answer");
    assert!(matches!(&response.choices[0].parts[0], Part::ToolCall { arguments, .. } if arguments == "{\"a\": 1}"));
    for broken in ["\"{\"", "\"x\"", "[]", "7"] {
        assert_eq!(collect(&framed(&[&element(broken)])[0]).expect_err(broken).code, "upstream_malformed");
    }
}

#[test]
fn a_stream_cannot_make_calls_without_end() {
    let many = r#"{"functionCall":{"name":"f"}},"#.repeat(5_000);
    let element = format!(
        r#"{{"candidates":[{{"index":4000000000}},{{"content":{{"parts":[{}{{"text":"x"}}]}},"finishReason":"STOP"}}]}}"#,
        many
    );
    assert_eq!(collect(&framed(&[&element])[0]).expect_err("too many").code, "stream_too_long");
    let deep = format!("data: {{\"candidates\":{}1{}}}\n\n", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(collect(&deep).expect_err("garbage").code, "upstream_malformed");
    let mut decoder = Decoder::default();
    let mut last = String::new();
    decoder.feed(b"[{\"a\":\"", &mut |_| {});
    let piece = vec![b'x'; 1024 * 1024];
    (0..20).for_each(|_| decoder.feed(&piece, &mut |event| last = format!("{event:?}")));
    assert!(last.contains("stream_too_long"), "{last}");
}

#[test]
fn blanks_and_a_byte_order_mark_in_front_change_nothing() {
    for stream in framed(&ELEMENTS) {
        let plain = events(&stream, usize::MAX);
        for front in ["  ", "\r\n \n", "\u{feff}", "\u{feff}\n  "] {
            let stream = format!("{front}{stream}");
            for split in [1, 2, 3, usize::MAX] {
                assert_eq!(events(&stream, split), plain, "{front:?} in pieces of {split}");
            }
        }
    }
}
