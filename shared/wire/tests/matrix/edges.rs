//! What hosts and clients do that no reference says: one test for each way in which gateways have been seen to fail.

use omniroute_wire::{
    codec::{NameTable, ResponseContext},
    ir::{Collector, Event, FinishReason, Format, Part, Response, StreamError},
    translate::{Dialect, decoder, name_table},
};
use serde_json::{Value, json};

use crate::{
    fixtures::{CONTEXT, exchange, translated},
    golden::relay,
};

/// A Chat stream of these deltas and this reason to finish.
fn chat_stream(chunks: &[Value]) -> Vec<u8> {
    let events = chunks.iter().map(|chunk| format!("data: {chunk}\n\n"));
    (events.collect::<String>() + "data: [DONE]\n\n").into_bytes()
}

fn delta(delta: Value) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn finish(word: &str) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": word}]})
}

fn collected(format: Format, bytes: &[u8]) -> Result<Response<'static>, StreamError> {
    let (mut decoder, mut collector) = (decoder(format), Collector::default());
    decoder.feed(bytes, &mut |event| collector.push(&event));
    decoder.end(&mut |event| collector.push(&event));
    collector.finish()
}

fn calls(response: &Response<'_>) -> Vec<(String, String)> {
    let parts = response.choices.iter().flat_map(|choice| &choice.parts);
    parts
        .filter_map(|part| match part {
            Part::ToolCall { name, arguments, .. } => Some((name.to_string(), arguments.to_string())),
            _ => None,
        })
        .collect()
}

fn body_for(dialect: &Dialect, body: &Value, format: Format) -> Value {
    let body = body.to_string();
    let request = dialect.decode_request(body.as_bytes(), &CONTEXT).expect("a request");
    let (encoded, ..) = translated(&request, format).unwrap_or_else(|error| panic!("{format}: {error:?}"));
    serde_json::from_slice(&encoded.body).expect("JSON")
}

#[test]
fn chunks_with_nulls_and_nothing_in_them_are_harmless() {
    let stream = chat_stream(&[
        json!({"id": "c", "model": "m", "choices": []}),
        json!({"id": "c", "model": "m", "choices": null}),
        delta(json!({"role": "assistant", "content": null, "tool_calls": null, "refusal": null, "reasoning": null})),
        json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": null}]}),
        delta(json!({"content": "hi"})),
        json!({"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": ""}], "usage": null}),
        finish("stop"),
    ]);
    let response = collected(Format::OpenAiChat, &stream).expect("an answer");
    assert_eq!(response.choices[0].parts, [Part::text("hi")]);
    assert_eq!(response.choices[0].finish, Some(FinishReason::End));
}

#[test]
fn usage_in_every_chunk_is_not_added_up() {
    let with_usage = |text: &str, output: u64| {
        json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}],
            "usage": {"prompt_tokens": 10, "completion_tokens": output}})
    };
    let stream = chat_stream(&[with_usage("a", 1), with_usage("b", 2), with_usage("c", 3), finish("stop")]);
    let usage = collected(Format::OpenAiChat, &stream).expect("an answer").usage;
    assert_eq!((usage.input, usage.output), (Some(10), Some(3)));
}

#[test]
fn one_call_in_many_pieces_is_one_block() {
    let call = |fields: Value| delta(json!({"tool_calls": [fields]}));
    let stream = chat_stream(&[
        call(json!({"index": 0, "id": "a", "type": "function", "function": {"name": "Read", "arguments": ""}})),
        call(json!({"index": 0, "id": "a", "function": {"name": "", "arguments": "{\"pages\""}})),
        call(json!({"index": 0, "id": "", "function": {"name": null, "arguments": ":\"\"}"}})),
        finish("stop"),
    ]);
    let response = collected(Format::OpenAiChat, &stream).expect("an answer");
    assert_eq!(calls(&response), [("Read".to_owned(), "{\"pages\":\"\"}".to_owned())], "an empty text is a value too");
    assert_eq!(response.choices[0].finish, Some(FinishReason::ToolCalls), "a stop beside calls waits for results");
    let text = relay(&Dialect::Messages, &exchange(NameTable::default()), Format::OpenAiChat, &stream);
    let text = String::from_utf8(text).expect("text");
    assert_eq!(text.matches("content_block_start\n").count(), 1, "{text}");
}

