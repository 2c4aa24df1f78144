use serde_json::json;

use super::*;
use crate::{
    ir::{Annotation, Choice, FinishReason, Json, Response, Source},
    usage::Usage,
};

fn read(body: &str) -> Response<'_> {
    decode_response(body.as_bytes(), &CONTEXT).expect("an answer")
}

fn written(response: &Response<'_>, exchange: &ResponseContext) -> Value {
    let mut out = Vec::new();
    encode_response(response, exchange, &mut out);
    serde_json::from_slice(&out).expect("valid JSON")
}

fn answer(parts: Vec<Part<'_>>, finish: FinishReason) -> Response<'_> {
    let choice = Choice { parts, finish: Some(finish), stop_sequence: None, logprobs: None };
    Response { choices: vec![choice], ..Response::default() }
}

#[test]
fn an_answer_with_everything_is_read_and_written_again() {
    let body = r#"{"candidates":[{"content":{"parts":[
        {"text":"hm","thought":true},{"text":"é says so","thoughtSignature":"QQ=="},
        {"functionCall":{"id":"a","name":"f","args":{"n": 1.50}},"thoughtSignature":"Qg=="},
        {"inlineData":{"mimeType":"image/png","data":"AA=="}},{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}}],"role":"model"},
        "finishReason":"STOP","index":0,"avgLogprobs":-0.1,"safetyRatings":[],
        "groundingMetadata":{"searchEntryPoint":{"renderedContent":"<b>"},"groundingChunks":[{"web":{"uri":"https://a","title":"A"}}],"groundingSupports":[{"segment":{"partIndex":1,"startIndex":3,"endIndex":7,"text":"says"},"groundingChunkIndices":[0]}]}}],
        "usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":6,"thoughtsTokenCount":2,"totalTokenCount":18},
        "modelVersion":"gemini-3-pro","responseId":"R","createTime":"2026-01-01T00:00:00Z"}"#;
    let response = read(body);
    assert_eq!((response.id.as_ref(), response.model.as_ref()), ("R", "gemini-3-pro"));
    let choice = &response.choices[0];
    assert_eq!(choice.finish, Some(FinishReason::ToolCalls));
    let Part::Text { annotations, .. } = &choice.parts[1] else { panic!("a text") };
    assert_eq!(
        (annotations[0].start, annotations[0].end, annotations[0].cited_text.as_deref()),
        (Some(2), Some(6), Some("says"))
    );
    let again = written(&response, &exchange());
    let mut expected: Value = serde_json::from_str(body).expect("JSON");
    expected["modelVersion"] = json!("mock/m");
    expected["responseId"] = json!("r1");
    assert_eq!(again, expected);
}

#[test]
fn a_blocked_prompt_is_a_content_filter_and_stays_one() {
    let body = r#"{"promptFeedback":{"blockReason":"SAFETY","safetyRatings":[]},"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3}}"#;
    let response = read(body);
    assert_eq!((response.choices.len(), response.choices[0].finish), (1, Some(FinishReason::ContentFilter)));
    let again = written(&response, &exchange());
    assert_eq!((again.get("candidates"), &again["promptFeedback"]["blockReason"]), (None, &json!("SAFETY")));
    let foreign = written(&answer(Vec::new(), FinishReason::ContentFilter), &exchange());
    assert_eq!(foreign["candidates"][0]["finishReason"], "SAFETY");
}

