use omniroute_core::error::ErrorClass;

use super::{
    super::{decode_error, decode_response},
    CONTEXT,
};
use crate::ir::{Family, FinishReason, Part, Signature};

fn signed(payload: &'static str) -> Signature<'static> {
    Signature { family: Family::Bedrock, payload: payload.into() }
}

#[test]
fn an_answer_with_everything_is_read() {
    let body = r#"{"output":{"message":{"role":"assistant","content":[
        {"reasoningContent":{"reasoningText":{"text":"hm","signature":"sig"}}},
        {"reasoningContent":{"redactedContent":"AAAA"}},
        {"text":"Hé"},{"text":""},
        {"citationsContent":{"content":[{"text":"It "},{"text":"is."}],"citations":[{"title":"T","source":"https://s","sourceContent":[{"text":"a"},{"text":"b"}],
            "location":{"documentChar":{"documentIndex":0,"start":1,"end":2}}},{"title":7}]}},
        {"image":{"format":"png","source":{"bytes":"AA=="}}},
        {"toolUse":{"toolUseId":"s","name":"nova_grounding","input":{},"type":"server_tool_use"}},
        {"toolResult":{"toolUseId":"s","content":[]}},
        {"toolUse":{"toolUseId":"t","name":"f","input":{ "a": 1.0 }}}]}},
        "stopReason":"tool_use","usage":{"inputTokens":3,"outputTokens":5,"totalTokens":8,"cacheReadInputTokens":2},
        "metrics":{"latencyMs":1},"serviceTier":{"type":"flex"},"trace":{"guardrail":{}}}"#;
    let response = decode_response(body.as_bytes(), &CONTEXT).expect("an answer");
    let choice = &response.choices[0];
    assert_eq!(choice.finish, Some(FinishReason::ToolCalls));
    assert_eq!(choice.parts[0], Part::Thinking { text: "hm".into(), signature: Some(signed("sig")) });
    assert_eq!(choice.parts[1], Part::RedactedThinking { data: signed("AAAA") });
    assert_eq!(choice.parts[2], Part::text("Hé"));
    let Part::Text { text, annotations, .. } = &choice.parts[3] else { panic!("text") };
    assert_eq!((text.as_ref(), annotations.len()), ("It is.", 1));
    let annotation = &annotations[0];
    assert_eq!((annotation.url.as_deref(), annotation.cited_text.as_deref()), (Some("https://s"), Some("ab")));
    assert!(annotation.raw.is_some());
    assert!(matches!(choice.parts[4], Part::Image { .. }));
    assert!(matches!(choice.parts[5], Part::ServerTool { family: Family::Bedrock, .. }));
    assert!(matches!(choice.parts[6], Part::ServerTool { family: Family::Bedrock, .. }));
    let Part::ToolCall { id, name, arguments, .. } = &choice.parts[7] else { panic!("a call") };
    assert_eq!((id.as_ref(), name.as_ref(), arguments.as_ref()), ("t", "f", "{ \"a\": 1.0 }"));
    assert_eq!((response.usage.input, response.usage.cache_read), (Some(3), Some(2)));
    assert_eq!(response.service_tier.as_deref(), Some("flex"));
    assert!(response.extensions.get("trace").is_some() && response.extensions.get("metrics").is_some());
}

