use serde_json::json;

use super::*;

fn roles(body: &Value) -> Vec<&str> {
    body["messages"].as_array().expect("messages").iter().map(|m| m["role"].as_str().expect("a role")).collect()
}

fn kinds(message: &Value) -> Vec<&str> {
    message["content"].as_array().expect("blocks").iter().map(|b| b["type"].as_str().expect("a type")).collect()
}

#[test]
fn roles_alternate_and_all_results_of_a_round_stand_in_one_message_before_the_text() {
    let body = r#"{"model":"m","messages":[
        {"role":"user","content":"one"},{"role":"user","content":"two"},
        {"role":"assistant","content":"let me","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]},
        {"role":"user","content":"hurry"},
        {"role":"tool","tool_call_id":"b","content":"2"},
        {"role":"tool","tool_call_id":"a","content":"1"},
        {"role":"user","content":"so?"}]}"#;
    let (written, _, losses) = encode(&chat(body), &profile());
    assert_eq!(roles(&written), ["user", "assistant", "user"]);
    assert_eq!(kinds(&written["messages"][0]), ["text", "text"]);
    assert_eq!(kinds(&written["messages"][1]), ["text", "tool_use", "tool_use"]);
    assert_eq!(kinds(&written["messages"][2]), ["tool_result", "tool_result", "text", "text"]);
    assert_eq!(written["messages"][2]["content"][0]["tool_use_id"], "a", "in the order of the calls");
    assert_eq!(losses, Vec::<String>::new());
}

#[test]
fn rounds_stay_apart_and_a_late_result_finds_its_call() {
    let body = r#"{"model":"m","messages":[
        {"role":"user","content":"q"},
        {"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"late","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"a","content":"1"},
        {"role":"assistant","tool_calls":[{"id":"b","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"b","content":"2"},
        {"role":"tool","tool_call_id":"late","content":"3"}]}"#;
    let (written, ..) = encode(&chat(body), &profile());
    assert_eq!(roles(&written), ["user", "assistant", "user", "assistant", "user"]);
    assert_eq!(written["messages"][2]["content"][1]["content"], "3");
    assert_eq!(kinds(&written["messages"][4]), ["tool_result"]);
}

#[test]
fn a_call_without_result_gets_one_and_a_result_without_call_becomes_text() {
    let body = r#"{"model":"m","messages":[
        {"role":"tool","tool_call_id":"gone","content":"old"},
        {"role":"user","content":"q"},
        {"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"user","content":"never mind"}]}"#;
    let (written, _, losses) = encode(&chat(body), &profile());
    assert_eq!(roles(&written), ["user", "assistant", "user"]);
    let first = written["messages"][0]["content"][0]["text"].as_str().expect("text");
    assert!(first.ends_with("\nold"), "{first}");
    assert_eq!(kinds(&written["messages"][2]), ["tool_result", "text"]);
    assert_eq!(written["messages"][2]["content"][0]["is_error"], true);
    assert_eq!(losses, ["tool_result.tool_use_id", "tool_calls.result"]);
}

#[test]
fn ids_become_legal_and_unique_on_both_sides_of_a_round() {
    let round = |id: &str| {
        format!(
            r#"{{"role":"assistant","tool_calls":[{{"id":"{id}","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}]}},{{"role":"tool","tool_call_id":"{id}","content":"{id}"}}"#
        )
    };
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"q"}},{},{},{}]}}"#,
        round("functions.f:0"),
        round("call_0"),
        round("call_0")
    );
    let (written, ..) = encode(&chat(&body), &profile());
    let mut seen = std::collections::HashSet::new();
    for at in [1, 3, 5] {
        let id = written["messages"][at]["content"][0]["id"].as_str().expect("an id");
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'), "{id}");
        assert!(seen.insert(id), "{id} twice");
        assert_eq!(written["messages"][at + 1]["content"][0]["tool_use_id"], id);
    }
}

#[test]
fn empty_texts_go_and_the_user_begins() {
    let body = r#"{"model":"m","messages":[
        {"role":"assistant","content":"Hello! "},
        {"role":"user","content":[{"type":"text","text":" \n"},{"type":"text","text":"q"}]},
        {"role":"assistant","content":""},
        {"role":"user","content":"again"},
        {"role":"assistant","content":"The answer is  \n"}]}"#;
    let (written, ..) = encode(&chat(body), &profile());
    assert_eq!(roles(&written), ["user", "assistant", "user", "assistant"]);
    assert_eq!(written["messages"][1]["content"][0]["text"], "Hello! ");
    assert_eq!(written["messages"][2]["content"].as_array().map(Vec::len), Some(2));
    assert_eq!(written["messages"][3]["content"][0]["text"], "The answer is", "no white space at the end of a prefill");
}

