use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{
    codec::{DecodeContext, EncodeTarget, NameTable, ResponseContext, Sealer, StreamEncoder},
    ir::{Choice, FinishReason, Json, Losses, Part, Profile, Request, Response, Role, Signature, StreamError, replay},
    openai,
    usage::Usage,
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

fn exchange(request: &str) -> ResponseContext {
    ResponseContext {
        id: "1".into(),
        created: 7,
        model: "mock/m".into(),
        include_usage: true,
        show_thinking: true,
        estimated_input: 0,
        answer_tool: false,
        names: NameTable::default(),
        echo: echo_fields(request.as_bytes()),
        compacts: false,
        sealer: Arc::new(NoSealer),
    }
}

fn decode(body: &str) -> Request<'_> {
    decode_request(body.as_bytes(), &CONTEXT).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn response() -> Response<'static> {
    let logprobs = r#"{"content":[{"token":"h\u00e9","logprob":-0.5,"bytes":null,"top_logprobs":[{"token":"h\u00e9","logprob":-0.5},
        {"token":"ho","logprob":-2}]},{"token":"y","logprob":-1.0,"top_logprobs":[]}],"refusal":null}"#;
    let choice = |text: &'static str, finish| Choice {
        parts: vec![Part::Thinking { text: "hm".into(), signature: None }, Part::text(text)],
        finish: Some(finish),
        stop_sequence: None,
        logprobs: Json::from_string(logprobs.into()),
    };
    Response {
        created: Some(5),
        choices: vec![choice("h\u{e9}y", FinishReason::End), choice("other", FinishReason::MaxTokens)],
        usage: Usage { input: Some(3), output: Some(2), ..Usage::default() },
        ..Response::default()
    }
}

#[test]
fn a_prompt_becomes_a_chat_for_any_upstream() {
    let request = decode(
        r#"{"model":"p/m","prompt":["once"],"max_tokens":9,"temperature":0.5,"top_p":1,"n":2,"best_of":2,"logprobs":2,
            "stop":"\n","seed":1,"presence_penalty":1,"frequency_penalty":-1,"logit_bias":{"1":2},"user":"u","echo":false,
            "stream":true,"stream_options":{"include_usage":true},"suffix":null,"min_tokens":3}"#,
    );
    assert_eq!((request.turns.len(), request.turns[0].role), (1, Role::User));
    let names = NameTable::default();
    let profile = Profile::default();
    let target = EncodeTarget { model: "m", profile: &profile, names: &names, stream: true };
    let mut losses = Losses::default();
    let encoded = openai::encode_request(&request, &target, &mut losses).expect("encoded");
    assert!(losses.is_empty(), "{losses:?}");
    let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
    let expected = json!({"model":"m","messages":[{"role":"user","content":"once"}],"max_tokens":9,"stop":["\n"],
        "temperature":0.5,"top_p":1.0,"frequency_penalty":-1.0,"presence_penalty":1.0,"seed":1,"n":2,"logprobs":true,
        "top_logprobs":2,"logit_bias":{"1":2},"user":"u","stream":true,"stream_options":{"include_usage":true},
        "min_tokens":3});
    assert_eq!(body, expected);
}