#[test]
fn the_tool_that_stands_for_the_format_becomes_the_answer_s_text() {
    let answer = |more: &str| {
        format!(
            r#"{{"output":{{"message":{{"content":[{{"toolUse":{{"toolUseId":"t","name":"omniroute_json_answer","input":{{"z":1.0, "a":2}}}}}}{more}]}}}},"stopReason":"tool_use"}}"#
        )
    };
    let read = |body: String| {
        let mut response = decode_response(body.as_bytes(), &CONTEXT).expect("an answer");
        crate::answer_tool::unwrap(&mut response);
        let choice = &response.choices[0];
        let text =
            if let [Part::Text { text, .. }, ..] = choice.parts.as_slice() { text.to_string() } else { String::new() };
        (text, choice.finish)
    };
    let json = r#"{"z":1.0, "a":2}"#.to_owned();
    assert_eq!(read(answer("")), (json.clone(), Some(FinishReason::End)));
    let both = read(answer(r#",{"toolUse":{"toolUseId":"u","name":"f","input":{}}}"#));
    assert_eq!(both, (json, Some(FinishReason::ToolCalls)), "a real call beside it counts");
}

#[test]
fn stop_reasons_map_and_the_sequence_is_told() {
    for (word, expected) in [
        ("end_turn", FinishReason::End),
        ("tool_use", FinishReason::ToolCalls),
        ("max_tokens", FinishReason::MaxTokens),
        ("stop_sequence", FinishReason::StopSequence),
        ("guardrail_intervened", FinishReason::ContentFilter),
        ("content_filtered", FinishReason::ContentFilter),
        ("malformed_model_output", FinishReason::MalformedCall),
        ("malformed_tool_use", FinishReason::MalformedCall),
        ("model_context_window_exceeded", FinishReason::ContextWindow),
        ("invented_later", FinishReason::End),
    ] {
        let body = format!(
            r#"{{"output":{{"message":{{"content":[]}}}},"stopReason":"{word}","additionalModelResponseFields":{{"stop_sequence":"END"}}}}"#
        );
        let response = decode_response(body.as_bytes(), &CONTEXT).expect("an answer");
        assert_eq!(response.choices[0].finish, Some(expected), "{word}");
        assert_eq!(response.choices[0].stop_sequence.as_deref(), Some("END"));
    }
    let body = r#"{"output":{"message":{"content":[{"toolUse":{"toolUseId":"t","name":"f"}}]}},"stopReason":"end_turn","additionalModelResponseFields":{"stop_sequence":null}}"#;
    let response = decode_response(body.as_bytes(), &CONTEXT).expect("an answer");
    assert_eq!(response.choices[0].finish, Some(FinishReason::ToolCalls), "an end beside calls is a call");
    assert_eq!(response.choices[0].stop_sequence, None);
}

#[test]
fn what_is_no_answer_is_an_error_with_a_path_and_never_a_panic() {
    let deep = format!(r#"{{"output":{}"#, "[".repeat(10_000));
    for (body, param) in [
        ("", None),
        ("<html>", None),
        ("{}", Some("output.message")),
        (r#"{"message":"Too many requests"}"#, Some("output.message")),
        (r#"{"output":{"message":{"content":7}}}"#, Some("output.message.content")),
        (r#"{"output":{"message":{"content":[7]}}}"#, Some("output.message.content.0")),
        (
            r#"{"output":{"message":{"content":[{"text":"a"},{"toolUse":{"toolUseId":"t"}}]}}}"#,
            Some("output.message.content.1.toolUse.name"),
        ),
        (
            r#"{"output":{"message":{"content":[{"toolUse":{"name":"f"}}]}}}"#,
            Some("output.message.content.0.toolUse.toolUseId"),
        ),
        (deep.as_str(), None),
    ] {
        let error = decode_response(body.as_bytes(), &CONTEXT).expect_err(body);
        if param.is_some() {
            assert_eq!(error.param.as_deref(), param, "{body:.60}");
        }
    }
    assert!(decode_response(b"{\"output\":{\"message\":{\"content\":[{\"text\":\"\xff\"}]}}}", &CONTEXT).is_err());
    let input = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let body = format!(
        r#"{{"output":{{"message":{{"content":[{{"toolUse":{{"toolUseId":"t","name":"f","input":{input}}}}}]}}}}}}"#
    );
    let response = decode_response(body.as_bytes(), &CONTEXT).expect("deep arguments are only carried");
    let Part::ToolCall { arguments, .. } = &response.choices[0].parts[0] else { panic!("a call") };
    assert_eq!(arguments.as_ref(), input);
}

#[test]
fn errors_get_their_class_from_the_exception_then_the_words_then_the_status() {
    for (status, exception, message, class) in [
        (429, "ThrottlingException", "Too many tokens, please wait before trying again.", ErrorClass::RateLimited),
        (400, "ServiceQuotaExceededException", "quota", ErrorClass::RateLimited),
        (429, "ModelNotReadyException", "warming up", ErrorClass::Overloaded),
        (503, "ServiceUnavailableException", "busy", ErrorClass::Overloaded),
        (408, "ModelTimeoutException", "slow", ErrorClass::UpstreamTimeout),
        (424, "ModelErrorException", "broke", ErrorClass::Upstream),
        (500, "InternalServerException:http://internal.amazon.com/coral/x/", "broke", ErrorClass::Upstream),
        (403, "AccessDeniedException", "no access to the model", ErrorClass::Forbidden),
        (
            403,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            ErrorClass::Unauthenticated,
        ),
        (403, "ExpiredTokenException", "expired", ErrorClass::Unauthenticated),
        (403, "InvalidSignatureException", "signature", ErrorClass::Unauthenticated),
        (404, "ResourceNotFoundException", "end of life", ErrorClass::NotFound),
        (400, "ValidationException", "Input is too long for requested model.", ErrorClass::ContextTooLong),
        (
            400,
            "ValidationException",
            "The model returned the following errors: prompt is too long: 205000 tokens > 200000 maximum",
            ErrorClass::ContextTooLong,
        ),
        (400, "ValidationException", "The provided model identifier is invalid.", ErrorClass::NotFound),
        (400, "ValidationException", "messages.0.content.3.type: Field required", ErrorClass::BadRequest),
        (413, "", "too large", ErrorClass::TooLarge),
        (429, "", "slow down", ErrorClass::RateLimited),
        (400, "", "Input is too long for requested model.", ErrorClass::ContextTooLong),
        (502, "", "bad gateway", ErrorClass::Upstream),
    ] {
        let body = serde_json::json!({ "message": message }).to_string();
        let error = decode_error(status, Some(exception), body.as_bytes());
        assert_eq!((error.class, error.message.as_str()), (class, message), "{exception}");
    }
}

#[test]
fn an_error_s_other_shapes_are_understood() {
    let body = br#"{"__type":"com.amazon.coral.service#UnrecognizedClientException","Message":"bad token"}"#;
    let error = decode_error(400, None, body);
    assert_eq!(
        (error.class, error.code.as_deref()),
        (ErrorClass::Unauthenticated, Some("UnrecognizedClientException"))
    );
    assert_eq!(error.message, "bad token");
    let error = decode_error(429, Some("ThrottlingException"), br#"{"message":"x","retryAfterSeconds":2.5}"#);
    assert_eq!(error.retry_after, Some(std::time::Duration::from_millis(2_500)));
    let error = decode_error(424, Some("ModelErrorException"), br#"{"originalMessage":"o","originalStatusCode":429}"#);
    assert_eq!((error.class, error.message.as_str()), (ErrorClass::RateLimited, "o"));
    for body in
        [&b"<html>"[..], b"", b"\xff", b"[]", b"{\"message\":7}", br#"{"message":"x","retryAfterSeconds":-1e300}"#]
    {
        assert_eq!(decode_error(503, None, body).class, ErrorClass::Overloaded);
    }
}
