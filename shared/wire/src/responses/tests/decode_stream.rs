use omniroute_core::error::ErrorClass;

use super::*;
use crate::ir::{CallKind, FinishReason, Part};

/// Lines of JSON as a stream, with event names.
fn sse(lines: &str) -> Vec<u8> {
    let mut stream = Vec::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let kind = value["type"].as_str().unwrap_or_default();
        stream.extend_from_slice(format!("event: {kind}\ndata: {line}\n\n").as_bytes());
    }
    stream
}

const FULL: &str = r#"
    {"type":"response.created","sequence_number":0,"response":{"id":"resp_a","object":"response","created_at":5.7,"status":"in_progress","model":"gpt-x","output":[],"error":null,"usage":null}}
    {"type":"response.in_progress","response":{"id":"resp_a"}}
    {"type":"response.output_item.added","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"early"}}
    {"type":"response.reasoning_summary_part.added","item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}
    {"type":"response.reasoning_summary_text.delta","item_id":"rs_x","output_index":0,"summary_index":0,"delta":"Let me","obfuscation":"xxxx"}
    {"type":"response.reasoning_summary_text.delta","item_id":"rs_y","output_index":0,"summary_index":0,"delta":" think"}
    {"type":"response.reasoning_summary_text.done","output_index":0,"summary_index":0,"text":"Let me think"}
    {"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":1,"delta":"Again"}
    {"type":"response.output_item.done","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"Let me think"},{"type":"summary_text","text":"Again"}],"encrypted_content":"final"}}
    {"type":"response.output_item.added","output_index":1,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}}
    {"type":"response.content_part.added","output_index":1,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}
    {"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"hé","logprobs":[{"token":"h","logprob":-0.1,"bytes":[104],"top_logprobs":[]}]}
    {"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"llo 🦀","logprobs":[]}
    {"type":"response.output_text.annotation.added","output_index":1,"content_index":0,"annotation_index":0,"annotation":{"type":"url_citation","url":"https://x","title":"X","start_index":0,"end_index":2}}
    {"type":"response.output_text.done","output_index":1,"content_index":0,"text":"héllo 🦀","logprobs":[]}
    {"type":"response.content_part.done","output_index":1,"content_index":0,"part":{"type":"output_text","text":"héllo 🦀","annotations":[{"type":"url_citation","url":"https://x","title":"X","start_index":0,"end_index":2}]}}
    {"type":"response.output_item.done","output_index":1,"item":{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"héllo 🦀","annotations":[{"type":"url_citation","url":"https://x","title":"X","start_index":0,"end_index":2}]}]}}
    {"type":"response.web_search_call.searching","output_index":2,"item_id":"ws_1"}
    {"type":"response.output_item.added","output_index":2,"item":{"id":"ws_1","type":"web_search_call","status":"in_progress"}}
    {"type":"response.output_item.done","output_index":2,"item":{"id":"ws_1","type":"web_search_call","status":"completed","action":{"type":"search","query":"q"}}}
    {"type":"response.output_item.added","output_index":3,"item":{"id":"fc_1","type":"function_call","status":"in_progress","arguments":"","call_id":"call_1","name":"get","namespace":"ns"}}
    {"type":"response.output_item.added","output_index":4,"item":{"id":"ctc_1","type":"custom_tool_call","call_id":"call_2","name":"patch","input":""}}
    {"type":"response.function_call_arguments.delta","output_index":3,"delta":"{\"n\": "}
    {"type":"response.custom_tool_call_input.delta","output_index":4,"delta":"a\n\"b\""}
    {"type":"response.function_call_arguments.delta","output_index":3,"delta":"1.50}"}
    {"type":"response.function_call_arguments.done","output_index":3,"arguments":"{\"n\": 1.50}"}
    {"type":"response.output_item.done","output_index":3,"item":{"id":"fc_1","type":"function_call","status":"completed","arguments":"{\"n\": 1.50}","call_id":"call_1","name":"get","namespace":"ns"}}
    {"type":"response.output_item.done","output_index":4,"item":{"id":"ctc_1","type":"custom_tool_call","call_id":"call_2","name":"patch","input":"a\n\"b\"","status":"completed"}}
    {"type":"response.something_new","delta":{"odd":[1]},"output_index":9}
    {"type":"response.completed","response":{"id":"resp_a","status":"completed","model":"gpt-x","error":null,"incomplete_details":null,"output":[],"tools":[{"usage":{"x":1}}],"usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":1},"output_tokens":9,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":19}}}
"#;

#[test]
fn splitting_a_stream_anywhere_changes_no_event() {
    let stream = sse(FULL);
    let whole = decoded(&stream, usize::MAX);
    for split in (1..80).chain([511, 4096]) {
        assert_eq!(decoded(&stream, split), whole, "pieces of {split}");
    }
}

#[test]
fn every_item_becomes_its_part() {
    let response = collected(&sse(FULL)).expect("an answer");
    assert_eq!((response.id.as_ref(), response.model.as_ref(), response.created), ("resp_a", "gpt-x", Some(5)));
    let choice = &response.choices[0];
    assert_eq!(choice.finish, Some(FinishReason::ToolCalls));
    assert_eq!(
        choice.parts[0],
        Part::Thinking {
            text: "Let me think\n\nAgain".into(),
            signature: Some(Signature { family: Family::OpenAi, payload: "final".into() }),
        },
        "the signature is the one of the whole item"
    );
    let Part::Text { text, annotations, .. } = &choice.parts[1] else { panic!("a text") };
    assert_eq!((text.as_ref(), annotations.len(), annotations[0].end), ("héllo 🦀", 1, Some(2)));
    assert!(matches!(&choice.parts[2], Part::ServerTool { raw, .. } if raw.as_str().contains("\"query\":\"q\"")));
    let call = |id: &'static str, name: &'static str, arguments: &'static str, kind| Part::ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
        kind,
        signature: None,
        cache: None,
    };
    assert_eq!(choice.parts[3], call("call_1", "ns__get", "{\"n\": 1.50}", CallKind::Function));
    assert_eq!(choice.parts[4], call("call_2", "patch", "a\n\"b\"", CallKind::Custom));
    assert!(choice.logprobs.as_ref().is_some_and(|raw| raw.as_str().contains("\"token\":\"h\"")));
    let usage = response.usage;
    assert_eq!(
        (usage.input, usage.cache_read, usage.cache_write_5m, usage.output, usage.reasoning),
        (Some(5), Some(4), Some(1), Some(6), Some(3))
    );
}

#[test]
fn hosts_that_leave_events_out_are_understood() {
    let only_items = r#"
        {"type":"response.output_item.done","item":{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"raw"}]},"output_index":0}
        {"type":"response.output_item.done","item":{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"},{"type":"refusal","refusal":"no"}]},"output_index":1}
        {"type":"response.output_item.done","item":{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},"output_index":2}
        {"type":"response.completed","response":{"id":"r","status":"completed"}}"#;
    let only_end = r#"
        {"type":"response.completed","response":{"id":"r","status":"completed","output":[
            {"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"raw"}]},
            {"type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"},{"type":"refusal","refusal":"no"}]},
            {"type":"function_call","call_id":"c","name":"f","arguments":"{}"}]}}"#
        .replace('\n', "");
    let no_places = r#"
        {"type":"response.created","response":{"id":"r"}}
        {"type":"response.output_item.added","item":{"type":"reasoning","summary":[]},"output_index":0}
        {"type":"response.reasoning_text.delta","delta":"r"}
        {"type":"response.reasoning_text.done","text":"raw"}
        {"type":"response.output_item.added","item":{"type":"message","role":"assistant","content":[]},"output_index":1}
        {"type":"response.output_text.delta","delta":"h"}
        {"type":"response.output_text.done","text":"hi"}
        {"type":"response.refusal.delta","content_index":1,"delta":"no"}
        {"type":"response.output_item.added","item":{"type":"function_call","call_id":"c","name":"f","arguments":""},"output_index":2}
        {"type":"response.function_call_arguments.done","arguments":"{}"}
        {"type":"response.completed","response":{"id":"r","status":"completed"}}"#;
    let expected = vec![
        Part::Thinking { text: "raw".into(), signature: None },
        Part::text("hi"),
        Part::Refusal { text: "no".into() },
        Part::ToolCall {
            id: "c".into(),
            name: "f".into(),
            arguments: "{}".into(),
            kind: CallKind::Function,
            signature: None,
            cache: None,
        },
    ];
    for lines in [only_items, &only_end, no_places] {
        let stream = sse(lines);
        decoded(&stream, 7);
        assert_eq!(collected(&stream).expect("an answer").choices[0].parts, expected, "{lines}");
    }
}

#[test]
fn the_name_of_the_event_serves_where_its_data_has_no_type() {
    let stream = "event: response.output_text.delta\ndata: {\"delta\":\"x\"}\n\nevent: response.completed\ndata: {\"response\":{\"id\":\"r\"}}\n\n";
    assert_eq!(collected(stream.as_bytes()).expect("an answer").choices[0].parts, [Part::text("x")]);
}

#[test]
fn an_encrypted_thought_without_text_is_redacted() {
    let stream = sse(
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning","summary":[],"encrypted_content":"e"}}
        {"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","summary":[],"encrypted_content":"enc"}}
        {"type":"response.output_item.done","output_index":1,"item":{"type":"reasoning","summary":[],"encrypted_content":null}}
        {"type":"response.completed","response":{"id":"r"}}"#,
    );
    decoded(&stream, 3);
    assert_eq!(
        collected(&stream).expect("an answer").choices[0].parts,
        [Part::RedactedThinking { data: Signature { family: Family::OpenAi, payload: "enc".into() } }]
    );
}