#[test]
fn arguments_as_an_object_are_taken() {
    let answer = json!({"id": "c", "model": "m", "choices": [{"index": 0, "finish_reason": "tool_calls", "message":
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]}}]});
    let answer = answer.to_string();
    let response = omniroute_wire::translate::decode_response(Format::OpenAiChat, answer.as_bytes(), &CONTEXT);
    assert_eq!(calls(&response.expect("an answer")), [("f".to_owned(), "{\"x\":1}".to_owned())]);
}

#[test]
fn a_call_without_arguments_is_a_call_everywhere() {
    let stream = chat_stream(&[
        delta(json!({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "now"}}]})),
        finish("tool_calls"),
    ]);
    for (client, dialect) in crate::fixtures::dialects() {
        let text = relay(&dialect, &exchange(NameTable::default()), Format::OpenAiChat, &stream);
        let response = collected(dialect.format(), &text).unwrap_or_else(|error| panic!("{client}: {error:?}"));
        let calls = calls(&response);
        assert_eq!(calls.len(), 1, "{client}");
        assert!(calls[0].0 == "now" && matches!(calls[0].1.as_str(), "" | "{}"), "{client}: {calls:?}");
    }
}

#[test]
fn a_tool_that_the_model_spells_in_another_case_comes_back_as_the_client_knows_it() {
    let body = br#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"Bash","input_schema":{"type":"object"}}]}"#;
    let request = Dialect::Messages.decode_request(body, &CONTEXT).expect("a request");
    let exchange = ResponseContext { names: name_table(Format::Gemini, &request), ..exchange(NameTable::default()) };
    for said in ["bash", "default_api:Bash"] {
        let answer = json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": said, "args": {}}}]},
            "finishReason": "STOP", "index": 0}], "responseId": "R"});
        let stream = format!("data: {answer}\n\n");
        let text = relay(&Dialect::Messages, &exchange, Format::Gemini, stream.as_bytes());
        assert!(String::from_utf8(text).expect("text").contains("\"name\":\"Bash\""), "{said}");
    }
}

#[test]
fn results_stand_directly_behind_their_calls() {
    // The user's words come before the result in the same turn, and the results in the other order.
    let body = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "t1", "name": "f", "input": {}}, {"type": "tool_use", "id": "t2", "name": "f", "input": {}}]},
        {"role": "user", "content": [
            {"type": "text", "text": "wait"},
            {"type": "tool_result", "tool_use_id": "t2", "content": "two"},
            {"type": "tool_result", "tool_use_id": "t1", "content": "one"}]}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}]});
    let chat = body_for(&Dialect::Messages, &body, Format::OpenAiChat);
    let roles: Vec<_> = chat["messages"].as_array().expect("a list").iter().map(|own| own["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool", "user"]);
    let gemini = body_for(&Dialect::Messages, &body, Format::Gemini);
    let answers = gemini["contents"][2]["parts"].as_array().expect("a list");
    assert!(answers[0].get("functionResponse").is_some() && answers[1].get("functionResponse").is_some());
    assert_eq!(answers[0]["functionResponse"]["response"]["result"], "one", "in the order of the calls");
}

#[test]
fn the_greatest_effort_is_named_only_to_models_that_have_the_word() {
    let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}],
        "thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}});
    for format in [Format::OpenAiChat, Format::OpenAiResponses, Format::Gemini, Format::Ollama] {
        let text = body_for(&Dialect::Messages, &body, format).to_string().to_lowercase();
        assert!(text.contains("\"high\"") && !text.contains("xhigh") && !text.contains("\"max\""), "{format}: {text}");
    }
}