#[test]
fn an_answer_that_has_begun_is_left_out_where_the_model_does_not_go_on_from_it() {
    let body =
        r#"{"model":"m","messages":[{"role":"user","content":"q"},{"role":"assistant","content":"The answer is"}]}"#;
    let newer = Profile { prefill: false, ..profile() };
    let (written, _, lost) = encode(&chat(body), &newer);
    assert_eq!((roles(&written), lost), (vec!["user"], vec!["assistant_prefill".to_owned()]));
    // Calls without results are no beginning of an answer: results are put in for them.
    let called = r#"{"model":"m","messages":[{"role":"user","content":"q"},
        {"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]}]}"#;
    let (written, _, lost) = encode(&chat(called), &newer);
    assert_eq!(roles(&written), ["user", "assistant", "user"]);
    assert!(!lost.contains(&"assistant_prefill".to_owned()), "{lost:?}");
    assert_eq!(roles(&encode(&chat(body), &profile()).0), ["user", "assistant"]);
}

#[test]
fn a_system_text_alone_is_the_prompt() {
    let (written, ..) =
        encode(&chat(r#"{"model":"m","messages":[{"role":"system","content":"Translate."}]}"#), &profile());
    assert_eq!(written["messages"], json!([{"role": "user", "content": [{"type": "text", "text": "Translate."}]}]));
    assert!(written.get("system").is_none());
}

const MIDDLE: &str = r#"{"model":"m","messages":[
    {"role":"system","content":"front"},{"role":"developer","content":"too"},
    {"role":"user","content":"q"},{"role":"system","content":"middle"},{"role":"assistant","content":"a"},
    {"role":"developer","content":"behind an answer"},{"role":"user","content":"q2"},{"role":"system","content":"end"}]}"#;

#[test]
fn a_system_text_in_the_middle_is_a_marked_block_of_the_user() {
    let (written, header, _) = encode(&chat(MIDDLE), &profile());
    assert_eq!(written["system"].as_array().map(Vec::len), Some(2));
    assert_eq!(roles(&written), ["user", "assistant", "user"]);
    let wrapped = |text: &str| format!("<system-instruction>\n{text}\n</system-instruction>");
    assert_eq!(written["messages"][0]["content"][1]["text"], wrapped("middle"));
    assert_eq!(written["messages"][2]["content"][0]["text"], wrapped("behind an answer"));
    assert_eq!(written["messages"][2]["content"][2]["text"], wrapped("end"));
    assert_eq!(header, "");
}

#[test]
fn a_system_text_in_the_middle_is_a_turn_where_the_model_takes_one_there() {
    let profile = Profile { mid_conversation_system: true, ..profile() };
    let (written, header, _) = encode(&chat(MIDDLE), &profile);
    assert_eq!(roles(&written), ["user", "system", "assistant", "user", "system"]);
    assert_eq!(written["messages"][1]["content"][0]["text"], "middle");
    assert!(
        written["messages"][3]["content"][0]["text"].as_str().is_some_and(|text| text.contains("behind an answer"))
    );
    assert_eq!(header, "mid-conversation-system-2026-04-07");
}

#[test]
fn system_text_between_a_call_and_its_result_does_not_part_them() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"q"},
        {"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"system","content":"note"},
        {"role":"tool","tool_call_id":"a","content":"1"}]}"#;
    for mid_conversation_system in [true, false] {
        let (written, ..) = encode(&chat(body), &Profile { mid_conversation_system, ..profile() });
        assert_eq!(roles(&written), ["user", "assistant", "user"]);
        assert_eq!(kinds(&written["messages"][2]), ["tool_result", "text"]);
    }
}

