use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::{json_tail::UsageTail, scan::ScanError};

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("valid JSON")
}

#[test]
fn tokens_are_counted_of_contents_alone_and_of_a_whole_request() {
    let alone = decode_count_request(br#"{"contents":[{"parts":[{"text":"hi"}]}]}"#, "m", &CONTEXT).expect("a request");
    assert_eq!(alone.turns.len(), 1);
    let body = br#"{"generateContentRequest":{"model":"models/m","contents":[{"parts":[{"text":"hi"}]}],"systemInstruction":{"parts":[{"text":"s"}]},"tools":[{"functionDeclarations":[{"name":"f"}]}]}}"#;
    let whole = decode_count_request(body, "p/m", &CONTEXT).expect("a request");
    assert_eq!((whole.model.as_ref(), whole.system.len(), whole.tools.len()), ("p/m", 1, 1));
    let names = name_table(&whole);
    let profile = Profile::default();
    let target = EncodeTarget { model: "gemini-2.5-pro", profile: &profile, names: &names, stream: false };
    let mut losses = Losses::default();
    let encoded = encode_count_request(&whole, &target, &mut losses).expect("encoded");
    let value = parsed(&encoded.body);
    assert_eq!(value["generateContentRequest"]["model"], "models/gemini-2.5-pro");
    assert_eq!(value["generateContentRequest"]["tools"][0]["functionDeclarations"][0]["name"], "f");
    let again = decode_count_request(&encoded.body, "m", &CONTEXT).expect("read again");
    assert_eq!(again.turns, whole.turns);
    let error = decode_count_request(br#"{"generateContentRequest":{"contents":[{"role":7}]}}"#, "m", &CONTEXT)
        .expect_err("a role");
    assert_eq!(error.param.as_deref(), Some("generateContentRequest.contents[0].role"));
    let mut out = Vec::new();
    encode_count_response(42, &mut out);
    assert_eq!(decode_count_response(&out).expect("a count"), 42);
    assert_eq!(parsed(&out)["promptTokensDetails"], json!([{"modality":"TEXT","tokenCount":42}]));
    assert!(decode_count_response(b"{}").is_err());
    assert!(decode_count_response(br#"{"error":{"message":"boom"}}"#).expect_err("an error").message.contains("boom"));
}

#[test]
fn a_gemini_clients_embeddings_come_from_an_openai_upstream() {
    let mut losses = Losses::default();
    let body = br#"{"content":{"parts":[{"text":"a"},{"text":"b"}]},"taskType":"RETRIEVAL_QUERY","outputDimensionality":3,"model":"models/m"}"#;
    let one = decode_embed_request(body, Action::EmbedContent, &mut losses).expect("a request");
    assert_eq!((one.texts.as_slice(), one.dimensions, one.batch), (["ab".into()].as_slice(), Some(3), false));
    assert_eq!(losses.names().collect::<Vec<_>>(), ["taskType"]);
    assert_eq!(
        parsed(&one.to_openai("e")),
        json!({"model":"e","input":["ab"],"dimensions":3,"encoding_format":"float"})
    );
    let body = br#"{"requests":[{"model":"models/m","content":{"parts":[{"text":"a"}]}},{"content":{"parts":[{"text":"b"}]}}]}"#;
    let two = decode_embed_request(body, Action::BatchEmbedContents, &mut losses).expect("a request");
    assert_eq!((two.texts.len(), two.batch), (2, true));

    let packed = STANDARD.encode([0.5_f32, -1.0].map(f32::to_le_bytes).concat());
    let answer = format!(
        r#"{{"object":"list","data":[{{"index":1,"embedding":"{packed}"}},{{"index":0,"embedding":[1.50, 2e-3]}}],"usage":{{"prompt_tokens":7}}}}"#
    );
    let mut out = Vec::new();
    encode_embed_response(answer.as_bytes(), true, &mut out).expect("written");
    assert_eq!(
        String::from_utf8(out).expect("text"),
        r#"{"embeddings":[{"values":[1.50, 2e-3]},{"values":[0.5,-1.0]}],"usageMetadata":{"promptTokenCount":7}}"#
    );
    let mut out = Vec::new();
    assert!(encode_embed_response(answer.as_bytes(), false, &mut out).is_err(), "two vectors for one text");
    encode_embed_response(br#"{"data":[{"embedding":[1]}]}"#, false, &mut out).expect("written");
    assert_eq!(out, br#"{"embedding":{"values":[1]}}"#);
    for broken in [
        r#"{"data":[]}"#,
        r#"{"data":[{"embedding":"%%%"}]}"#,
        r#"{"data":[{"embedding":"AAA="}]}"#,
        r#"{"data":[{}]}"#,
    ] {
        assert!(encode_embed_response(broken.as_bytes(), true, &mut Vec::new()).is_err(), "{broken}");
    }
}

#[test]
fn embedding_requests_at_fault_are_named() {
    for (action, body, param) in [
        (Action::EmbedContent, "{}", "content"),
        (Action::EmbedContent, r#"{"content":{"parts":[{"inlineData":{}}]}}"#, "content.parts.0"),
        (Action::BatchEmbedContents, "{}", "requests"),
        (Action::BatchEmbedContents, r#"{"requests":[{}]}"#, "requests.0.content"),
        (
            Action::BatchEmbedContents,
            r#"{"requests":[{"content":{"parts":[{"text":"a"}]},"outputDimensionality":1},{"content":{"parts":[{"text":"b"}]}}]}"#,
            "requests.1.outputDimensionality",
        ),
    ] {
        let error = decode_embed_request(body.as_bytes(), action, &mut Losses::default()).expect_err(body);
        assert_eq!(error.param.as_deref(), Some(param), "{body}");
    }
}

#[test]
fn an_openai_clients_embeddings_come_from_a_gemini_upstream() {
    let mut losses = Losses::default();
    let body = br#"{"model":"p/e","input":["a","b\n"],"dimensions":2,"encoding_format":"base64","user":"u"}"#;
    let (encoded, base64) = encode_embed_request(body, "gemini-embedding-001", &mut losses).expect("encoded");
    assert!(base64);
    assert_eq!(losses.names().collect::<Vec<_>>(), ["user"]);
    assert_eq!(
        parsed(&encoded.body)["requests"][1],
        json!({"model":"models/gemini-embedding-001","content":{"parts":[{"text":"b\n"}]},"outputDimensionality":2})
    );
    for (body, param) in [
        (r"{}", "input"),
        (r#"{"input":[]}"#, "input"),
        (r#"{"input":[[1,2]]}"#, "input"),
        (r#"{"input":[1]}"#, "input"),
    ] {
        let error = encode_embed_request(body.as_bytes(), "m", &mut losses).expect_err(body);
        assert_eq!(error.param.as_deref(), Some(param));
    }
    let answer = br#"{"embeddings":[{"values":[0.5, -1]},{"values":[1e-3]}]}"#;
    let mut out = Vec::new();
    assert_eq!(decode_embed_response(answer, "p/e", false, 9, &mut out).expect("read"), None);
    let text = String::from_utf8(out).expect("text");
    assert!(
        text.contains(r#""embedding":[0.5, -1]"#) && text.contains(r#""usage":{"prompt_tokens":9,"total_tokens":9}"#),
        "{text}"
    );
    let mut out = Vec::new();
    let single = br#"{"embedding":{"values":[0.5, -1]},"usageMetadata":{"promptTokenCount":4}}"#;
    assert_eq!(decode_embed_response(single, "p/e", true, 9, &mut out).expect("read"), Some(4));
    let packed = STANDARD.encode([0.5_f32, -1.0].map(f32::to_le_bytes).concat());
    assert_eq!(parsed(&out)["data"][0]["embedding"], packed.as_str());
    for broken in
        ["{}", r#"{"embeddings":[{}]}"#, r#"{"embeddings":[{"values":["x"]}]}"#, r#"{"error":{"message":"boom"}}"#]
    {
        assert!(decode_embed_response(broken.as_bytes(), "m", true, 0, &mut Vec::new()).is_err(), "{broken}");
    }
}

#[test]
fn a_body_that_passes_is_scanned_for_what_routing_needs() {
    let body = r#"{"contents": [{"parts":[{"text":"hi"}]}], "generation_config": {"maxOutputTokens": "8192", "candidate_count": 2.0, "x": {}}, "tools": []}"#;
    let scan = scan_body(body.as_bytes()).expect("scanned");
    assert_eq!((scan.max_tokens, scan.n), (Some(8192), Some(2)));
    assert_eq!(&body[scan.prompt.expect("a prompt")], r#"[{"parts":[{"text":"hi"}]}]"#);
    for (body, expected) in [
        ("[]", Some(ScanError::NotAnObject)),
        (r#"{"contents":1,"contents":2}"#, Some(ScanError::Duplicate { name: "contents".into() })),
        (
            r#"{"generationConfig":{},"generation_config":{}}"#,
            Some(ScanError::Duplicate { name: "generation_config".into() }),
        ),
        (r#"{"contents":"#, None),
        (r#"{"generationConfig":{"a"}}"#, None),
    ] {
        let error = scan_body(body.as_bytes()).expect_err(body);
        assert!(expected.is_none_or(|expected| expected == error), "{body}: {error}");
    }
    let deep = format!(r#"{{"contents":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(scan_body(deep.as_bytes()), Err(ScanError::TooDeep));
    assert!(matches!(scan_body(b"{\"a\":\"\xff\"}"), Err(ScanError::NotUtf8 { at: 6 })));
    assert_eq!(scan_body(r#"{"generationConfig":null}"#.as_bytes()).expect("scanned").max_tokens, None);
}

#[test]
fn usage_of_an_answer_that_passes_is_found_however_it_is_split() {
    let text = r#"{"candidates":[{"content":{"parts":[{"text":"\"usageMetadata\": {}"}]},"finishReason":"MAX_TOKENS"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2},"modelVersion":"m"}"#;
    let call = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"finishReason":"SAFETY"}}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2},"note":{"usageMetadata":{"promptTokenCount":99}}}"#;
    for (answer, reason) in [(text, "MAX_TOKENS"), (call, "STOP")] {
        for split in 1..answer.len() {
            let mut tail = UsageTail::default();
            answer.as_bytes().chunks(split).for_each(|piece| tail.feed(&Bytes::copy_from_slice(piece)));
            let facts = tail.facts_by(answer_facts);
            assert_eq!(facts.usage.and_then(|usage| usage.output), Some(2));
            assert_eq!(facts.usage.and_then(|usage| usage.input), Some(3));
            assert_eq!(facts.finish_reason.as_deref(), Some(reason), "pieces of {split}");
        }
    }
    let blocked = answer_facts(br#"{"promptFeedback":{"blockReason":"SAFETY"}}"#);
    assert_eq!((blocked.usage, blocked.finish_reason.as_deref()), (None, Some("SAFETY")));
}
