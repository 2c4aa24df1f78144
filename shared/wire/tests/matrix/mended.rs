//! Requests that are good in their client's dialect and that upstreams are known to refuse as they are: what is mended.

use omniroute_wire::{
    codec::EncodeTarget,
    ir::{Format, Losses, Profile},
    translate::{Dialect, encode_request, name_table},
};
use serde_json::{Value, json};

use crate::fixtures::CONTEXT;

/// A request for an upstream with that profile, and what was lost.
fn written(dialect: &Dialect, body: &Value, format: Format, profile: &Profile) -> (Value, Vec<String>) {
    let body = body.to_string();
    let request = dialect.decode_request(body.as_bytes(), &CONTEXT).expect("a request");
    let names = name_table(format, &request);
    let target = EncodeTarget { model: "up", profile, names: &names, stream: false };
    let mut losses = Losses::default();
    let encoded = encode_request(format, &request, &target, &mut losses).expect("written");
    let losses = losses.names().map(str::to_owned).collect();
    (serde_json::from_slice(&encoded.body).expect("JSON"), losses)
}

fn open_host() -> Profile {
    Profile::default()
}

fn openai() -> Profile {
    Profile { system_anywhere: true, developer_role: true, alternatives_at_top: false, ..Profile::default() }
}

/// Role and content of each message.
fn messages(body: &Value) -> Vec<(String, Value)> {
    let all = body["messages"].as_array().expect("messages");
    all.iter().map(|one| (one["role"].as_str().expect("a role").to_owned(), one["content"].clone())).collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, Value)> {
    all.iter().map(|(role, content)| ((*role).to_owned(), json!(content))).collect()
}

// === system texts ===

#[test]
fn claude_codes_system_of_two_blocks_is_one_message_at_hosts_that_take_one() {
    let body = json!({
        "model": "m", "max_tokens": 9,
        "system": [{"type": "text", "text": "You are a coder."}, {"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": "hi"}],
    });
    let joined = pairs(&[("system", "You are a coder.\n\nBe brief."), ("user", "hi")]);
    for format in [Format::OpenAiChat, Format::Ollama] {
        let (sent, lost) = written(&Dialect::Messages, &body, format, &open_host());
        assert_eq!((messages(&sent), lost), (joined.clone(), vec![]), "{format}");
    }
    let (sent, _) = written(&Dialect::Messages, &body, Format::OpenAiResponses, &open_host());
    assert_eq!(sent["instructions"], "You are a coder.\n\nBe brief.");
    let (sent, _) = written(&Dialect::Messages, &body, Format::OpenAiChat, &openai());
    let two = pairs(&[("system", "You are a coder."), ("system", "Be brief."), ("user", "hi")]);
    assert_eq!(messages(&sent), two, "OpenAI's own take several");
}

#[test]
fn codexs_developer_messages_are_joined_in_front_and_the_users_later() {
    let message = |role: &str, text: &str| json!({"type": "message", "role": role, "content": text});
    let body = json!({
        "model": "m", "instructions": "Rules.",
        "input": [
            message("developer", "Sandbox."), message("user", "hi"), message("assistant", "hello"),
            message("developer", "Plan mode."), message("user", "go"), message("developer", "Done?"),
        ],
    });
    let (sent, lost) = written(&Dialect::Responses, &body, Format::OpenAiChat, &open_host());
    let expected = pairs(&[
        ("system", "Rules.\n\nSandbox."),
        ("user", "hi"),
        ("assistant", "hello"),
        ("user", "<system>\nPlan mode.\n</system>\n\ngo\n\n<system>\nDone?\n</system>"),
    ]);
    assert_eq!((messages(&sent), lost), (expected, vec![]));
    let (sent, _) = written(&Dialect::Responses, &body, Format::Ollama, &open_host());
    let roles: Vec<_> = messages(&sent).into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    let (sent, _) = written(&Dialect::Responses, &body, Format::OpenAiChat, &openai());
    let roles: Vec<_> = messages(&sent).into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles, ["system", "developer", "user", "assistant", "developer", "user", "developer"], "OpenAI's own");
}

#[test]
fn a_responses_host_of_open_models_gets_one_text_in_front_too() {
    let message = |role: &str, text: &str| json!({"role": role, "content": text});
    let body = json!({"model": "m", "messages": [
        message("system", "Rules."), message("developer", "Sandbox."), message("user", "hi"),
        message("assistant", "hello"), message("developer", "Plan mode."), message("user", "go"),
    ]});
    let roles = |sent: &Value| {
        let items = sent["input"].as_array().expect("items");
        items.iter().map(|item| item["role"].as_str().expect("a role").to_owned()).collect::<Vec<_>>()
    };
    let (sent, lost) = written(&Dialect::Chat, &body, Format::OpenAiResponses, &open_host());
    assert_eq!((sent["instructions"].as_str(), lost), (Some("Rules.\n\nSandbox."), vec![]));
    assert_eq!(roles(&sent), ["user", "assistant", "user"]);
    assert_eq!(sent["input"][2]["content"][0]["text"], "<system>\nPlan mode.\n</system>\n\ngo");
    let (sent, _) = written(&Dialect::Chat, &body, Format::OpenAiResponses, &openai());
    assert_eq!(sent["instructions"], "Rules.");
    assert_eq!(roles(&sent), ["developer", "user", "assistant", "developer", "user"], "OpenAI's own");
}