#[test]
fn each_way_to_end_has_its_reason() {
    let text = r#"{"type":"response.output_text.delta","output_index":0,"delta":"x"}"#;
    let refusal = r#"{"type":"response.refusal.delta","output_index":0,"delta":"no"}"#;
    for (before, end, reason) in [
        (text, r#"{"type":"response.completed","response":{"status":"completed"}}"#, FinishReason::End),
        (
            text,
            r#"{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}"#,
            FinishReason::MaxTokens,
        ),
        (
            text,
            r#"{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}}"#,
            FinishReason::ContentFilter,
        ),
        (text, r#"{"type":"response.incomplete","response":{}}"#, FinishReason::MaxTokens),
        (refusal, r#"{"type":"response.completed","response":{"status":"completed"}}"#, FinishReason::Refusal),
    ] {
        let response = collected(&sse(&format!("{before}\n{end}"))).expect("an answer");
        assert_eq!(response.choices[0].finish, Some(reason), "{end}");
    }
}

#[test]
fn failures_in_the_stream_are_errors_with_their_class() {
    for (line, class, message) in [
        (
            r#"{"type":"error","sequence_number":2,"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"no money","param":null}}"#,
            ErrorClass::Payment,
            "no money",
        ),
        (
            r#"{"type":"error","code":"rate_limit_exceeded","message":"Please try again in 1.5s","param":null}"#,
            ErrorClass::RateLimited,
            "Please try again in 1.5s",
        ),
        (r#"{"type":"error","code":null,"message":"boom"}"#, ErrorClass::Upstream, "boom"),
        (
            r#"{"error":{"message":"overloaded","type":"server_error","code":503}}"#,
            ErrorClass::Overloaded,
            "overloaded",
        ),
        (
            r#"{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"context_length_exceeded","message":"too long"}}}"#,
            ErrorClass::ContextTooLong,
            "too long",
        ),
        (
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_is_overloaded","message":"later"}}}"#,
            ErrorClass::Overloaded,
            "later",
        ),
        (
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"invalid_prompt","message":"no"}}}"#,
            ErrorClass::BadRequest,
            "no",
        ),
        (
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"image_too_large","message":"big"}}}"#,
            ErrorClass::BadRequest,
            "big",
        ),
        (r#"{"type":"response.failed"}"#, ErrorClass::Upstream, "the upstream failed without saying why"),
        (
            r#"{"type":"response.completed","response":{"status":"failed","error":{"code":"server_error","message":"oh"}}}"#,
            ErrorClass::Upstream,
            "oh",
        ),
    ] {
        let start = r#"{"type":"response.created","response":{"id":"r"}}"#;
        for lines in [line.to_owned(), format!("{start}\n{line}"), format!("{start}\n{line}\n{line}")] {
            let error = collected(&sse(&lines)).expect_err(&lines);
            assert_eq!((error.class, error.message.as_str()), (class, message), "{lines}");
        }
    }
}

