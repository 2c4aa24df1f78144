use std::sync::Arc;

use super::*;
use crate::{
    codec::{DecodeContext, EncodeTarget, NameTable, ResponseContext, Sealer, StreamDecoder, StreamEncoder},
    ir::{
        CallKind, Collector, Event, Family, FinishReason, Losses, Part, PartKind, Profile, Role, Signature, ToolChoice,
        Validator,
    },
};

struct NoSealer;

impl Sealer for NoSealer {
    fn seal(&self, signature: &Signature<'_>, _: &str) -> String {
        format!("sealed:{}", signature.payload)
    }

    fn open(&self, _: &str) -> Option<Signature<'static>> {
        None
    }
}

const CONTEXT: DecodeContext<'_> = DecodeContext { sealer: &NoSealer, answer: "" };

fn exchange() -> ResponseContext {
    ResponseContext {
        id: "1".into(),
        created: 7,
        model: "mock/m".into(),
        include_usage: true,
        show_thinking: true,
        estimated_input: 0,
        answer_tool: false,
        names: NameTable::default(),
        echo: Vec::new(),
        compacts: false,
        sealer: Arc::new(NoSealer),
    }
}

fn events(stream: &str, split: usize) -> Vec<String> {
    let (mut decoder, mut validator) = (Decoder::default(), Validator::default());
    let mut all = Vec::new();
    let mut emit = |event: Event<'_>| {
        validator.check(&event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        all.push(format!("{event:?}"));
    };
    for piece in stream.as_bytes().chunks(split.max(1)) {
        decoder.feed(piece, &mut emit);
    }
    decoder.end(&mut emit);
    validator.end().expect("a complete stream");
    all
}

const STREAM: &str = concat!(
    "data: {\"id\":\"c\",\"model\":\"m\",\"created\":5,\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"h\u{e9}\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"x\\\": 1.0}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":6,\"prompt_tokens_details\":{\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_tokens\":2}}}\n\n",
    "data: [DONE]\n\n",
);

#[test]
fn splitting_a_stream_anywhere_changes_no_event() {
    let whole = events(STREAM, usize::MAX);
    for split in 1..64 {
        assert_eq!(events(STREAM, split), whole, "pieces of {split}");
    }
}

#[test]
fn interleaved_calls_keep_their_bytes_and_stop_becomes_tool_calls() {
    let mut decoder = Decoder::default();
    let mut collector = Collector::default();
    decoder.feed(STREAM.as_bytes(), &mut |event| collector.push(&event));
    decoder.end(&mut |event| collector.push(&event));
    let response = collector.finish().expect("an answer");
    let choice = &response.choices[0];
    assert_eq!(choice.finish, Some(FinishReason::ToolCalls));
    let arguments: Vec<_> = choice
        .parts
        .iter()
        .filter_map(|part| if let Part::ToolCall { arguments, .. } = part { Some(arguments.as_ref()) } else { None })
        .collect();
    assert_eq!(arguments, ["{\"x\": 1.0}", "{}"]);
    let usage = response.usage;
    assert_eq!((usage.input, usage.cache_read, usage.output, usage.reasoning), (Some(6), Some(4), Some(4), Some(2)));
}

#[test]
fn a_stream_cut_before_its_finish_is_an_error() {
    let cut = &STREAM[..STREAM.find("finish_reason").expect("there") - 40];
    let mut decoder = Decoder::default();
    let mut last = String::new();
    decoder.feed(cut.as_bytes(), &mut |event| last = format!("{event:?}"));
    decoder.end(&mut |event| last = format!("{event:?}"));
    assert!(last.starts_with("Error"), "{last}");
}