#[test]
fn a_vendors_tool_never_becomes_a_function_of_the_clients() {
    let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]});
    for format in Format::ALL.into_iter().filter(|format| *format != Format::Anthropic) {
        let sent = body_for(&Dialect::Messages, &body, format);
        assert!(sent.get("tools").is_none() && sent.get("toolConfig").is_none(), "{format}: {sent}");
    }
}

#[test]
fn an_empty_answer_is_no_invented_text() {
    let stream = chat_stream(&[delta(json!({"role": "assistant", "content": ""})), finish("stop")]);
    for (client, dialect) in crate::fixtures::dialects() {
        let text = relay(&dialect, &exchange(NameTable::default()), Format::OpenAiChat, &stream);
        let response = collected(dialect.format(), &text).unwrap_or_else(|error| panic!("{client}: {error:?}"));
        let said = response.choices.iter().flat_map(|choice| &choice.parts);
        assert!(said.into_iter().all(|part| *part == Part::text("")), "{client}");
    }
}

#[test]
fn a_request_that_says_nothing_is_refused_and_not_filled_in() {
    for (dialect, body, param) in [
        (Dialect::Chat, json!({"model": "m", "messages": [{"role": "user", "content": ""}]}), "messages"),
        (
            Dialect::Chat,
            json!({"model": "m", "messages": [{"role": "system", "content": null}, {"role": "user", "content": " \n"}]}),
            "messages",
        ),
        (Dialect::Responses, json!({"model": "m", "input": ""}), "input"),
    ] {
        let body = body.to_string();
        let request = dialect.decode_request(body.as_bytes(), &CONTEXT).expect("a request");
        for format in Format::ALL {
            let takes = matches!(format, Format::OpenAiChat | Format::OpenAiResponses);
            match translated(&request, format) {
                Ok(_) => assert!(takes, "{format}: {body}"),
                Err(error) => assert_eq!((takes, error.param.as_deref()), (false, Some(param)), "{format}: {body}"),
            }
        }
    }
    // Where there is a system text, it is what is asked.
    let body =
        json!({"model": "m", "messages": [{"role": "system", "content": "Say hi."}, {"role": "user", "content": ""}]});
    let sent = body_for(&Dialect::Chat, &body, Format::Anthropic);
    assert_eq!((&sent["messages"][0]["content"][0]["text"], sent.get("system")), (&json!("Say hi."), None));
}

#[test]
fn an_error_in_mid_stream_is_the_last_thing_that_a_client_sees() {
    let mut stream = chat_stream(&[delta(json!({"content": "half"}))]);
    stream.truncate(stream.len() - "data: [DONE]\n\n".len());
    for (client, dialect) in crate::fixtures::dialects() {
        let (mut decoder, mut encoder, mut out) =
            (decoder(Format::OpenAiChat), dialect.encoder(exchange(NameTable::default())), Vec::new());
        let mut errors = 0;
        let mut pass = |event: Event<'_>| {
            errors += usize::from(matches!(event, Event::Error(_)));
            encoder.event(&event, &mut out);
        };
        decoder.feed(&stream, &mut pass);
        decoder.end(&mut pass);
        encoder.end(&mut out);
        assert_eq!(errors, 1, "{client}");
        let text = String::from_utf8(out).expect("text");
        for good_end in ["[DONE]", "message_stop", "response.completed", "\"done\":true", "finishReason\":\"STOP"] {
            assert!(!text.contains(good_end), "{client}: {text}");
        }
        assert!(text.trim_end().lines().last().is_some_and(|line| line.contains("error")), "{client}: {text}");
    }
}

#[test]
fn a_result_that_is_no_object_is_wrapped_for_gemini_and_comes_out_as_it_was() {
    for content in ["plain", "[1, 2]", "null", "{\"a\":1}", "42", ""] {
        let body = json!({"model": "m", "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": content}]});
        let sent = body_for(&Dialect::Chat, &body, Format::Gemini);
        let response = &sent["contents"][2]["parts"][0]["functionResponse"]["response"];
        assert!(response.is_object(), "{content}: {response}");
    }
}
