use super::*;

#[test]
fn bad_fields_are_named() {
    let message =
        |content: &str| format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":{content}}}]}}"#);
    let rest =
        |rest: &str| format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"q"}}],{rest}}}"#);
    for (body, param) in [
        (r#"{"max_tokens":9,"messages":[]}"#.to_owned(), "model"),
        (r#"{"model":"m","max_tokens":9}"#.to_owned(), "messages"),
        (r#"{"model":"m","max_tokens":9,"messages":[]}"#.to_owned(), "messages"),
        (r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":""}]}"#.to_owned(), "messages"),
        (r#"{"model":"m","messages":[{"role":"user","content":"q"}]}"#.to_owned(), "max_tokens"),
        (r#"{"model":"m","max_tokens":-1,"messages":[]}"#.to_owned(), "max_tokens"),
        (r#"{"model":"m","max_tokens":9,"messages":[{"role":"robot","content":"x"}]}"#.to_owned(), "messages.0.role"),
        (r#"{"model":"m","max_tokens":9,"messages":[{"content":"x"}]}"#.to_owned(), "messages.0.role"),
        (r#"{"model":"m","max_tokens":9,"messages":[{"role":"user"}]}"#.to_owned(), "messages.0.content"),
        (message("7"), "messages[0].content"),
        (message(r#"[{"text":"x"}]"#), "messages.0.content.0.type"),
        (message(r#"[{"type":"text"}]"#), "messages.0.content.0.text"),
        (message(r#"[{"type":"text","text":7}]"#), "messages.0.content.0.text"),
        (message(r#"[7]"#), "messages.0.content.0"),
        (message(r#"[{"type":"image"}]"#), "messages.0.content.0.source"),
        (message(r#"[{"type":"image","source":{"type":"smell"}}]"#), "messages.0.content.0.source.type"),
        (
            message(r#"[{"type":"image","source":{"type":"base64","data":"x"}}]"#),
            "messages.0.content.0.source.media_type",
        ),
        (message(r#"[{"type":"image","source":"x"}]"#), "messages.0.content.0.source"),
        (message(r#"[{"type":"tool_result","content":"x"}]"#), "messages.0.content.0.tool_use_id"),
        (message(r#"[{"type":"tool_result","tool_use_id":"a","content":7}]"#), "messages.0.content.0.content"),
        (
            message(r#"[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text"}]}]"#),
            "messages.0.content.0.content.0.text",
        ),
        (message(r#"[{"type":"tool_use","name":"f"}]"#), "messages.0.content.0.id"),
        (message(r#"[{"type":"tool_use","id":"a","name":"f","input":"x"}]"#), "messages.0.content.0.input"),
        (message(r#"[{"type":"thinking"}]"#), "messages.0.content.0.thinking"),
        (rest(r#""system":7"#), "system"),
        (rest(r#""system":[{"type":"image"}]"#), "system.0.text"),
        (rest(r#""tools":[7]"#), "tools.0"),
        (rest(r#""tools":[{"input_schema":{}}]"#), "tools.0.name"),
        (rest(r#""tool_choice":{"type":"maybe"}"#), "tool_choice.type"),
        (rest(r#""tool_choice":{"type":"tool"}"#), "tool_choice.name"),
        (rest(r#""temperature":1.5"#), "temperature"),
        (rest(r#""top_p":-0.1"#), "top_p"),
        (rest(r#""thinking":{"type":"deep"}"#), "thinking.type"),
        (rest(r#""thinking":{"type":"enabled"}"#), "thinking.budget_tokens"),
        (rest(r#""output_config":{"effort":"heroic"}"#), "output_config.effort"),
        (rest(r#""output_config":{"format":{"type":"xml"}}"#), "output_config.format.type"),
        (rest(r#""output_format":{"type":"json_schema"}"#), "output_config.format.schema"),
        (rest(r#""metadata":{"user_id":7}"#), "metadata.user_id"),
        (rest(r#""stop_sequences":[7]"#), "stop_sequences[0]"),
    ] {
        let error = decode_request(body.as_bytes(), &CONTEXT).expect_err(&body);
        assert_eq!(error.param.as_deref(), Some(param), "{body}: {error}");
    }
}

#[test]
fn unknown_fields_are_no_error() {
    let body = r#"{"model":"m","max_tokens":9,"new":1,"messages":[{"role":"user","x":1,"content":[{"type":"text","text":"q","y":{"z":1}}]}],
        "thinking":{"type":"adaptive","new":1},"tools":[{"name":"f","input_schema":{},"new":1}],"metadata":{"new":1},"output_config":{"new":1}}"#;
    let request = read(body);
    let (written, _, losses) = encode(&request, &Profile { thinking: ThinkingStyle::Adaptive, ..profile() });
    assert_eq!(losses, Vec::<String>::new());
    for place in [&written, &written["thinking"], &written["tools"][0], &written["metadata"], &written["output_config"]]
    {
        assert_eq!(place["new"], 1, "{written}");
    }
    assert_eq!(written["messages"][0]["content"][0]["y"]["z"], 1);
}

#[test]
fn nesting_and_broken_bytes_are_errors_and_never_panics() {
    let deep = "[".repeat(10_000);
    for body in [
        format!(r#"{{"model":"m","max_tokens":9,"messages":{deep}"#),
        format!(r#"{{"model":"m","max_tokens":9,"messages":{deep}{}}}"#, "]".repeat(10_000)),
        format!(r#"{{"model":"m","max_tokens":9,"system":{deep}{},"messages":[]}}"#, "]".repeat(10_000)),
    ] {
        assert!(decode_request(body.as_bytes(), &CONTEXT).is_err());
    }
    // Results inside results would be read one inside the other: they are not.
    let nested = r#"{"type":"tool_result","tool_use_id":"a","content":["#.repeat(10_000) + &"]}".repeat(10_000);
    let body = format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":[{nested}]}}]}}"#);
    let _ = decode_request(body.as_bytes(), &CONTEXT);
    let input = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let body = format!(
        r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"assistant","content":[{{"type":"tool_use","id":"a","name":"f","input":{input}}}]}}]}}"#
    );
    if let Ok(request) = decode_request(body.as_bytes(), &CONTEXT) {
        let _ = try_encode(&request, &profile());
    }
    for bytes in
        [&b""[..], b"{", b"null", b"[]", b"\xff", b"{\"model\":\"\xff\"}", b"{\"model\":\"m\",\"messages\":\"x\"}"]
    {
        let error = decode_request(bytes, &CONTEXT).expect_err("malformed");
        assert!(!error.message.is_empty());
        assert!(decode_response(bytes, &CONTEXT).is_err());
        let _ = decode_error(400, bytes);
    }
}

#[test]
fn every_cut_of_a_body_is_an_error_and_never_a_panic() {
    let body =
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"h\u00e9"}]}]}"#;
    for end in 0..body.len() {
        assert!(decode_request(&body.as_bytes()[..end], &CONTEXT).is_err(), "cut at {end}");
    }
}

#[test]
fn an_answer_that_is_none_is_an_error() {
    for body in [r#"{"type":"error","error":{"type":"api_error","message":"x"}}"#, "<html>", "{}", r#"{"content":7}"#] {
        assert!(decode_response(body.as_bytes(), &CONTEXT).is_err(), "{body}");
    }
}

/// Every place of a text, with something else there.
fn mutations(text: &str) -> impl Iterator<Item = String> + '_ {
    let odd = ["", "\"", "{", "]", ",", "null", "0", "\\", "\n", "\u{1F980}"];
    let places = text.char_indices().map(|(at, old)| (at, old.len_utf8()));
    places.flat_map(move |(at, length)| odd.map(|new| [&text[..at], new, &text[at + length..]].concat()))
}

#[test]
fn every_mutation_of_a_request_is_read_or_refused_and_what_is_read_can_be_written() {
    let body = r#"{"model":"m","max_tokens":9,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"text","text":"q"}]},
        {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"g"},{"type":"tool_use","id":"a","name":"f","input":{"b":1}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"r"}]}]}],
        "tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"tool","name":"f"},"thinking":{"type":"adaptive"}}"#;
    for mutated in mutations(body) {
        let Ok(request) = decode_request(mutated.as_bytes(), &CONTEXT) else { continue };
        if let Ok((encoded, _)) = try_encode(&request, &profile()) {
            let valid = serde_json::from_slice::<serde::de::IgnoredAny>(&encoded.body);
            assert!(valid.is_ok(), "{mutated}");
        }
    }
}

#[test]
fn every_mutation_of_a_stream_keeps_the_order_of_events_and_what_is_written_of_it_is_whole() {
    let stream = super::read_streams::STREAM;
    for mutated in mutations(stream).step_by(7) {
        // Checks the order; the encoder's output is put together like a client would.
        let all = events(&mutated, usize::MAX);
        if !all.iter().any(|event| matches!(event, Event::Error(_))) {
            let mut encoder = Encoder::new(exchange());
            let mut out = Vec::new();
            all.iter().for_each(|event| encoder.event(event, &mut out));
            encoder.end(&mut out);
            assert!(out.ends_with(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{mutated}");
        }
    }
}
