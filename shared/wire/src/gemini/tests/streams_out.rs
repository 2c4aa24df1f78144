use serde_json::json;

use super::*;
use crate::{
    codec::{StreamDecoder, StreamEncoder},
    ir::{Annotation, CallKind, Collector, Event, FinishReason, Json, PartKind, StreamError, replay},
    usage::Usage,
};
use omniroute_core::error::ErrorClass;

fn start() -> Event<'static> {
    Event::Start { id: "up".into(), model: "up".into(), created: None }
}

fn text<'a>(part: u32, text: &'a str) -> Event<'a> {
    Event::TextDelta { choice: 0, part, text: text.into() }
}

fn part_start(part: u32, kind: PartKind<'_>) -> Event<'_> {
    Event::PartStart { choice: 0, part, kind }
}

fn part_stop(part: u32) -> Event<'static> {
    Event::PartStop { choice: 0, part }
}

fn finish(reason: FinishReason) -> Event<'static> {
    Event::Finish { choice: 0, reason, stop_sequence: None }
}

fn a_call(part: u32, id: &'static str, name: &'static str) -> Event<'static> {
    part_start(part, PartKind::ToolCall { id: id.into(), name: name.into(), kind: CallKind::Function })
}

fn arguments(part: u32, text: &str) -> Event<'_> {
    Event::ArgsDelta { choice: 0, part, text: text.into() }
}