#[test]
fn calls_without_ids_are_told_apart_by_name_or_by_being_whole() {
    let delta =
        |calls: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{calls}]}}}}]}}\n\n");
    let call = |head: &str, name: &str, arguments: &str| {
        format!(r#"{{{head}"function":{{"name":"{name}","arguments":"{arguments}"}}}}"#)
    };
    let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    let (x, y) = (r#"{\"x\":1}"#, r#"{\"y\":1}"#);
    for (stream, expected) in [
        (
            delta(&[call("\"id\":\"\",", "a", x), call("\"id\":\"\",", "b", y)].join(",")),
            vec![("a", "{\"x\":1}"), ("b", "{\"y\":1}")],
        ),
        (
            [x, y].map(|arguments| delta(&call("\"index\":0,\"id\":\"\",", "a", arguments))).concat(),
            vec![("a", "{\"x\":1}"), ("a", "{\"y\":1}")],
        ),
        // An id that comes late.
        (
            delta(r#"{"index":0,"function":{"name":"a"}}"#)
                + &delta(&format!(r#"{{"index":0,"id":"call_9","function":{{"arguments":"{x}"}}}}"#)),
            vec![("a", "{\"x\":1}")],
        ),
        // One call whose name is repeated with every piece.
        (
            [r#"{\"x\":"#, "{}", "}"].map(|arguments| delta(&call("\"index\":0,", "a", arguments))).concat(),
            vec![("a", "{\"x\":{}}")],
        ),
    ] {
        let mut decoder = Decoder::default();
        let mut collector = Collector::default();
        decoder.feed((stream + end).as_bytes(), &mut |event| collector.push(&event));
        decoder.end(&mut |event| collector.push(&event));
        let response = collector.finish().expect("an answer");
        let calls: Vec<_> = response.choices[0]
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::ToolCall { id, name, arguments, .. } => Some((id.as_ref(), name.as_ref(), arguments.as_ref())),
                _ => None,
            })
            .collect();
        let named: Vec<_> = calls.iter().map(|(_, name, arguments)| (*name, *arguments)).collect();
        assert_eq!(named, expected);
        let ids: std::collections::HashSet<_> = calls.iter().map(|(id, ..)| id).collect();
        assert_eq!(ids.len(), calls.len(), "{calls:?}");
    }
}

#[test]
fn calls_that_all_have_index_zero_are_told_apart_by_id() {
    let stream = concat!(
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n",
        "data: [DONE]\n\n",
    );
    let starts = events(stream, usize::MAX).iter().filter(|event| event.starts_with("PartStart")).count();
    assert_eq!(starts, 2);
}

#[test]
fn each_signed_thought_is_a_part_of_its_own() {
    let stream = concat!(
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"a\",\"index\":0}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"signature\":\"s1\",\"format\":\"anthropic-claude-v1\",\"index\":0}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"b\",\"index\":1}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"signature\":\"s2\",\"format\":\"anthropic-claude-v1\",\"index\":1}]},\"finish_reason\":\"stop\"}]}\n\n",
        "data: [DONE]\n\n",
    );
    let events = events(stream, usize::MAX);
    assert_eq!(events.iter().filter(|event| event.starts_with("PartStart")).count(), 2, "{events:?}");
    assert_eq!(events.iter().filter(|event| event.starts_with("SignatureDelta")).count(), 2);
}

#[test]
fn an_error_inside_a_200_stream_is_an_error_event() {
    let stream = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"code\":503}}\n\n";
    let mut decoder = Decoder::default();
    let mut all = Vec::new();
    decoder.feed(stream.as_bytes(), &mut |event| all.push(format!("{event:?}")));
    decoder.end(&mut |event| all.push(format!("{event:?}")));
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("overloaded"));
}

#[test]
fn a_stream_written_and_read_again_says_the_same() {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(exchange());
    let mut decoder = Decoder::default();
    let mut original = Collector::default();
    let mut relay = |event: Event<'_>| {
        original.push(&event);
        encoder.event(&event, &mut out);
    };
    decoder.feed(STREAM.as_bytes(), &mut relay);
    decoder.end(&mut relay);
    encoder.end(&mut out);
    let text = String::from_utf8(out).expect("text");
    assert!(text.ends_with("data: [DONE]\n\n"));
    let mut again = Collector::default();
    let mut decoder = Decoder::default();
    decoder.feed(text.as_bytes(), &mut |event| again.push(&event));
    decoder.end(&mut |event| again.push(&event));
    let (original, again) = (original.finish().expect("one"), again.finish().expect("two"));
    assert_eq!(original.choices, again.choices);
    assert_eq!(original.usage.input, again.usage.input);
}

#[test]
fn a_signature_comes_with_an_empty_piece_of_its_call() {
    let mut encoder = Encoder::new(exchange());
    let mut out = Vec::new();
    let kind = PartKind::ToolCall { id: "a".into(), name: "f".into(), kind: CallKind::Function };
    let signature = Signature { family: Family::Gemini, payload: "c2ln".into() };
    for event in [
        Event::Start { id: "1".into(), model: "m".into(), created: None },
        Event::PartStart { choice: 0, part: 0, kind },
        Event::SignatureDelta { choice: 0, part: 0, signature },
    ] {
        encoder.event(&event, &mut out);
    }
    let text = String::from_utf8(out).expect("UTF-8");
    let signed = text.lines().find(|line| line.contains("thought_signature")).expect("a signed piece");
    assert!(signed.contains(r#""function":{"arguments":""}"#), "{signed}");
}

#[test]
fn a_request_keeps_its_meaning_through_the_representation() {
    let body = br#"{"model":"p/m","messages":[
        {"role":"system","content":"be brief"},
        {"role":"user","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}}]},
        {"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f.x","arguments":"{\"n\": 1.50}"}}]},
        {"role":"tool","tool_call_id":"a","content":"42"},
        {"role":"developer","content":"mid"},
        {"role":"user","content":"and now?"}],
        "tools":[{"type":"function","function":{"name":"f.x","parameters":{"type":"object"},"strict":true}}],
        "tool_choice":{"type":"function","function":{"name":"f.x"}},"temperature":0.5,"stop":"END","logit_bias":{"1":2},"x_vendor":[1, 2]}"#;
    let request = decode_request(body, &CONTEXT).expect("a request");
    assert_eq!(request.system.iter().map(|part| part.position).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(
        request.turns.iter().map(|turn| turn.role).collect::<Vec<_>>(),
        [Role::User, Role::Assistant, Role::Tool, Role::User]
    );
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("f.x".into())));
    let names = NameTable::build(&request, 64, |_, c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let profile = Profile::default();
    let target = EncodeTarget { model: "m", profile: &profile, names: &names, stream: true };
    let mut losses = Losses::default();
    let encoded = encode_request(&request, &target, &mut losses).expect("encoded");
    assert!(losses.is_empty(), "{losses:?}");
    let written: serde_json::Value = serde_json::from_slice(&encoded.body).expect("valid JSON");
    assert_eq!(written["messages"][2]["tool_calls"][0]["function"]["name"], "f_x");
    assert_eq!(written["messages"][2]["tool_calls"][0]["function"]["arguments"], "{\"n\": 1.50}");
    assert_eq!(written["messages"][4]["role"], "system");
    assert_eq!(written["tool_choice"]["function"]["name"], "f_x");
    assert_eq!(written["x_vendor"], serde_json::json!([1, 2]));
    assert_eq!(written["stream_options"]["include_usage"], true);
    let again = decode_request(&encoded.body, &CONTEXT).expect("read again");
    assert_eq!(again.turns.len(), request.turns.len());
}