#[test]
fn the_output_limit_is_always_given() {
    let limit = |body: &str, profile: &Profile, stream: bool| {
        let request = chat(body);
        let names = NameTable::default();
        let target = EncodeTarget { model: "claude", profile, names: &names, stream };
        let encoded = encode_request(&request, &target, &mut Losses::default()).expect("encoded");
        let written: Value = serde_json::from_slice(&encoded.body).expect("JSON");
        assert_eq!(written.get("stream").is_some(), stream);
        written["max_tokens"].as_u64().expect("a limit")
    };
    let none = r#"{"model":"m","messages":[{"role":"user","content":"q"}]}"#;
    let given = r#"{"model":"m","messages":[{"role":"user","content":"q"}],"max_completion_tokens":90000}"#;
    let unknown = Profile { max_output_tokens: None, ..profile() };
    assert_eq!(limit(none, &profile(), true), 64_000);
    assert_eq!(limit(none, &profile(), false), 21_333, "longer ones take over ten minutes");
    assert_eq!(limit(none, &unknown, false), 8_192);
    assert_eq!(limit(given, &profile(), false), 64_000, "the model's own limit holds");
    assert_eq!(limit(given, &unknown, false), 90_000);
}

#[test]
fn sampling_keeps_to_its_ranges_and_the_harmless_rest_is_listed() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"q","name":"bob"}],"temperature":1.7,"top_p":0.9,"top_k":5,"seed":1,"min_p":0.1,
        "frequency_penalty":1,"presence_penalty":0,"logit_bias":{"1":2},"repetition_penalty":1.1,"n":1,"stop":["END"],"user":"u",
        "metadata":{"a":"b"},"service_tier":"flex","prompt_cache_key":"k","store":false,"verbosity":"low"}"#;
    let (written, _, mut losses) = encode(&chat(body), &profile());
    assert_eq!((&written["temperature"], &written["top_k"]), (&json!(1.0), &json!(5)));
    assert_eq!(written["stop_sequences"], json!(["END"]));
    assert_eq!(written["metadata"], json!({"user_id": "u"}));
    losses.sort_unstable();
    assert_eq!(
        losses,
        [
            "frequency_penalty",
            "logit_bias",
            "messages.name",
            "metadata",
            "min_p",
            "prompt_cache_key",
            "repetition_penalty",
            "seed",
            "service_tier",
            "temperature",
            "top_p",
            "verbosity",
        ]
    );
    let fixed = Profile { fixed_sampling: true, ..profile() };
    let (written, _, losses) = encode(&chat(body), &fixed);
    assert!(["temperature", "top_p", "top_k"].iter().all(|field| written.get(*field).is_none()));
    assert!(losses.contains(&"top_k".to_owned()));
}