#[test]
fn a_suffix_is_said_in_words_and_may_stand_alone() {
    let request = decode(r#"{"model":"m","prompt":"","suffix":"end"}"#);
    assert_eq!(request.system.len(), 1);
    assert_eq!(request.turns[0].parts, [Part::text("<prefix></prefix><suffix>end</suffix>")]);
}

#[test]
fn what_no_chat_can_serve_is_refused_clearly() {
    for (rest, param, code) in [
        (r#""prompt":[1,2,3]"#, "prompt", "unsupported_feature"),
        (r#""prompt":[[1,2],[3]]"#, "prompt", "unsupported_feature"),
        (r#""prompt":["a","b"]"#, "prompt", "unsupported_feature"),
        (r#""prompt":"a","n":1,"best_of":3"#, "best_of", "unsupported_feature"),
        (r#""prompt":"a","echo":true,"logprobs":0"#, "echo", "unsupported_feature"),
        (r#""prompt":"a","n":3,"best_of":2"#, "best_of", "invalid_field"),
        (r#""prompt":"a","max_tokens":0"#, "max_tokens", "invalid_field"),
        (r#""prompt":"a","n":0"#, "n", "invalid_field"),
        (r#""prompt":"a","logprobs":21"#, "logprobs", "invalid_field"),
        (r#""prompt":"a","logprobs":true"#, "logprobs", "invalid_field"),
        (r#""prompt":"a","temperature":3"#, "temperature", "invalid_field"),
        (r#""prompt":"","echo":true"#, "prompt", "invalid_field"),
        (r#""prompt":[]"#, "prompt", "invalid_field"),
        (r#""prompt":7"#, "prompt", "invalid_field"),
        (r#""prompt":null"#, "prompt", "invalid_field"),
        (r#""stop":[1],"prompt":"a""#, "stop", "invalid_field"),
    ] {
        let body = format!(r#"{{"model":"m",{rest}}}"#);
        let error = decode_request(body.as_bytes(), &CONTEXT).expect_err(&body);
        let param_root = error.param.as_deref().map(|path| path.split(['[', '.']).next().unwrap_or_default());
        assert_eq!((param_root, error.code), (Some(param), code), "{body}: {error}");
    }
    let deep = format!(r#"{{"model":"m","prompt":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for body in [deep.as_bytes(), b"", b"{", b"[]", b"\xff", br#"{"prompt":"a"}"#] {
        decode_request(body, &CONTEXT).expect_err("refused");
    }
}

#[test]
fn an_answer_has_the_legacy_shape() {
    let mut out = Vec::new();
    encode_response(&response(), &exchange("{}"), &mut out);
    let answer: Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!((&answer["id"], &answer["object"]), (&json!("cmpl-1"), &json!("text_completion")));
    let expected = json!({"text":"héy","index":0,"finish_reason":"stop","logprobs":{"tokens":["hé","y"],
        "token_logprobs":[-0.5,-1.0],"top_logprobs":[{"hé":-0.5,"ho":-2},{}],"text_offset":[0,2]}});
    assert_eq!(answer["choices"][0], expected);
    assert_eq!((&answer["choices"][1]["index"], &answer["choices"][1]["finish_reason"]), (&json!(1), &json!("length")));
    assert_eq!(answer["usage"]["total_tokens"], 5);
}

#[test]
fn the_prompt_is_repeated_only_when_asked_for() {
    let request = r#"{"model":"m","prompt":["a\"b"],"echo":true}"#;
    let mut response = response();
    response.choices[0].logprobs = None;
    let mut out = Vec::new();
    encode_response(&response, &exchange(request), &mut out);
    let answer: Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(answer["choices"][0]["text"], "a\"bhéy");
    assert_eq!(answer["choices"][0]["logprobs"], Value::Null);
    assert!(exchange(r#"{"prompt":"a"}"#).echo.is_empty());
    assert!(exchange("{").echo.is_empty());
}

fn chunks(response: &Response<'_>, exchange: ResponseContext) -> Vec<Value> {
    let mut encoder = Encoder::new(exchange);
    let mut out = Vec::new();
    replay(response, &mut |event| encoder.event(&event, &mut out));
    encoder.end(&mut out);
    let text = String::from_utf8(out).expect("text");
    let text = text.strip_suffix("data: [DONE]\n\n").expect("a terminator");
    text.split_terminator("\n\n")
        .map(|frame| serde_json::from_str(frame.strip_prefix("data: ").expect("data")).expect("JSON"))
        .collect()
}

#[test]
fn a_stream_says_the_same_as_the_whole_answer() {
    let request = r#"{"model":"m","prompt":"go ","echo":true}"#;
    let mut response = response();
    response.choices[1].logprobs = None;
    let all = chunks(&response, exchange(request));
    let text = |index: u32| -> String {
        let choices = all.iter().map(|chunk| &chunk["choices"][0]).filter(|choice| choice["index"] == index);
        choices.filter_map(|choice| choice["text"].as_str()).collect()
    };
    assert_eq!((text(0).as_str(), text(1).as_str()), ("go héy", "go other"));
    assert!(all.iter().all(|chunk| chunk["object"] == "text_completion" && chunk["created"] == 5));
    let offsets = all.iter().find_map(|chunk| chunk["choices"][0]["logprobs"]["text_offset"].as_array());
    assert_eq!(offsets.expect("there"), &[json!(3), json!(5)], "behind the prompt");
    let finishes: Vec<_> = all.iter().filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).collect();
    assert_eq!(finishes, ["stop", "length"]);
    let usage = all.last().expect("there");
    assert_eq!((&usage["choices"], &usage["usage"]["prompt_tokens"]), (&json!([]), &json!(3)));
}

#[test]
fn an_error_ends_the_stream_without_a_terminator() {
    let mut encoder = Encoder::new(exchange("{}"));
    let mut out = Vec::new();
    let class = omniroute_core::error::ErrorClass::Upstream;
    let error =
        StreamError { class, code: "upstream_error", message: "boom".into(), retry_after: None, request_id: None };
    encoder.event(&crate::ir::Event::Error(error), &mut out);
    encoder.end(&mut out);
    let text = String::from_utf8(out).expect("text");
    assert!(text.contains("boom") && !text.contains("[DONE]"), "{text}");
}

#[test]
fn a_refusal_without_words_has_some() {
    let choice = Choice { finish: Some(FinishReason::Refusal), ..Choice::default() };
    let response = Response { choices: vec![choice], ..Response::default() };
    let exchange = exchange("{}");
    let mut whole = Vec::new();
    encode_response(&response, &exchange, &mut whole);
    let whole: Value = serde_json::from_slice(&whole).expect("JSON");
    assert_eq!(whole["choices"][0]["text"], openai::REFUSED);
    let (mut encoder, mut stream) = (Encoder::new(exchange), Vec::new());
    replay(&response, &mut |event| encoder.event(&event, &mut stream));
    encoder.end(&mut stream);
    assert!(String::from_utf8(stream).expect("text").contains(openai::REFUSED));
}