#[test]
fn no_system_text_stands_between_a_call_and_its_results() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": null, "tool_calls": [call("a"), call("b")]},
        {"role": "system", "content": "Careful."},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "user", "content": "go on"},
    ]});
    for (format, profile, last) in [
        // Its own dialect's client put it there.
        (Format::OpenAiChat, open_host(), &["system", "user"][..]),
        (Format::OpenAiChat, openai(), &["system", "user"]),
        (Format::Ollama, open_host(), &["user"]),
    ] {
        let (sent, lost) = written(&Dialect::Chat, &body, format, &profile);
        let roles: Vec<_> = messages(&sent).into_iter().map(|(role, _)| role).collect();
        assert_eq!(roles, [&["user", "assistant", "tool", "tool"], last].concat(), "{format}: {sent}");
        assert!(lost.is_empty(), "{format}: {lost:?}");
    }
}

#[test]
fn templates_that_want_the_roles_by_turns_get_them_so() {
    let text = |text: &str| json!([{"type": "text", "text": text}]);
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}});
    let body = json!({"model": "m", "max_tokens": 99, "messages": [
        {"role": "user", "content": "one"}, {"role": "user", "content": text("two")},
        {"role": "assistant", "content": "hm"}, {"role": "assistant", "content": text("so")},
        {"role": "user", "content": [image]}, {"role": "user", "content": "three"}, {"role": "system", "content": "Brief."},
    ]});
    let roles = |sent: &Value, field: &str| {
        let all = sent[field].as_array().expect("messages");
        all.iter().map(|one| one["role"].as_str().expect("a role").to_owned()).collect::<Vec<_>>()
    };
    for (format, field) in
        [(Format::OpenAiChat, "messages"), (Format::Ollama, "messages"), (Format::OpenAiResponses, "input")]
    {
        let (sent, lost) = written(&Dialect::Messages, &body, format, &open_host());
        assert_eq!(roles(&sent, field), ["user", "assistant", "user"], "{format}: {sent}");
        assert!(lost.is_empty(), "{format}: {lost:?}");
        let all = sent[field].to_string();
        for said in ["one\\n\\ntwo", "hm", "so", "three", "Brief."] {
            assert!(all.contains(said), "{format}: {said}: {all}");
        }
    }
    let (sent, _) = written(&Dialect::Messages, &body, Format::OpenAiChat, &openai());
    assert_eq!(
        roles(&sent, "messages"),
        ["user", "user", "assistant", "assistant", "user", "user", "system"],
        "as they came"
    );
}

// === schemas ===