#[test]
fn what_is_no_answer_is_an_error() {
    for (body, part) in [
        ("{}", "no candidates"),
        (r#"{"candidates":[]}"#, "no candidates"),
        (r#"{"promptFeedback":{}}"#, "no candidates"),
        (r#"{"error":{"code":500,"message":"boom"}}"#, "boom"),
        (r#"{"error":"plain"}"#, "plain"),
        ("<html>", "not valid"),
        (r#"{"candidates":7}"#, "candidates"),
        (r#"{"candidates":[{"content":{"parts":[{"functionCall":{}}]}}]}"#, "name"),
    ] {
        let error = decode_response(body.as_bytes(), &CONTEXT).expect_err(body);
        assert!(error.message.contains(part), "{body}: {error}");
    }
}

#[test]
fn every_finish_word_has_a_reason() {
    for (word, reason) in [
        ("STOP", FinishReason::End),
        ("MAX_TOKENS", FinishReason::MaxTokens),
        ("SAFETY", FinishReason::ContentFilter),
        ("RECITATION", FinishReason::ContentFilter),
        ("LANGUAGE", FinishReason::ContentFilter),
        ("BLOCKLIST", FinishReason::ContentFilter),
        ("PROHIBITED_CONTENT", FinishReason::ContentFilter),
        ("SPII", FinishReason::ContentFilter),
        ("IMAGE_SAFETY", FinishReason::ContentFilter),
        ("MALFORMED_FUNCTION_CALL", FinishReason::MalformedCall),
        ("OTHER", FinishReason::End),
        ("SOMETHING_NEW", FinishReason::End),
    ] {
        let body = format!(r#"{{"candidates":[{{"finishReason":"{word}"}}]}}"#);
        assert_eq!(read(&body).choices[0].finish, Some(reason), "{word}");
    }
    for (reason, word) in [
        (FinishReason::End, "STOP"),
        (FinishReason::StopSequence, "STOP"),
        (FinishReason::ToolCalls, "STOP"),
        (FinishReason::MaxTokens, "MAX_TOKENS"),
        (FinishReason::ContextWindow, "MAX_TOKENS"),
        (FinishReason::ContentFilter, "SAFETY"),
        (FinishReason::Refusal, "SAFETY"),
    ] {
        let value = written(&answer(vec![Part::text("x")], reason), &exchange());
        assert_eq!(value["candidates"][0]["finishReason"], word);
    }
}

#[test]
fn answers_of_other_families_become_this_ones() {
    let foreign = Signature { family: Family::Anthropic, payload: "s".into() };
    let annotation = Annotation {
        url: Some("https://a".into()),
        title: None,
        cited_text: Some("of the source".into()),
        start: Some(1),
        end: Some(2),
        family: Family::Anthropic,
        raw: None,
    };
    let inline = Source::Inline { media_type: "audio/wav".into(), data: "AA==".into() };
    let mut response = answer(
        vec![
            Part::Thinking { text: "hm".into(), signature: Some(foreign.clone()) },
            Part::RedactedThinking { data: foreign },
            Part::Text { text: "éa".into(), annotations: vec![annotation], cache: None },
            Part::Refusal { text: "no".into() },
            Part::Audio { source: inline, format: None, transcript: None },
            call("a", "f", ""),
            Part::ServerTool { family: Family::Anthropic, raw: Json::from_string("{}".to_owned()).expect("JSON") },
        ],
        FinishReason::ToolCalls,
    );
    response.extensions.push("x_groq", Json::from_string("{}".to_owned()).expect("JSON"));
    response.usage = Usage { input: Some(1), cache_write_5m: Some(2), output: Some(3), ..Usage::default() };
    let value = written(&response, &exchange());
    let parts = &value["candidates"][0]["content"]["parts"];
    assert_eq!(parts[0]["thought"], true);
    assert!(parts[0]["thoughtSignature"].as_str().is_some_and(|token| !token.contains(':')));
    assert_eq!((&parts[1]["text"], parts[1].get("thought")), (&json!(""), None));
    assert_eq!(parts[2], json!({"text":"éa"}));
    assert_eq!(parts[4], json!({"inlineData":{"mimeType":"audio/wav","data":"AA=="}}));
    assert_eq!(parts[5], json!({"functionCall":{"id":"a","name":"f","args":{}}}));
    assert_eq!(parts.as_array().map(Vec::len), Some(6));
    assert_eq!(
        value["candidates"][0]["groundingMetadata"]["groundingSupports"][0]["segment"],
        json!({"startIndex":2,"endIndex":3})
    );
    assert_eq!(value["usageMetadata"], json!({"promptTokenCount":3,"candidatesTokenCount":3,"totalTokenCount":6}));
    assert_eq!(value.get("x_groq"), None);
    let hidden = written(&response, &ResponseContext { show_thinking: false, ..exchange() });
    assert!(!hidden.to_string().contains("hm"));
}

#[test]
fn a_call_that_cannot_be_said_is_malformed() {
    let value =
        written(&answer(vec![call("a", "f", "{\"x\":"), call("b", "g", "{}")], FinishReason::ToolCalls), &exchange());
    assert_eq!(value["candidates"][0]["finishReason"], "MALFORMED_FUNCTION_CALL");
    assert_eq!(value["candidates"][0]["content"]["parts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn log_probabilities_take_openais_form_and_come_back() {
    let body = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP","logprobsResult":{"topCandidates":[{"candidates":[{"token":"a","logProbability":-0.25},{"token":"é","logProbability":-1.5}]}],"chosenCandidates":[{"token":"a","tokenId":3,"logProbability":-0.25}]}}]}"#;
    let response = read(body);
    let logprobs = response.choices[0].logprobs.as_ref().expect("logprobs").to_value();
    assert_eq!(logprobs["content"][0]["top_logprobs"][1], json!({"token":"é","logprob":-1.5,"bytes":[195,169]}));
    let again = written(&response, &exchange());
    assert_eq!(
        again["candidates"][0]["logprobsResult"]["topCandidates"][0]["candidates"][1],
        json!({"token":"é","logProbability":-1.5})
    );
    assert_eq!(again["candidates"][0]["logprobsResult"]["chosenCandidates"][0]["logProbability"], -0.25);
}