#[test]
fn a_stream_that_just_stops_is_an_error() {
    let stream = sse(FULL);
    let end = String::from_utf8(stream.clone()).expect("text").find("event: response.completed").expect("there");
    assert_eq!(collected(&stream[..end]).expect_err("cut").code, "upstream_stream_cut");
    let mut done = stream[..end].to_vec();
    done.extend_from_slice(b"data: [DONE]\n\n");
    assert_eq!(collected(&done).expect_err("no end").code, "upstream_stream_cut");
    assert_eq!(collected(b"").expect_err("nothing").code, "upstream_stream_cut");
    assert_eq!(collected(b"data: {\n\n").expect_err("not JSON").code, "upstream_malformed");
    let mut after = stream;
    after.extend_from_slice(b"data: [DONE]\n\ndata: rubbish\n\n");
    collected(&after).expect("what follows the end does not matter");
}

#[test]
fn the_tier_that_served_is_told_once_it_is_known() {
    let served = |lines: &str| -> Vec<String> {
        let mut tiers = Vec::new();
        Decoder::default().feed(&sse(lines), &mut |event| {
            if let Event::Served { service_tier: Some(tier), .. } = event {
                tiers.push(tier.into_owned());
            }
        });
        tiers
    };
    let created = |tier: &str| {
        format!(
            r#"{{"type":"response.created","response":{{"id":"r","status":"in_progress","service_tier":"{tier}"}}}}"#
        )
    };
    let completed = |tier: &str| {
        format!(
            r#"{{"type":"response.completed","response":{{"id":"r","status":"completed","service_tier":"{tier}","output":[]}}}}"#
        )
    };
    // "auto" is what was asked for, not what was given.
    assert_eq!(served(&format!("{}\n{}", created("auto"), completed("priority"))), ["priority"]);
    assert_eq!(served(&format!("{}\n{}", created("flex"), completed("flex"))), ["flex"]);
    assert_eq!(served(&format!("{}\n{}", created("priority"), completed("default"))), ["priority", "default"]);
}