#[test]
fn schemas_that_openai_refuses_are_completed() {
    let tool = |schema: Value| json!({"name": "t", "input_schema": schema});
    let body = |schema: Value| json!({"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}], "tools": [tool(schema)]});
    let empty = json!({"type": "object", "properties": {}});
    for (given, expected, listed) in [
        (json!({"type": "object"}), empty.clone(), vec![]),
        (json!({}), empty, vec![]),
        (
            json!({"type": "object", "properties": {"l": {"type": "array"}}}),
            json!({"type": "object", "properties": {"l": {"type": "array", "items": {}}}}),
            vec![],
        ),
        (
            json!({"type": "object", "anyOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}),
            json!({"type": "object", "properties": {"a": {}, "b": {}}}),
            vec!["tools.t.anyOf".to_owned()],
        ),
    ] {
        for (format, place) in [
            (Format::OpenAiChat, "/tools/0/function/parameters"),
            (Format::OpenAiResponses, "/tools/0/parameters"),
            (Format::Cohere, "/tools/0/function/parameters"),
        ] {
            let (sent, lost) = written(&Dialect::Messages, &body(given.clone()), format, &openai());
            assert_eq!((sent.pointer(place), lost), (Some(&expected), listed.clone()), "{format}: {given}");
        }
    }
    let choice = json!({"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]});
    for (format, place) in
        [(Format::OpenAiChat, "/tools/0/function/parameters"), (Format::OpenAiResponses, "/tools/0/parameters")]
    {
        let (sent, lost) = written(&Dialect::Messages, &body(choice.clone()), format, &open_host());
        assert_eq!((sent.pointer(place), lost.len()), (Some(&choice), 0), "{format}: only OpenAI refuses it");
    }
    let (sent, _) = written(&Dialect::Messages, &body(json!({"type": "object"})), Format::Bedrock, &openai());
    assert_eq!(
        sent["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"],
        json!({"type": "object", "properties": {}})
    );
}

#[test]
fn a_chat_clients_parameters_may_be_empty_missing_or_null() {
    for parameters in [json!({}), json!({"type": "object"}), Value::Null] {
        let function = json!({"name": "t", "parameters": parameters});
        let body = json!({
            "model": "m", "messages": [{"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": "t"}},
        });
        for format in Format::ALL {
            let (sent, lost) = written(&Dialect::Chat, &body, format, &openai());
            let text = sent.to_string();
            assert!(
                !text.contains(r#""parameters":{}"#) && !text.contains(r#""parametersJsonSchema":{}"#),
                "{format}: {sent}"
            );
            let dropped = if format == Format::Ollama { vec!["tool_choice".to_owned()] } else { vec![] };
            assert_eq!(lost, dropped, "{format} {parameters}");
        }
    }
}

// === what a model refuses ===

#[test]
fn what_a_reasoning_model_refuses_is_left_out_and_listed() {
    let body = json!({
        "model": "m", "messages": [{"role": "user", "content": "hi"}],
        "stop": ["END"], "logprobs": true, "top_logprobs": 3, "logit_bias": {"1": 2}, "temperature": 0.5,
        "presence_penalty": 1.0,
    });
    let reasoning = Profile { fixed_sampling: true, stop: false, logprobs: false, ..openai() };
    let refused = ["stop", "logprobs", "top_logprobs", "logit_bias", "temperature", "presence_penalty"];
    for format in [Format::OpenAiChat, Format::OpenAiResponses] {
        let (sent, mut lost) = written(&Dialect::Chat, &body, format, &reasoning);
        for name in refused {
            assert!(sent.get(name).is_none(), "{format}: {sent}");
        }
        let included = sent["include"].to_string();
        assert!(!included.contains("logprobs"), "{format}: {sent}");
        lost.sort();
        let mut expected = refused.map(str::to_owned).to_vec();
        expected.sort();
        assert_eq!(lost, expected, "{format}");
    }
    let xai = Profile { stop: false, penalties: false, ..open_host() };
    let (sent, lost) = written(&Dialect::Chat, &body, Format::OpenAiChat, &xai);
    assert_eq!((sent["temperature"].as_f64(), sent["logprobs"].as_bool()), (Some(0.5), Some(true)));
    assert_eq!(lost, ["stop", "presence_penalty"]);
    let (_, lost) = written(&Dialect::Chat, &body, Format::OpenAiChat, &openai());
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn a_limit_that_is_lowered_is_listed_by_the_name_that_the_client_used() {
    let small = Profile { max_output_tokens: Some(100), ..open_host() };
    for name in ["max_tokens", "max_completion_tokens"] {
        let body = json!({"model": "m", name: 5000, "messages": [{"role": "user", "content": "hi"}]});
        for format in [Format::Anthropic, Format::Gemini, Format::OpenAiResponses] {
            let (_, lost) = written(&Dialect::Chat, &body, format, &small);
            assert_eq!(lost, [name], "{format}");
        }
    }
}

// === calls and results ===

#[test]
fn cut_histories_are_repaired_for_every_upstream_and_listed() {
    let body = json!({"model": "m", "max_tokens": 99, "messages": [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "gone", "content": "old"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}]},
        {"role": "user", "content": "never mind"},
    ]});
    let orphan = "[Result of a tool call that is not part of this conversation any more]\nold";
    let (sent, lost) = written(&Dialect::Messages, &body, Format::OpenAiChat, &openai());
    let expected = [
        ("user", json!(orphan)),
        ("assistant", Value::Null),
        ("tool", json!("Error: No result of this call was recorded.")),
        ("user", json!("never mind")),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(role, content)| (role.to_owned(), content)).collect();
    assert_eq!(messages(&sent), expected);
    assert_eq!(sent["messages"][2]["tool_call_id"], sent["messages"][1]["tool_calls"][0]["id"]);
    assert_eq!(lost, ["tool_result.tool_use_id", "tool_calls.result"]);
    let (sent, lost) = written(&Dialect::Messages, &body, Format::OpenAiResponses, &openai());
    let kinds: Vec<_> = sent["input"].as_array().expect("items").iter().map(|item| item["type"].as_str()).collect();
    let expected = ["message", "function_call", "function_call_output", "message"].map(Some);
    assert_eq!((kinds.as_slice(), lost.len()), (&expected[..], 2));
    let (sent, lost) = written(&Dialect::Messages, &body, Format::Ollama, &open_host());
    assert_eq!((sent["messages"][2]["role"].as_str(), lost.len()), (Some("tool"), 2));
    for format in [Format::Anthropic, Format::Bedrock, Format::Gemini, Format::Cohere] {
        let (sent, lost) = written(&Dialect::Messages, &body, format, &openai());
        assert!(lost.contains(&"tool_result.tool_use_id".to_owned()), "{format}: {lost:?}");
        assert!(lost.contains(&"tool_calls.result".to_owned()), "{format}: {lost:?} {sent}");
    }
}
