//! This format against OpenAI's Chat, which most of the other side speaks.

use serde_json::json;

use super::*;
use crate::{
    codec::{StreamDecoder, StreamEncoder},
    openai,
};

const ANSWER: &str = concat!(
    "data: {\"responseId\":\"R\",\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hm\",\"thought\":true}]}}]}\r\n\r\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"on it\"}]}}]}\r\n\r\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"n\": 1.50}},\"thoughtSignature\":\"c2ln\"},{\"functionCall\":{\"name\":\"f\",\"args\":{\"n\": 2}}}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":1,\"totalTokenCount\":6}}\r\n\r\n",
);

/// Chat's chunks of a Gemini stream, joined as a client joins them into the message that it sends back.
fn chat_message() -> Value {
    let (mut decoder, mut encoder, mut out) = (Decoder::default(), openai::Encoder::new(exchange()), Vec::new());
    ANSWER.as_bytes().chunks(9).for_each(|piece| decoder.feed(piece, &mut |event| encoder.event(&event, &mut out)));
    decoder.end(&mut |event| encoder.event(&event, &mut out));
    encoder.end(&mut out);
    let text = String::from_utf8(out).expect("text");
    assert!(text.contains("\"finish_reason\":\"tool_calls\"") && text.ends_with("data: [DONE]\n\n"), "{text}");
    let mut calls: Vec<Value> = Vec::new();
    let mut said = String::new();
    for chunk in
        text.split("\n\n").filter_map(|event| serde_json::from_str::<Value>(event.strip_prefix("data: ")?).ok())
    {
        let delta = &chunk["choices"][0]["delta"];
        said += delta["content"].as_str().unwrap_or_default();
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let at = call["index"].as_u64().expect("an index") as usize;
            if calls.len() <= at {
                calls.push(call.clone());
                continue;
            }
            if let Some(extra) = call.get("extra_content") {
                calls[at]["extra_content"] = extra.clone();
            }
            let more = call["function"]["arguments"].as_str().unwrap_or_default();
            let joined = calls[at]["function"]["arguments"].as_str().unwrap_or_default().to_owned() + more;
            calls[at]["function"]["arguments"] = joined.into();
        }
    }
    json!({"role":"assistant","content":said,"tool_calls":calls})
}

#[test]
fn a_chat_client_brings_a_gemini_call_back_with_its_signature_and_bytes() {
    let message = chat_message();
    let ids: Vec<String> =
        (0..2).map(|at| message["tool_calls"][at]["id"].as_str().expect("an id").to_owned()).collect();
    assert_ne!(ids[0], ids[1]);
    let body = json!({"model":"p/m","messages":[
        {"role":"user","content":"go"}, message,
        {"role":"tool","tool_call_id":ids[1],"content":"two"},
        {"role":"tool","tool_call_id":ids[0],"content":"{\"one\": 1.0}"}]})
    .to_string();
    let request = openai::decode_request(body.as_bytes(), &CONTEXT).expect("a request");
    let names = name_table(&request);
    let profile = Profile::default();
    let target = EncodeTarget { model: "gemini-3-pro", profile: &profile, names: &names, stream: true };
    let encoded = encode_request(&request, &target, &mut Losses::default()).expect("encoded");
    let text = String::from_utf8(encoded.body).expect("text");
    let expected = format!(
        r#"{{"role":"model","parts":[{{"text":"on it"}},{{"functionCall":{{"id":"{0}","name":"f","args":{{"n": 1.50}}}},"thoughtSignature":"c2ln"}},{{"functionCall":{{"id":"{1}","name":"f","args":{{"n": 2}}}}}}]}},{{"role":"user","parts":[{{"functionResponse":{{"id":"{0}","name":"f","response":{{"one": 1.0}}}}}},{{"functionResponse":{{"id":"{1}","name":"f","response":{{"result":"two"}}}}}}]}}"#,
        ids[0], ids[1]
    );
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn a_gemini_client_talks_to_a_chat_upstream() {
    let body = r#"{"contents":[{"parts":[{"text":"go"}]},
        {"role":"model","parts":[{"functionCall":{"name":"f","args":{"n": 1.50}},"thoughtSignature":"skip_thought_signature_validator"}]},
        {"role":"user","parts":[{"functionResponse":{"name":"f","response":{"output":"42"}}},{"text":"and?"}]}],
        "systemInstruction":{"parts":[{"text":"s"}]},
        "tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT","properties":{"n":{"type":"NUMBER"}}}}]},{"googleSearch":{}}],
        "safetySettings":[],"generationConfig":{"maxOutputTokens":5,"thinkingConfig":{"thinkingLevel":"HIGH"}}}"#;
    let request = decode(body).expect("a request");
    let names = NameTable::default();
    let profile = Profile::default();
    let target = EncodeTarget { model: "m", profile: &profile, names: &names, stream: false };
    let mut losses = Losses::default();
    let encoded = openai::encode_request(&request, &target, &mut losses).expect("encoded");
    assert_eq!(losses.names().collect::<Vec<_>>(), ["tools.googleSearch", "safetySettings"]);
    let value: Value = serde_json::from_slice(&encoded.body).expect("valid JSON");
    let messages = value["messages"].as_array().expect("messages");
    let roles: Vec<_> = messages.iter().map(|message| message["role"].as_str().unwrap_or_default()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "user"]);
    assert_eq!(messages[2]["tool_calls"][0]["id"], messages[3]["tool_call_id"]);
    assert_eq!(messages[2]["tool_calls"][0]["function"]["arguments"], r#"{"n": 1.50}"#);
    assert_eq!(messages[3]["content"], "42");
    assert_eq!(
        value["tools"][0]["function"]["parameters"],
        json!({"type":"object","properties":{"n":{"type":"number"}}})
    );
    assert_eq!((&value["max_tokens"], &value["reasoning_effort"]), (&json!(5), &json!("high")));
}

#[test]
fn a_chat_stream_reaches_a_gemini_client_in_either_framing() {
    let chunks = concat!(
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"n\\\"\"}},{\"index\":1,\"id\":\"y\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\": 1}\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n",
    );
    for framing in [Framing::Sse, Framing::JsonArray] {
        let (mut decoder, mut encoder, mut out) =
            (openai::Decoder::default(), Encoder::new(exchange(), framing), Vec::new());
        decoder.feed(chunks.as_bytes(), &mut |event| encoder.event(&event, &mut out));
        decoder.end(&mut |event| encoder.event(&event, &mut out));
        encoder.end(&mut out);
        let text = String::from_utf8(out).expect("text");
        for piece in [
            r#"{"text":"hm","thought":true}"#,
            r#"{"text":"a"}"#,
            r#"{"functionCall":{"id":"x","name":"f","args":{"n": 1}}}"#,
            r#"{"functionCall":{"id":"y","name":"g","args":{}}}"#,
            r#""finishReason":"STOP""#,
        ] {
            assert!(text.contains(piece), "{piece} in {text}");
        }
    }
}
