use omniroute_core::error::ErrorClass;

use super::{
    super::{decode_error, decode_response},
    CONTEXT,
};
use crate::ir::{CallKind, FinishReason, Part};

#[test]
fn an_answer_with_everything_is_read() {
    let body = r#"{"id":"r1","finish_reason":"COMPLETE","message":{"role":"assistant",
        "content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"It is 24°C."}],
        "citations":[{"start":6,"end":10,"text":"24°C","content_index":1,"type":"TEXT_CONTENT",
            "sources":[{"type":"document","id":"doc:0","document":{"id":"doc:0","title":"Weather","url":"https://w","snippet":"24 degrees"}}]},
            {"start":0,"end":2,"text":"hm","content_index":0,"type":"THINKING_CONTENT","sources":[]},
            {"start":"odd"}]},
        "usage":{"billed_units":{"input_tokens":5,"output_tokens":7},"tokens":{"input_tokens":900,"output_tokens":7}},
        "logprobs":[{"text":"It","token_ids":[1],"logprobs":[-0.5]}],"x":1}"#;
    let response = decode_response(body.as_bytes(), &CONTEXT).expect("an answer");
    let choice = &response.choices[0];
    assert_eq!((response.id.as_ref(), choice.finish), ("r1", Some(FinishReason::End)));
    assert_eq!(choice.parts[0], Part::Thinking { text: "hm".into(), signature: None });
    let Part::Text { text, annotations, .. } = &choice.parts[1] else { panic!("text") };
    assert_eq!((text.as_ref(), annotations.len()), ("It is 24°C.", 1));
    let annotation = &annotations[0];
    assert_eq!((annotation.start, annotation.end), (Some(6), Some(10)));
    assert_eq!(annotation.url.as_deref(), Some("https://w"));
    assert_eq!((annotation.title.as_deref(), annotation.cited_text.as_deref()), (Some("Weather"), Some("24 degrees")));
    assert_eq!((response.usage.input, response.usage.output), (Some(5), Some(7)), "what is billed");
    let logprobs = choice.logprobs.as_ref().expect("logprobs").to_value();
    assert_eq!((&logprobs["content"][0]["token"], &logprobs["content"][0]["logprob"]), (&"It".into(), &(-0.5).into()));
    assert!(response.extensions.get("x").is_some());
}

#[test]
fn the_plan_is_text_in_front_of_the_calls() {
    let body = r#"{"id":"r","finish_reason":"COMPLETE","message":{"role":"assistant","tool_plan":"I will look.",
        "tool_calls":[{"id":"f_1","type":"function","function":{"name":"f","arguments":"{\"a\": 1.0}"}},
            {"type":"function","function":{"name":"g"}},{"id":"x"}]}}"#;
    let response = decode_response(body.as_bytes(), &CONTEXT).expect("an answer");
    let choice = &response.choices[0];
    assert_eq!(choice.finish, Some(FinishReason::ToolCalls), "COMPLETE beside calls means calls");
    assert_eq!(choice.parts[0], Part::text("I will look."));
    let Part::ToolCall { id, arguments, kind, .. } = &choice.parts[1] else { panic!("a call") };
    assert_eq!((id.as_ref(), arguments.as_ref(), *kind), ("f_1", "{\"a\": 1.0}", CallKind::Function));
    let Part::ToolCall { id, .. } = &choice.parts[2] else { panic!("a call") };
    assert_eq!(id, "call_1", "where none was given");
    assert_eq!(choice.parts.len(), 3, "a call without a name cannot be made");
}

#[test]
fn finish_words_map_and_failures_are_no_answers() {
    for (word, expected) in [
        ("COMPLETE", Some(FinishReason::End)),
        ("MAX_TOKENS", Some(FinishReason::MaxTokens)),
        ("STOP_SEQUENCE", Some(FinishReason::StopSequence)),
        ("TOOL_CALL", Some(FinishReason::ToolCalls)),
        ("ERROR_TOXIC", Some(FinishReason::ContentFilter)),
        ("ERROR_LIMIT", Some(FinishReason::ContextWindow)),
        ("USER_CANCEL", Some(FinishReason::End)),
        ("ERROR", None),
        ("TIMEOUT", None),
    ] {
        let body = format!(r#"{{"id":"r","finish_reason":"{word}","message":{{"content":"x"}}}}"#);
        let finish = decode_response(body.as_bytes(), &CONTEXT).map(|response| response.choices[0].finish).ok();
        assert_eq!(finish.flatten(), expected, "{word}");
    }
}

#[test]
fn what_is_no_answer_is_an_error_with_a_path_and_never_a_panic() {
    let deep = format!(r#"{{"message":{}"#, "[".repeat(10_000));
    for (body, param) in [
        ("", None),
        ("<html>", None),
        ("{}", Some("message")),
        (r#"{"message":"no api key supplied"}"#, Some("message")),
        (r#"{"message":{"content":7}}"#, Some("message.content")),
        (r#"{"message":{"tool_calls":[{"function":{"name":7}}]}}"#, Some("message.tool_calls[0].function.name")),
        (deep.as_str(), None),
    ] {
        let error = decode_response(body.as_bytes(), &CONTEXT).expect_err(body);
        if param.is_some() {
            assert_eq!(error.param.as_deref(), param, "{body:.40}");
        }
    }
    assert!(decode_response(b"{\"message\":{\"tool_plan\":\"\xff\"}}", &CONTEXT).is_err(), "invalid UTF-8");
    let deep = format!(r#"{{"message":{{"content":"x"}},"extra":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert!(decode_response(deep.as_bytes(), &CONTEXT).is_ok(), "what nobody reads may be deep");
}

#[test]
fn errors_get_their_class_from_status_and_words() {
    for (status, message, class) in [
        (400, "invalid request: temperature must be between 0 and 1.0 inclusive.", ErrorClass::BadRequest),
        (
            400,
            "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292.",
            ErrorClass::ContextTooLong,
        ),
        (400, "too many tokens: max tokens must be less than or equal to 4096", ErrorClass::BadRequest),
        (401, "invalid api token", ErrorClass::Unauthenticated),
        (402, "Maximum billing reached for this API key", ErrorClass::Payment),
        (403, "no", ErrorClass::Forbidden),
        (404, "model 'xyz' not found", ErrorClass::NotFound),
        (413, "body too big", ErrorClass::TooLarge),
        (422, "unknown field", ErrorClass::BadRequest),
        (429, "trial token rate limit exceeded, limit is 100000 tokens per minute", ErrorClass::RateLimited),
        (429, "You are using a Trial key, which is limited to 1000 API calls / month.", ErrorClass::Payment),
        (498, "deny-listed token", ErrorClass::BadRequest),
        (499, "request cancelled", ErrorClass::Upstream),
        (500, "internal server error", ErrorClass::Upstream),
        (501, "not implemented", ErrorClass::BadRequest),
        (503, "busy", ErrorClass::Overloaded),
        (504, "slow", ErrorClass::UpstreamTimeout),
    ] {
        let error = decode_error(status, serde_json::json!({"id": "x", "message": message}).to_string().as_bytes());
        assert_eq!((error.class, error.message.as_str()), (class, message), "{status}");
    }
    for body in [&b"<html>"[..], b"", b"\xff", b"[]", b"{\"message\":7}"] {
        let error = decode_error(503, body);
        assert_eq!((error.class, error.message.as_str()), (ErrorClass::Overloaded, "the upstream answered 503"));
    }
}
