//! Nothing that comes from outside may panic or break the order of events, whatever a byte of it is.

use super::*;
use crate::{
    codec::StreamDecoder,
    ir::{Event, Validator, replay},
};

const REQUEST: &str = r##"{"contents":[{"parts":[{"text":"é"},{"inlineData":{"mimeType":"image/png","data":"-_A="}},{"fileData":{"fileUri":"gs://x/a.pdf"},"videoMetadata":{"fps":1}}]},{"role":"model","parts":[{"text":"t","thought":true},{"functionCall":{"name":"f","args":{"a":1}},"thoughtSignature":"QQ=="}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"output":"x"}}}]}],"systemInstruction":{"parts":[{"text":"s"}]},"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT","properties":{"a":{"anyOf":[{"type":"STRING"},{"$ref":"#/x"}],"minItems":"1","enum":["a"]}},"required":["a"]}}]},{"googleSearch":{}}],"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}},"generationConfig":{"topK":4,"responseSchema":{"type":"ARRAY","items":{"type":"INTEGER"}},"thinkingConfig":{"thinkingBudget":-1}}}"##;

const ANSWER: &str = r#"{"candidates":[{"content":{"parts":[{"text":"hé","thought":true},{"text":"x","thoughtSignature":"QQ=="},{"functionCall":{"name":"f","args":{"a":"}"}}},{"inlineData":{"mimeType":"image/png","data":"AA=="}},{"executableCode":{}}]},"finishReason":"STOP","index":0,"groundingMetadata":{"groundingChunks":[{"web":{"uri":"u"}}],"groundingSupports":[{"segment":{"partIndex":1,"startIndex":0,"endIndex":9},"groundingChunkIndices":[0]}]},"logprobsResult":{"chosenCandidates":[{"token":"a","logProbability":-1}]}}],"usageMetadata":{"promptTokenCount":9,"cachedContentTokenCount":1,"totalTokenCount":10},"responseId":"R"}"#;

fn mutations(text: &str) -> impl Iterator<Item = Vec<u8>> {
    const NEW: [&[u8]; 12] = [b"", b"\"", b"\\", b"{", b"}", b"[", b"]", b",", b"9", b"-", b"\xff", b"null"];
    (0..text.len()).flat_map(move |at| {
        NEW.into_iter().map(move |new| [&text.as_bytes()[..at], new, &text.as_bytes()[at + 1..]].concat())
    })
}

#[test]
fn no_mutation_of_a_request_panics() {
    let subset = Profile { full_json_schema: false, ..Profile::default() };
    let mut taken = 0;
    for body in mutations(REQUEST) {
        let Ok(request) = decode_request(&body, "m", false, &CONTEXT) else { continue };
        taken += 1;
        for profile in [&Profile::default(), &subset] {
            let _ = encode_for(&request, "gemini-3-pro", profile);
        }
        let _ = decode_count_request(&body, "m", &CONTEXT);
        let _ = scan_body(&body);
    }
    assert!(taken > 1_000, "mutations of names and texts are still requests: {taken}");
}

#[test]
fn no_mutation_of_an_answer_breaks_the_order_of_events() {
    let array = format!("[{ANSWER}\n,{ANSWER}]");
    let sse = format!("data: {ANSWER}\r\n\r\ndata: {ANSWER}\r\n\r\n");
    for text in [array, sse] {
        for stream in mutations(&text) {
            let (mut decoder, mut validator) = (Decoder::default(), Validator::default());
            let mut emit = |event: Event<'_>| {
                let order = validator.check(&event);
                assert!(order.is_ok(), "{order:?} {event:?} in {}", String::from_utf8_lossy(&stream));
            };
            stream.chunks(97).for_each(|piece| decoder.feed(piece, &mut emit));
            decoder.end(&mut emit);
            validator.end().expect("a complete stream");
        }
    }
    for body in mutations(ANSWER) {
        let _ = answer_facts(&body);
        let _ = decode_error(429, &body);
        let _ = decode_models(&body);
        let Ok(response) = decode_response(&body, &CONTEXT) else { continue };
        let mut out = Vec::new();
        encode_response(&response, &exchange(), &mut out);
        assert!(serde_json::from_slice::<Value>(&out).is_ok(), "{}", String::from_utf8_lossy(&out));
        let mut validator = Validator::default();
        replay(&response, &mut |event| validator.check(&event).expect("in order"));
    }
}
