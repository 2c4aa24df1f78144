use super::*;
use crate::ir::{CallKind, FinishReason, PartKind};

const BODY: &str = r#"{"model":"m","instructions":"s","input":[
    {"type":"message","role":"user","content":[{"type":"input_text","text":"hé"},{"type":"input_image","image_url":"data:image/png;base64,AA=="}]},
    {"type":"reasoning","summary":[{"type":"summary_text","text":"t"}],"encrypted_content":"e"},
    {"type":"function_call","call_id":"c","name":"f","namespace":"n","arguments":"{}"},
    {"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"x"}]},
    {"type":"web_search_call","id":"ws"}],
    "tools":[{"type":"function","name":"f","parameters":{"type":"object"}},{"type":"namespace","name":"n","tools":[{"type":"custom","name":"c"}]}],
    "tool_choice":{"type":"function","name":"f"},"reasoning":{"effort":"low"},"text":{"format":{"type":"text"}},"include":["x"]}"#;

#[test]
fn a_broken_body_is_an_error_and_never_a_panic() {
    for end in 0..BODY.len() {
        let cut = &BODY.as_bytes()[..end];
        assert!(decode_request(cut, &CONTEXT).is_err(), "cut at {end}");
        let _ = (continuation(cut), echo(cut), input_items(cut), output_items(cut), with_history(cut, &[], &|_| None));
    }
    for at in 0..BODY.len() {
        for byte in [b'"', b'{', b']', b'0', 0xff, b'\\', b'n'] {
            let mut body = BODY.as_bytes().to_vec();
            body[at] = byte;
            if let Ok(request) = decode_request(&body, &CONTEXT) {
                let _ = encoded(&request, &Profile::default());
            }
        }
    }
}

#[test]
fn every_value_may_be_of_any_type() {
    let body: Value = serde_json::from_str(BODY).expect("JSON");
    let mut paths = Vec::new();
    collect_paths(&body, String::new(), &mut paths);
    for path in paths.iter().filter(|path| !path.is_empty()) {
        for odd in [
            Value::Null,
            7.into(),
            (-1.5).into(),
            true.into(),
            "text".into(),
            Vec::<Value>::new().into(),
            serde_json::json!({}),
            serde_json::json!([[{"type": "x"}]]),
        ] {
            let mut body = body.clone();
            *body.pointer_mut(path).expect("there") = odd;
            let text = body.to_string();
            match decode_request(text.as_bytes(), &CONTEXT) {
                Ok(request) => {
                    let _ = encoded(&request, &Profile::default());
                }
                Err(error) => assert!(error.param.is_some(), "{path}: {error}"),
            }
        }
    }
}

fn collect_paths(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| collect_paths(value, format!("{path}/{key}"), paths))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| collect_paths(value, format!("{path}/{index}"), paths));
        }
        _ => {}
    }
    paths.push(path);
}