#[test]
fn what_means_something_and_cannot_be_said_is_refused() {
    let with = |rest: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"q"}}],{rest}}}"#);
    let content = |part: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{part}]}}]}}"#);
    for (body, param) in [
        (with(r#""n":2"#), "n"),
        (with(r#""logprobs":true"#), "logprobs"),
        (with(r#""modalities":["text","audio"]"#), "modalities"),
        (with(r#""stop":["END"," \n"]"#), "stop.1"),
        (with(r#""stop":"""#), "stop.0"),
        (content(r#"{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}"#), "audio"),
        (content(r#"{"type":"video_url","video_url":{"url":"https://x/v.mp4"}}"#), "video"),
        (content(r#"{"type":"file","file":{"file_id":"file-openai"}}"#), "document"),
        (content(r#"{"type":"file","file":{"file_data":"data:application/msword;base64,AA=="}}"#), "document"),
        (content(r#"{"type":"image_url","image_url":{"url":"data:image/tiff;base64,AA=="}}"#), "image"),
    ] {
        let error = try_encode(&chat(&body), &profile()).expect_err(&body);
        assert_eq!(error.param.as_deref(), Some(param), "{body}: {error}");
    }
}

#[test]
fn media_of_another_dialect_become_blocks() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":[
        {"type":"image_url","image_url":{"url":"data:image/jpg;base64,AA==","detail":"low"}},
        {"type":"image_url","image_url":{"url":"https://x/i.png"}},
        {"type":"file","file":{"file_data":"data:application/pdf;base64,BB==","filename":"a.pdf"}},
        {"type":"file","file":{"file_data":"data:text/plain;base64,aMOpIQ==","filename":"a.txt"}},
        {"type":"file","file":{"file_data":"data:image/png;base64,CC=="}}]}]}"#;
    let (written, _, losses) = encode(&chat(body), &profile());
    let blocks = &written["messages"][0]["content"];
    assert_eq!(blocks[0]["source"], json!({"type": "base64", "media_type": "image/jpeg", "data": "AA=="}));
    assert_eq!(blocks[1]["source"], json!({"type": "url", "url": "https://x/i.png"}));
    assert_eq!((&blocks[2]["type"], &blocks[2]["title"]), (&json!("document"), &json!("a.pdf")));
    assert_eq!(blocks[3]["source"], json!({"type": "text", "media_type": "text/plain", "data": "hé!"}));
    assert_eq!(blocks[4]["type"], "image");
    assert_eq!(losses, ["image_url.detail"]);
}

fn marks(body: &Value) -> usize {
    body.to_string().matches("\"cache_control\"").count()
}

#[test]
fn a_request_of_another_dialect_with_tools_is_marked_for_the_cache() {
    let body = r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"1"},{"role":"assistant","content":"a"},
        {"role":"user","content":"2"},{"role":"assistant","content":"b"},{"role":"user","content":"3"}],
        "tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]}"#;
    let (written, ..) = encode(&chat(body), &profile());
    let mark = json!({"type": "ephemeral"});
    assert_eq!(marks(&written), 4);
    assert_eq!(written["system"][0]["cache_control"], mark);
    assert_eq!(written["tools"][1]["cache_control"], mark);
    assert_eq!(written["messages"][2]["content"][0]["cache_control"], mark);
    assert_eq!(written["messages"][4]["content"][0]["cache_control"], mark);
    let off = Profile { automatic_cache_marks: false, ..profile() };
    assert_eq!(marks(&encode(&chat(body), &off).0), 0);
    let short = r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"1"},{"role":"assistant","content":"a"},{"role":"user","content":"2"}]}"#;
    let (written, ..) = encode(&chat(short), &profile());
    assert_eq!((marks(&written), &written["system"]), (0, &json!("s")), "a short chat pays more than it saves");
}

#[test]
fn a_clients_own_marks_are_the_only_ones_and_never_more_than_four() {
    let own = r#"{"model":"m","messages":[{"role":"system","content":"s"},
        {"role":"user","content":[{"type":"text","text":"1","cache_control":{"type":"ephemeral","ttl":"1h"}},{"type":"text","text":"2"}]}],
        "tools":[{"type":"function","function":{"name":"f"}}]}"#;
    let (written, ..) = encode(&chat(own), &profile());
    assert_eq!(marks(&written), 1);
    assert_eq!(written["messages"][0]["content"][0]["cache_control"], json!({"type": "ephemeral", "ttl": "1h"}));
    let part = r#"{"type":"text","text":"t","cache_control":{"type":"ephemeral"}}"#;
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"system","content":[{part}]}},{{"role":"user","content":[{part},{part},{part},{part},{part}]}}],
        "tools":[{{"type":"function","cache_control":{{"type":"ephemeral"}},"function":{{"name":"f"}}}}]}}"#
    );
    let (written, ..) = encode(&chat(&body), &profile());
    assert_eq!(marks(&written), 4);
    let blocks = written["messages"][0]["content"].as_array().expect("blocks");
    assert!(blocks[0].get("cache_control").is_none() && blocks[4].get("cache_control").is_some(), "the last ones stay");
}

#[test]
fn a_request_read_again_says_the_same() {
    let body = r#"{"model":"m","max_tokens":5000,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],
        "messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"g"},{"type":"text","text":"x"},{"type":"tool_use","id":"a","name":"f","input":{"b":[1,2.0]}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"r"}]},{"type":"text","text":"more"}]}],
        "tools":[{"name":"f","description":"d","input_schema":{"type":"object"}}],"tool_choice":{"type":"auto"},
        "thinking":{"type":"enabled","budget_tokens":2000},"stop_sequences":["A","B"],"metadata":{"user_id":"u"}}"#;
    let request = read(body);
    let (encoded, losses) = try_encode(&request, &profile()).expect("encoded");
    assert!(losses.is_empty(), "{losses:?}");
    let again = decode_request(&encoded.body, &CONTEXT).expect("read again");
    assert_eq!(request.turns, again.turns);
    assert_eq!(request.system, again.system);
    assert_eq!(request.tools, again.tools);
    assert_eq!((request.tool_choice, request.reasoning), (again.tool_choice, again.reasoning));
    assert_eq!((request.stop, request.user), (again.stop, again.user));
}