fn write(events: &[Event<'_>], framing: Framing) -> String {
    write_for(exchange(), events, framing)
}

fn write_for(exchange: ResponseContext, events: &[Event<'_>], framing: Framing) -> String {
    let mut encoder = Encoder::new(exchange, framing);
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.end(&mut out);
    String::from_utf8(out).expect("text")
}

fn elements(events: &[Event<'_>]) -> Vec<Value> {
    let array = write(events, Framing::JsonArray);
    let all: Vec<Value> = serde_json::from_str(&array).expect("a JSON array");
    let sse = write(events, Framing::Sse);
    let same: Vec<Value> = sse
        .split_terminator("\r\n\r\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").expect("data")).expect("JSON"))
        .collect();
    assert_eq!(all, same, "both framings say the same");
    all
}

fn parts(element: &Value) -> &Value {
    &element["candidates"][0]["content"]["parts"]
}

#[test]
fn texts_flow_calls_are_whole_and_the_last_element_has_reason_and_usage() {
    let all = elements(&[
        start(),
        part_start(0, PartKind::Thinking),
        Event::ThinkingDelta { choice: 0, part: 0, text: "hm".into() },
        Event::SignatureDelta {
            choice: 0,
            part: 0,
            signature: Signature { family: Family::Gemini, payload: "QQ==".into() },
        },
        part_stop(0),
        part_start(1, PartKind::Text),
        text(1, "hé"),
        text(1, ""),
        part_stop(1),
        a_call(2, "a", "f"),
        a_call(3, "b", "g"),
        arguments(2, "{\"n\""),
        arguments(3, ""),
        arguments(2, ": 1.0}"),
        Event::SignatureDelta {
            choice: 0,
            part: 3,
            signature: Signature { family: Family::Gemini, payload: "Qg==".into() },
        },
        part_stop(3),
        part_stop(2),
        finish(FinishReason::ToolCalls),
        Event::Usage(Usage {
            input: Some(6),
            cache_read: Some(4),
            output: Some(5),
            reasoning: Some(2),
            ..Usage::default()
        }),
    ]);
    let said: Vec<&Value> = all.iter().map(parts).collect();
    assert_eq!(
        said,
        [
            &json!([{"text":"hm","thought":true}]),
            &json!([{"text":"","thought":true,"thoughtSignature":"QQ=="}]),
            &json!([{"text":"hé"}]),
            &json!([{"functionCall":{"id":"b","name":"g","args":{}},"thoughtSignature":"Qg=="}]),
            &json!([{"functionCall":{"id":"a","name":"f","args":{"n":1.0}}}]),
            &json!([{"text":""}]),
        ]
    );
    assert!(all.iter().all(|element| element["responseId"] == "r1" && element["modelVersion"] == "mock/m"));
    assert!(all[..5].iter().all(|element| element["candidates"][0].get("finishReason").is_none()));
    assert_eq!(all[5]["candidates"][0]["finishReason"], "STOP");
    assert_eq!(
        all[5]["usageMetadata"],
        json!({"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":5,"thoughtsTokenCount":2,"totalTokenCount":17})
    );
}

#[test]
fn arguments_keep_their_bytes_and_names_their_spelling() {
    let mut request = asks(Vec::new());
    let kind = crate::ir::ToolKind::Function { schema: None, strict: None };
    request.tools.push(crate::ir::Tool {
        name: "1 tool".into(),
        description: None,
        kind,
        namespace: None,
        cache: None,
    });
    let exchange = ResponseContext { names: name_table(&request), ..exchange() };
    let events = [
        start(),
        a_call(0, "a", "__tool"),
        arguments(0, "{\"n\": 1.50 }"),
        part_stop(0),
        finish(FinishReason::ToolCalls),
    ];
    let written = write_for(exchange, &events, Framing::Sse);
    assert!(written.contains(r#"{"functionCall":{"id":"a","name":"1 tool","args":{"n": 1.50 }}}"#), "{written}");
}

#[test]
fn a_call_that_is_no_object_ends_the_stream_with_an_error() {
    for broken in ["{\"a\":", "[1]", "\"x\""] {
        let events =
            [start(), a_call(0, "a", "f"), arguments(0, broken), part_stop(0), finish(FinishReason::ToolCalls)];
        let all = elements(&events);
        assert_eq!(all.len(), 1);
        assert_eq!(
            (&all[0]["error"]["status"], &all[0]["error"]["omniroute"]["code"]),
            (&json!("INTERNAL"), &json!("malformed_tool_call"))
        );
    }
}

#[test]
fn an_error_is_the_last_element_of_either_framing() {
    let error = || StreamError {
        class: ErrorClass::Overloaded,
        code: "overloaded",
        message: "busy".into(),
        retry_after: Some(std::time::Duration::from_secs(2)),
        request_id: None,
    };
    for before in [vec![], vec![start(), part_start(0, PartKind::Text), text(0, "a")]] {
        let mut events = before.clone();
        events.push(Event::Error(error()));
        events.push(Event::Error(error()));
        let all = elements(&events);
        let last = all.last().expect("an element");
        assert_eq!((&last["error"]["code"], &last["error"]["status"]), (&json!(503), &json!("UNAVAILABLE")));
        assert_eq!(last["error"]["details"][0]["retryDelay"], "2s");
        assert_eq!(all.len(), if before.is_empty() { 1 } else { 2 });
    }
    let mut out = Vec::new();
    encode_stream_error(&error(), &mut out);
    assert!(out.starts_with(b"data: {\"error\":") && out.ends_with(b"}\r\n\r\n"));
}

#[test]
fn a_foreign_thought_is_signed_by_a_token_that_is_base64() {
    let signature = Signature { family: Family::Anthropic, payload: "a?b".into() };
    let all = elements(&[
        start(),
        part_start(0, PartKind::Thinking),
        Event::ThinkingDelta { choice: 0, part: 0, text: "hm".into() },
        Event::SignatureDelta { choice: 0, part: 0, signature: signature.clone() },
        part_stop(0),
        part_start(1, PartKind::RedactedThinking { data: signature.clone() }),
        part_stop(1),
        finish(FinishReason::End),
    ]);
    let history: Vec<Value> =
        all.iter().flat_map(|element| parts(element).as_array().cloned().unwrap_or_default()).collect();
    let token = history[1]["thoughtSignature"].as_str().expect("a token");
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')), "{token}");
    // What an SDK that keeps every part sends back, in the other alphabet.
    let body = json!({"contents":[{"role":"model","parts":history}]}).to_string().replace('/', "_").replace('+', "-");
    let request = decode(&body).expect("a request");
    assert_eq!(
        request.turns[0].parts,
        [
            Part::Thinking { text: "hm".into(), signature: Some(signature.clone()) },
            Part::RedactedThinking { data: signature }
        ]
    );
}

#[test]
fn hidden_thoughts_stay_hidden() {
    let hidden = ResponseContext { show_thinking: false, ..exchange() };
    let signature = Signature { family: Family::Anthropic, payload: "x".into() };
    let events = [
        start(),
        part_start(0, PartKind::Thinking),
        Event::ThinkingDelta { choice: 0, part: 0, text: "secret".into() },
        Event::SignatureDelta { choice: 0, part: 0, signature },
        part_stop(0),
        finish(FinishReason::End),
    ];
    assert!(!write_for(hidden, &events, Framing::Sse).contains("thought"));
}

#[test]
fn citations_count_bytes_and_come_last() {
    let annotation = Annotation {
        url: Some("https://a".into()),
        title: Some("A".into()),
        cited_text: Some("of the source".into()),
        start: Some(2),
        end: Some(6),
        family: Family::OpenAi,
        raw: None,
    };
    let all = elements(&[
        start(),
        part_start(0, PartKind::Text),
        text(0, "é says"),
        Event::Annotation { choice: 0, part: 0, annotation: annotation.clone() },
        text(0, " so"),
        Event::Annotation { choice: 0, part: 0, annotation: Annotation { start: None, end: None, ..annotation } },
        part_stop(0),
        finish(FinishReason::MaxTokens),
    ]);
    assert_eq!(
        all[2]["candidates"][0]["groundingMetadata"],
        json!({"groundingChunks":[{"web":{"uri":"https://a","title":"A"}}],
            "groundingSupports":[{"segment":{"startIndex":3,"endIndex":7},"groundingChunkIndices":[0]}]})
    );
    assert_eq!(all[2]["candidates"][0]["finishReason"], "MAX_TOKENS");
}

#[test]
fn media_server_tools_logprobs_and_choices_have_their_place() {
    let raw = |text: &str| Json::from_string(text.to_owned()).expect("JSON");
    let all = elements(&[
        start(),
        part_start(0, PartKind::Media { media_type: "image/png".into(), data: "AA==".into() }),
        part_stop(0),
        part_start(1, PartKind::ServerTool { family: Family::Gemini, raw: raw(r#"{"executableCode":{"code":"1"}}"#) }),
        part_stop(1),
        part_start(2, PartKind::ServerTool { family: Family::OpenAi, raw: raw("{}") }),
        part_stop(2),
        Event::Logprobs {
            choice: 0,
            raw: raw(
                r#"{"content":[{"token":"a","logprob":-0.5,"bytes":null,"top_logprobs":[{"token":"b","logprob":-1.5}]}]}"#,
            ),
        },
        Event::PartStart { choice: 1, part: 0, kind: PartKind::Refusal },
        Event::TextDelta { choice: 1, part: 0, text: "no".into() },
        Event::PartStop { choice: 1, part: 0 },
        Event::Finish { choice: 1, reason: FinishReason::Refusal, stop_sequence: None },
        finish(FinishReason::StopSequence),
        Event::Ping,
    ]);
    assert_eq!(parts(&all[0]), &json!([{"inlineData":{"mimeType":"image/png","data":"AA=="}}]));
    assert_eq!(parts(&all[1]), &json!([{"executableCode":{"code":"1"}}]));
    assert_eq!(
        all[2]["candidates"][0]["logprobsResult"],
        json!({"topCandidates":[{"candidates":[{"token":"b","logProbability":-1.5}]}],"chosenCandidates":[{"token":"a","logProbability":-0.5}]})
    );
    assert_eq!((&all[3]["candidates"][0]["index"], parts(&all[3])), (&json!(1), &json!([{"text":"no"}])));
    let reasons: Vec<_> = all[4]["candidates"]
        .as_array()
        .expect("both")
        .iter()
        .map(|own| (&own["index"], &own["finishReason"]))
        .collect();
    assert_eq!(reasons, [(&json!(0), &json!("STOP")), (&json!(1), &json!("SAFETY"))]);
}

#[test]
fn an_array_is_valid_json_also_when_nothing_came() {
    let mut encoder = Encoder::new(exchange(), Framing::JsonArray);
    let mut out = Vec::new();
    let keepalive = encoder.keepalive().expect("white space");
    out.extend_from_slice(keepalive);
    encoder.event(&start(), &mut out);
    encoder.event(&part_start(0, PartKind::Text), &mut out);
    encoder.event(&text(0, "a"), &mut out);
    out.extend_from_slice(keepalive);
    encoder.event(&part_stop(0), &mut out);
    encoder.event(&finish(FinishReason::End), &mut out);
    out.extend_from_slice(keepalive);
    encoder.end(&mut out);
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&out).expect("JSON").len(), 2);
    assert_eq!(Encoder::new(exchange(), Framing::Sse).keepalive(), None);
}

#[test]
fn a_stream_written_and_read_again_says_the_same() {
    let body = r#"{"responseId":"r1","modelVersion":"mock/m","candidates":[{"index":0,"finishReason":"STOP","content":{"parts":[
        {"text":"hm","thought":true,"thoughtSignature":"QQ=="},{"text":"h\u00e9\n\"q\""},{"text":"","thoughtSignature":"Qg=="},
        {"functionCall":{"id":"a","name":"f","args":{"n": 1.50}},"thoughtSignature":"Qw=="},{"functionCall":{"id":"b","name":"g","args":{}}}]}}],
        "usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":6,"totalTokenCount":16}}"#;
    let response = decode_response(body.as_bytes(), &CONTEXT).expect("an answer");
    for framing in [Framing::Sse, Framing::JsonArray] {
        let (mut encoder, mut out) = (Encoder::new(exchange(), framing), Vec::new());
        replay(&response, &mut |event| encoder.event(&event, &mut out));
        encoder.end(&mut out);
        let (mut decoder, mut again) = (Decoder::default(), Collector::default());
        out.chunks(5).for_each(|piece| decoder.feed(piece, &mut |event| again.push(&event)));
        decoder.end(&mut |event| again.push(&event));
        let again = again.finish().expect("an answer");
        assert_eq!(again.choices, response.choices);
        assert_eq!((again.usage, again.id), (response.usage, response.id.clone()));
    }
}