#[test]
fn depth_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for body in [
        format!(r#"{{"model":"m","input":{deep}}}"#),
        format!(r#"{{"model":"m","input":[{deep}]}}"#),
        format!(r#"{{"model":"m","input":[{{"role":"user","content":{deep}}}]}}"#),
        format!(
            r#"{{"model":"m","input":[{{"role":"user","content":[{{"type":"input_text","text":"x","annotations":{deep}}}]}}]}}"#
        ),
        format!(r#"{{"model":"m","input":"x","tool_choice":{deep}}}"#),
    ] {
        let _ = decode_request(body.as_bytes(), &CONTEXT);
        let _ = (continuation(body.as_bytes()), echo(body.as_bytes()), input_items(body.as_bytes()));
        let mut decoder = Decoder::default();
        decoder.feed(
            format!("data: {{\"type\":\"response.output_item.done\",\"item\":{deep}}}\n\n").as_bytes(),
            &mut |_| {},
        );
        decoder.end(&mut |_| {});
    }
    // Carried raw, depth does not matter at all.
    let body = format!(
        r#"{{"model":"m","input":[{{"type":"odd","x":{deep}}}],"y":{deep},"tools":[{{"type":"odd","x":{deep}}}]}}"#
    );
    let request = request(&body);
    let names = names_of(&request);
    let target = EncodeTarget { model: "m", profile: &Profile::default(), names: &names, stream: true };
    let written = encode_request(&request, &target, &mut Losses::default()).expect("encoded").body;
    assert!(written.len() > 60_000);
}

#[test]
fn a_stream_of_rubbish_never_breaks_the_order_of_events() {
    let kinds = [
        "created",
        "in_progress",
        "output_item.added",
        "output_item.done",
        "content_part.added",
        "content_part.done",
        "output_text.delta",
        "output_text.done",
        "refusal.delta",
        "refusal.done",
        "output_text.annotation.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_text.delta",
        "reasoning_text.done",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "custom_tool_call_input.delta",
    ];
    let items = [
        r#"{"type":"message","content":[{"type":"output_text","text":"whole","annotations":[{"type":"url_citation","url":"u"}]}]}"#,
        r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"sum"}],"encrypted_content":"e"}"#,
        r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"}"#,
        r#"{"type":"custom_tool_call","call_id":"c","name":"f","input":"é"}"#,
        r#"{"type":"web_search_call"}"#,
        "7",
        r#"{"type":"message","content":{"odd":1}}"#,
    ];
    // A small generator: the same numbers every time.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for _ in 0..400 {
        let mut stream = String::new();
        for _ in 0..next(40) {
            let (kind, item) = (kinds[next(kinds.len())], items[next(items.len())]);
            let (output, content) = (next(4), next(3));
            let delta = ["\"x\"", "\"\"", "7", "\"é\"", "null"][next(5)];
            stream.push_str(&format!(
                "data: {{\"type\":\"response.{kind}\",\"output_index\":{output},\"content_index\":{content},\"summary_index\":{content},\
                 \"item\":{item},\"part\":{{\"type\":\"output_text\",\"text\":\"éx\"}},\"delta\":{delta},\"text\":\"xéx\",\
                 \"arguments\":\"xx\",\"annotation\":{{\"type\":\"url_citation\"}},\"response\":{{\"id\":\"r\"}}}}\n\n"
            ));
        }
        stream.push_str("data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\"}}\n\n");
        // Checks the order of every event, and what the encoder makes of it.
        decoded(stream.as_bytes(), usize::MAX);
        let (mut decoder, mut encoder, mut out) = (Decoder::default(), Encoder::new(exchange()), Vec::new());
        decoder.feed(stream.as_bytes(), &mut |event| encoder.event(&event, &mut out));
        decoder.end(&mut |event| encoder.event(&event, &mut out));
        encoder.end(&mut out);
        assert_eq!(frames(&out).last().expect("an end")["type"], "response.completed");
    }
}

#[test]
fn a_stream_that_opens_too_much_is_bounded() {
    let mut decoder = Decoder::default();
    let mut parts = 0;
    let mut count = |event: Event<'_>| parts += u32::from(matches!(event, Event::PartStart { .. }));
    for index in (0..6000_u64).chain([u64::from(u32::MAX)]) {
        let event = format!(
            "data: {{\"type\":\"response.output_item.added\",\"output_index\":{index},\"item\":{{\"type\":\"function_call\",\"call_id\":\"c{index}\",\"name\":\"f\"}}}}\n\n"
        );
        decoder.feed(event.as_bytes(), &mut count);
    }
    decoder.end(&mut count);
    assert_eq!(parts, 4096);
}

#[test]
fn events_out_of_place_do_not_break_the_encoder() {
    let signature = Signature { family: Family::Gemini, payload: "p".into() };
    let call = PartKind::ToolCall { id: "c".into(), name: "f".into(), kind: CallKind::Function };
    let odd = [
        Event::TextDelta { choice: 0, part: 9, text: "x".into() },
        Event::ArgsDelta { choice: 0, part: 9, text: "x".into() },
        Event::PartStop { choice: 0, part: 9 },
        Event::SignatureDelta { choice: 0, part: 9, signature },
        Event::PartStart { choice: 3, part: 0, kind: PartKind::Text },
        Event::PartStart { choice: 0, part: 0, kind: call },
        Event::TextDelta { choice: 0, part: 0, text: "x".into() },
        Event::ThinkingDelta { choice: 0, part: 0, text: "x".into() },
        Event::Ping,
        Event::PartStop { choice: 0, part: 0 },
        Event::Finish { choice: 3, reason: FinishReason::End, stop_sequence: None },
        Event::Finish { choice: 0, reason: FinishReason::End, stop_sequence: None },
    ];
    let (mut encoder, mut out) = (Encoder::new(exchange()), Vec::new());
    odd.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.end(&mut out);
    let frames = frames(&out);
    assert_eq!(frames.last().expect("an end")["type"], "response.completed");
}
