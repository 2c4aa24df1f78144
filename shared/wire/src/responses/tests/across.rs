//! Between this format and Chat: what a client of the one gets of an upstream of the other.

use serde_json::json;

use super::{decode_request::CODEX, *};
use crate::{ir::Part, openai};

#[test]
fn codex_works_on_a_chat_upstream() {
    let request = request(CODEX);
    let names = names_of(&request);
    let profile = Profile::default();
    let target = EncodeTarget { model: "up", profile: &profile, names: &names, stream: true };
    let mut losses = Losses::default();
    let body = openai::encode_request(&request, &target, &mut losses).expect("encoded").body;
    assert_eq!(
        losses.names().collect::<Vec<_>>(),
        ["thinking", "tools.web_search", "tools.format", "tools.multi_agent_v1.description", "client_metadata"],
        "what is honoured in another way is not listed"
    );
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let roles: Vec<_> =
        body["messages"].as_array().expect("a list").iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "tool", "tool", "user"]);
    let tools: Vec<_> =
        body["tools"].as_array().expect("a list").iter().map(|tool| tool["function"]["name"].clone()).collect();
    assert_eq!(tools, ["exec_command", "apply_patch", "multi_agent_v1__spawn_agent"]);

    let stream = concat!(
        "data: {\"id\":\"c\",\"model\":\"up\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ok\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"apply_patch\",\"arguments\":\"{\\\"input\\\": \\\"*** Be\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"multi_agent_v1__spawn_agent\",\"arguments\":\"{}\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"gin\\\\n\\\"}\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":6}}\n\n",
        "data: [DONE]\n\n",
    );
    let exchange = ResponseContext { names, echo: echo(CODEX.as_bytes()), ..exchange() };
    let (mut decoder, mut encoder, mut out) = (openai::Decoder::default(), Encoder::new(exchange), Vec::new());
    for piece in stream.as_bytes().chunks(9) {
        decoder.feed(piece, &mut |event| encoder.event(&event, &mut out));
    }
    decoder.end(&mut |event| encoder.event(&event, &mut out));
    encoder.end(&mut out);
    let frames = frames(&out);
    let last = &frames.last().expect("an end")["response"];
    assert_eq!((&last["usage"]["total_tokens"], &last["store"]), (&json!(16), &json!(false)));
    assert_eq!(
        last["output"].as_array().expect("a list")[2..],
        [
            json!({"id": "ctc_1_2", "type": "custom_tool_call", "status": "completed", "call_id": "a", "name": "apply_patch", "input": "*** Begin\n"}),
            json!({"id": "fc_1_3", "type": "function_call", "status": "completed", "call_id": "b", "name": "spawn_agent", "namespace": "multi_agent_v1", "arguments": "{}"}),
        ]
    );
}

#[test]
fn a_chat_client_works_on_a_responses_upstream() {
    let body = br#"{"model":"p/m","messages":[
        {"role":"system","content":"be brief"},
        {"role":"user","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"https://x/a.png"}}]},
        {"role":"assistant","content":null,"reasoning_details":[{"type":"reasoning.encrypted","data":"enc","format":"openai-responses-v1"}],
         "tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"n\": 1.50}"}}]},
        {"role":"tool","tool_call_id":"a","content":"42"}],
        "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],
        "tool_choice":{"type":"function","function":{"name":"f"}},"reasoning_effort":"low","max_tokens":100}"#;
    let request = openai::decode_request(body, &CONTEXT).expect("a request");
    let (body, losses) = encoded(&request, &Profile::default()).expect("encoded");
    assert!(losses.is_empty(), "{losses:?}");
    assert_eq!(
        body,
        json!({
            "model": "up", "instructions": "be brief",
            "input": [
                {"type": "message", "role": "user", "content": [
                    {"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": "https://x/a.png"}]},
                {"type": "reasoning", "summary": [], "encrypted_content": "enc"},
                {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{\"n\": 1.50}"},
                {"type": "function_call_output", "call_id": "a", "output": "42"},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": false}],
            "tool_choice": {"type": "function", "name": "f"},
            "max_output_tokens": 100, "reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"], "store": false,
        })
    );
}

#[test]
fn what_a_client_sends_back_of_an_answer_is_the_answer() {
    let response = super::answer::rich();
    let exchange = super::answer::rich_exchange();
    let items = super::answer::write(&response, &exchange)["output"].clone();
    let body = json!({"model": "m", "input": items}).to_string();
    let request = request(&body);
    let sent = &response.choices[0].parts;
    let back = &request.turns[0].parts;
    assert_eq!(back[..2], sent[..2], "foreign thoughts come back with their signatures");
    let calls = |parts: &[Part<'_>]| -> Vec<String> {
        parts
            .iter()
            .filter_map(|part| match part {
                Part::ToolCall { id, name, signature, .. } => Some(format!("{id} {name} {signature:?}")),
                _ => None,
            })
            .collect()
    };
    assert_eq!(calls(back), calls(sent));
}