#[test]
fn a_call_is_not_forced_on_a_model_that_refuses_to_be() {
    let profile = Profile { forced_tools: false, ..Profile::default() };
    for (choice, forced) in [
        (r#""required""#, true),
        (r#"{"type":"function","function":{"name":"f"}}"#, true),
        (
            r#"{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"f"}}]}}"#,
            true,
        ),
        (r#""auto""#, false),
        (r#""none""#, false),
    ] {
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"tools":[{{"type":"function","function":{{"name":"f"}}}}],"tool_choice":{choice}}}"#
        );
        let request = decode_request(body.as_bytes(), &CONTEXT).expect("a request");
        let names = NameTable::default();
        let target = EncodeTarget { model: "m", profile: &profile, names: &names, stream: false };
        let mut losses = Losses::default();
        let encoded = encode_request(&request, &target, &mut losses).expect("encoded");
        let written: serde_json::Value = serde_json::from_slice(&encoded.body).expect("valid JSON");
        assert_eq!(written.get("tool_choice").is_none(), forced, "{choice}");
        assert_eq!(losses.names().collect::<Vec<_>>(), if forced { vec!["tool_choice"] } else { vec![] }, "{choice}");
        assert_eq!(written["tools"].as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn where_no_certain_tool_can_be_forced_any_is() {
    let profile = Profile { named_tool: false, ..Profile::default() };
    for (others, lost) in [("", &[][..]), (r#",{"type":"function","function":{"name":"g"}}"#, &["tool_choice"])] {
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"tools":[{{"type":"function","function":{{"name":"f"}}}}{others}],"tool_choice":{{"type":"function","function":{{"name":"f"}}}}}}"#
        );
        let request = decode_request(body.as_bytes(), &CONTEXT).expect("a request");
        let names = NameTable::default();
        let target = EncodeTarget { model: "m", profile: &profile, names: &names, stream: false };
        let mut losses = Losses::default();
        let encoded = encode_request(&request, &target, &mut losses).expect("encoded");
        let written: serde_json::Value = serde_json::from_slice(&encoded.body).expect("valid JSON");
        assert_eq!(written["tool_choice"], "required");
        assert_eq!(losses.names().collect::<Vec<_>>(), lost);
    }
}

#[test]
fn how_an_answer_is_served_stands_in_its_chunks() {
    let stream = concat!(
        "data: {\"id\":\"c\",\"model\":\"m\",\"service_tier\":\"flex\",\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n",
        "data: {\"id\":\"c\",\"service_tier\":\"flex\",\"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    );
    let (mut decoder, mut encoder, mut collector) =
        (Decoder::default(), Encoder::new(exchange()), Collector::default());
    let mut out = Vec::new();
    let mut served = 0;
    decoder.feed(stream.as_bytes(), &mut |event| {
        served += u32::from(matches!(event, Event::Served { .. }));
        collector.push(&event);
        encoder.event(&event, &mut out);
    });
    encoder.end(&mut out);
    assert_eq!(served, 1, "it is told once");
    let written = String::from_utf8(out).expect("text");
    let chunks: Vec<serde_json::Value> = written
        .split_terminator("\n\n")
        .filter_map(|event| serde_json::from_str(event.strip_prefix("data: ")?).ok())
        .collect();
    assert_eq!(chunks.len(), 4, "{written}");
    for chunk in &chunks[1..] {
        assert_eq!((&chunk["service_tier"], &chunk["system_fingerprint"]), (&"flex".into(), &"fp_1".into()), "{chunk}");
    }
    let whole = collector.finish().expect("whole");
    assert_eq!((whole.service_tier.as_deref(), whole.system_fingerprint.as_deref()), (Some("flex"), Some("fp_1")));
    // From an upstream that does not stream, as well; words that are not OpenAI's stay out.
    let whole = crate::ir::Response { service_tier: Some("batch".into()), ..whole };
    let (mut encoder, mut out) = (Encoder::new(exchange()), Vec::new());
    crate::ir::replay(&whole, &mut |event| encoder.event(&event, &mut out));
    let written = String::from_utf8(out).expect("text");
    assert!(!written.contains("batch") && written.contains("fp_1"), "{written}");
}

#[test]
fn bad_fields_are_named() {
    for (body, param) in [
        (r#"{"messages":[]}"#, "model"),
        (r#"{"model":"m"}"#, "messages"),
        (r#"{"model":"m","messages":[{"role":"robot","content":"x"}]}"#, "messages.0.role"),
        (r#"{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":9}"#, "temperature"),
        (r#"{"model":"m","messages":[{"role":"user","content":[{"type":"smell"}]}]}"#, "messages.0.content.0.type"),
        (r#"{"model":"m","messages":[{"role":"tool","content":"x"}]}"#, "messages.0.tool_call_id"),
        (r#"{"model":"m","messages":[{"role":"user","content":7}]}"#, "messages[0].content"),
    ] {
        let error = decode_request(body.as_bytes(), &CONTEXT).expect_err(body);
        assert_eq!(error.param.as_deref(), Some(param), "{body}: {error}");
    }
}

#[test]
fn a_thought_that_a_client_kept_in_pieces_is_one_again() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y","reasoning_details":[
        {"type":"reasoning.text","text":"one ","index":0},{"type":"reasoning.text","text":"two","index":0},
        {"type":"reasoning.text","signature":"S1","format":"anthropic-claude-v1","index":0},
        {"type":"reasoning.text","text":"three","signature":"S2","format":"anthropic-claude-v1","index":1},
        {"type":"reasoning.text","text":"four","index":1},
        {"type":"reasoning.text","text":"five"},{"type":"reasoning.text","signature":"S3","format":"anthropic-claude-v1"},
        {"type":"reasoning.text","text":"six"}]}]}"#;
    let request = decode_request(body.as_bytes(), &CONTEXT).expect("a request");
    let thoughts: Vec<_> = request.turns[1]
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Thinking { text, signature } => {
                Some((text.as_ref(), signature.as_ref().map(|signature| signature.payload.as_ref())))
            }
            _ => None,
        })
        .collect();
    let expected =
        [("one two", Some("S1")), ("three", Some("S2")), ("four", None), ("five", Some("S3")), ("six", None)];
    assert_eq!(thoughts, expected);
}

#[test]
fn a_refusal_without_words_is_told() {
    let choice = crate::ir::Choice { finish: Some(FinishReason::Refusal), ..Default::default() };
    let response = crate::ir::Response { choices: vec![choice], ..Default::default() };
    let mut whole = Vec::new();
    encode_response(&response, &exchange(), &mut whole);
    let whole: serde_json::Value = serde_json::from_slice(&whole).expect("JSON");
    assert_eq!(whole["choices"][0]["message"]["refusal"], REFUSED);
    let (mut encoder, mut stream) = (Encoder::new(exchange()), Vec::new());
    crate::ir::replay(&response, &mut |event| encoder.event(&event, &mut stream));
    encoder.end(&mut stream);
    let stream = String::from_utf8(stream).expect("text");
    assert_eq!(stream.matches(&format!("\"delta\":{{\"refusal\":\"{REFUSED}\"}}")).count(), 1, "{stream}");
}

const DETAILS: &str = concat!(
    "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"a\",\"reasoning_details\":[{\"type\":\"reasoning.summary\",\"summary\":\"a\",\"id\":\"rs_1\",\"format\":\"openai-responses-v1\",\"index\":0}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"b\",\"reasoning_details\":[{\"type\":\"reasoning.summary\",\"summary\":\"b\",\"id\":\"rs_1\",\"format\":\"openai-responses-v1\",\"index\":0}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"ZW5j\",\"id\":\"rs_1\",\"format\":\"openai-responses-v1\",\"index\":0,\"x_own\":[1.0]}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"c\",\"format\":\"unknown\",\"index\":1}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n",
    "data: [DONE]\n\n",
);

/// The message that a conversation with this answer has for a target.
fn sent_back(parts: Vec<Part<'_>>, model: &str, profile: &Profile) -> serde_json::Value {
    let mut request = crate::ir::Request::new(crate::ir::Format::Anthropic, "m");
    request.turns = vec![
        crate::ir::Turn { role: Role::User, parts: vec![Part::text("x")], name: None },
        crate::ir::Turn { role: Role::Assistant, parts, name: None },
    ];
    let names = NameTable::default();
    let target = EncodeTarget { model, profile, names: &names, stream: false };
    let encoded = encode_request(&request, &target, &mut Losses::default()).expect("encoded");
    serde_json::from_slice::<serde_json::Value>(&encoded.body).expect("JSON")["messages"][1].clone()
}

#[test]
fn details_go_back_with_all_their_marks_in_their_order() {
    for step in [7, usize::MAX] {
        let (mut decoder, mut collector) = (Decoder::default(), Collector::default());
        DETAILS.as_bytes().chunks(step.min(DETAILS.len())).for_each(|piece| {
            decoder.feed(piece, &mut |event| collector.push(&event));
        });
        decoder.end(&mut |event| collector.push(&event));
        let parts = collector.finish().expect("whole").choices.remove(0).parts;
        let profile = Profile { reasoning_details_back: true, ..Profile::default() };
        let message = sent_back(parts.clone(), "openai/gpt-5", &profile);
        assert_eq!(
            message["reasoning_details"],
            serde_json::json!([
                {"type": "reasoning.summary", "summary": "ab", "id": "rs_1", "format": "openai-responses-v1", "index": 0},
                {"type": "reasoning.encrypted", "data": "ZW5j", "id": "rs_1", "format": "openai-responses-v1", "index": 0, "x_own": [1.0]},
            ])
        );
        // What nobody marked is only a text.
        let back = Profile { reasoning_content_back: true, ..profile };
        assert_eq!(sent_back(parts, "openai/gpt-5", &back)["reasoning"], "c");
    }
}

#[test]
fn signatures_of_the_maker_itself_become_details_for_its_models_only() {
    let signed =
        |family| Part::Thinking { text: "hm".into(), signature: Some(Signature { family, payload: "S".into() }) };
    let called = Part::ToolCall {
        id: "a".into(),
        name: "f".into(),
        arguments: "{}".into(),
        kind: CallKind::Function,
        signature: Some(Signature { family: Family::Gemini, payload: "G".into() }),
        cache: None,
    };
    let profile = Profile { reasoning_details_back: true, ..Profile::default() };
    let claude = sent_back(vec![signed(Family::Anthropic), called.clone()], "anthropic/claude-opus-5", &profile);
    assert_eq!(
        claude["reasoning_details"],
        serde_json::json!([{"type": "reasoning.text", "text": "hm", "signature": "S", "format": "anthropic-claude-v1", "index": 0}])
    );
    let gemini = sent_back(vec![signed(Family::Anthropic), called], "google/gemini-3-pro", &profile);
    assert_eq!(
        gemini["reasoning_details"],
        serde_json::json!([{"type": "reasoning.encrypted", "data": "G", "id": "a", "format": "google-gemini-v1", "index": 0}])
    );
}

#[test]
fn details_are_unwrapped_for_who_does_not_speak_them() {
    let told = |payload: &'static str| Signature { family: Family::OpenRouter, payload: payload.into() };
    let mut request = crate::ir::Request::new(crate::ir::Format::Anthropic, "m");
    let parts = vec![
        Part::Thinking {
            text: "hm".into(),
            signature: Some(told(r#"{"type":"reasoning.text","format":"anthropic-claude-v1","signature":"S"}"#)),
        },
        Part::Thinking { text: "so".into(), signature: Some(told(r#"{"type":"reasoning.summary","id":"rs_1"}"#)) },
        Part::RedactedThinking {
            data: told(r#"{"type":"reasoning.encrypted","format":"google-gemini-v1","data":"G"}"#),
        },
        Part::RedactedThinking { data: told("{}") },
    ];
    request.turns = vec![crate::ir::Turn { role: Role::Assistant, parts, name: None }];
    unwrap_details(&mut request);
    let own = |family, payload: &'static str| Signature { family, payload: payload.into() };
    assert_eq!(
        request.turns[0].parts,
        [
            Part::Thinking { text: "hm".into(), signature: Some(own(Family::Anthropic, "S")) },
            Part::Thinking { text: "so".into(), signature: None },
            Part::RedactedThinking { data: own(Family::Gemini, "G") },
        ]
    );
}

#[test]
fn every_picture_and_sound_of_a_whole_answer_has_its_place_and_no_field_stands_twice() {
    let inline = |media_type: &'static str, data: &'static str| crate::ir::Source::Inline {
        media_type: media_type.into(),
        data: data.into(),
    };
    let image = |data| Part::Image { source: inline("image/png", data), detail: None, cache: None };
    let sound = |data| Part::Audio { source: inline("audio/wav", data), format: None, transcript: Some("la ".into()) };
    let choice = crate::ir::Choice {
        parts: vec![image("AAAA"), sound("AAE="), image("BBBB"), sound("Ag==")],
        ..crate::ir::Choice::default()
    };
    let response = crate::ir::Response { choices: vec![choice], ..crate::ir::Response::default() };
    let mut out = Vec::new();
    encode_response(&response, &exchange(), &mut out);
    let text = String::from_utf8(out).expect("text");
    for field in ["\"images\"", "\"audio\""] {
        assert_eq!(text.matches(field).count(), 1, "{field} in {text}");
    }
    let message = &serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["choices"][0]["message"];
    let urls: Vec<_> =
        message["images"].as_array().expect("a list").iter().map(|image| &image["image_url"]["url"]).collect();
    assert_eq!(urls, ["data:image/png;base64,AAAA", "data:image/png;base64,BBBB"]);
    assert_eq!((&message["audio"]["data"], &message["audio"]["transcript"]), (&"AAEC".into(), &"la la ".into()));
}

#[test]
fn thoughts_that_are_a_list_of_parts_come_back_from_a_client_as_they_went_out() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[
        {"type":"thinking","thinking":[{"type":"text","text":"Well, "},{"type":"text","text":"now."}],"closed":true},
        {"type":"text","text":"It is 4."},{"type":"reference","reference_ids":[1]}]},{"role":"user","content":"why?"}]}"#;
    let request = decode_request(body.as_bytes(), &CONTEXT).expect("a request");
    let parts = &request.turns[1].parts;
    assert!(matches!(&parts[0], Part::Thinking { text, .. } if text == "Well, now."), "{parts:?}");
    assert!(matches!(&parts[1], Part::Text { text, .. } if text == "It is 4."), "{parts:?}");
    assert_eq!(parts.len(), 2);
}
