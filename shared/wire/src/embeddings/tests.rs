use serde_json::{Value, json};

use super::*;

const FLOATS: &str = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1.25]},{"object":"embedding","index":1,"embedding":[1e-3,2]}],"model":"m","usage":{"prompt_tokens":4,"total_tokens":4}}"#;

fn gemini(batch: bool) -> EmbedDialect {
    EmbedDialect::Gemini { batch }
}

fn ollama(one: bool) -> EmbedDialect {
    EmbedDialect::Ollama { one, timing: Timing::default() }
}

fn asked(
    dialect: EmbedDialect,
    upstream: EmbedFormat,
    body: &str,
    model: &str,
) -> (Value, EmbeddingsContext, Option<String>) {
    let mut losses = Losses::default();
    let (written, way) =
        encode_request(dialect, upstream, body.as_bytes(), model, "p/m", &mut losses).expect("a request");
    let [written] = written.as_slice() else { panic!("several bodies") };
    (serde_json::from_slice(written).expect("JSON"), way, losses.header())
}

fn answered(way: &EmbeddingsContext, body: &str) -> (Value, Option<u64>) {
    let answer = way.answer(&[(body.as_bytes(), None)]).expect("an answer");
    (serde_json::from_slice(&answer.body).expect("JSON"), answer.tokens)
}

#[test]
fn an_openai_client_reaches_every_upstream() {
    const BODY: &str = r#"{"model":"p/m","input":["a","b"],"dimensions":256,"user":"u"}"#;
    for (upstream, model, expected, answer) in [
        (
            EmbedFormat::Gemini,
            "gemini-embedding-001",
            json!({"requests": [
                {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "a"}]}, "outputDimensionality": 256},
                {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "b"}]}, "outputDimensionality": 256},
            ]}),
            r#"{"embeddings":[{"values":[0.5,-1.25]},{"values":[1e-3,2]}],"usageMetadata":{"promptTokenCount":4}}"#,
        ),
        (
            EmbedFormat::Ollama,
            "nomic",
            json!({"model": "nomic", "input": ["a", "b"], "dimensions": 256}),
            r#"{"model":"nomic","embeddings":[[0.5,-1.25],[1e-3,2]],"prompt_eval_count":4}"#,
        ),
        (
            EmbedFormat::Cohere,
            "embed-v4.0",
            json!({"model": "embed-v4.0", "texts": ["a", "b"], "embedding_types": ["float"], "output_dimension": 256,
                "input_type": "search_document"}),
            r#"{"embeddings":{"float":[[0.5,-1.25],[1e-3,2]]},"meta":{"billed_units":{"input_tokens":4}}}"#,
        ),
        (
            EmbedFormat::Bedrock,
            "cohere.embed-v4:0",
            json!({"texts": ["a", "b"], "embedding_types": ["float"], "output_dimension": 256,
                "input_type": "search_document"}),
            r#"{"embeddings":{"float":[[0.5,-1.25],[1e-3,2]]},"inputTextTokenCount":4}"#,
        ),
    ] {
        let (written, way, dropped) = asked(EmbedDialect::OpenAi, upstream, BODY, model);
        assert_eq!(written, expected, "{upstream:?}");
        assert_eq!(dropped.as_deref(), Some("user"), "{upstream:?}");
        let (shown, tokens) = answered(&way, answer);
        assert_eq!(tokens, Some(4), "{upstream:?}");
        assert_eq!(shown["model"], "p/m");
        assert_eq!((&shown["object"], &shown["usage"]["prompt_tokens"]), (&json!("list"), &json!(4)), "{upstream:?}");
        assert_eq!(shown["data"][0]["embedding"], json!([0.5, -1.25]), "{upstream:?}");
        assert_eq!((&shown["data"][1]["index"], &shown["data"][1]["embedding"]), (&json!(1), &json!([1e-3, 2])));
    }
}

#[test]
fn titan_takes_one_text() {
    let titan = "amazon.titan-embed-text-v2:0";
    let one = r#"{"input":["a"],"dimensions":512}"#;
    let (written, way, _) = asked(EmbedDialect::OpenAi, EmbedFormat::Bedrock, one, titan);
    assert_eq!(written, json!({"inputText": "a", "dimensions": 512}));
    let (shown, tokens) = answered(&way, r#"{"embedding":[0.5],"inputTextTokenCount":3}"#);
    assert_eq!((&shown["data"][0]["embedding"], tokens), (&json!([0.5]), Some(3)));
    let counted = way.answer(&[(br#"{"embedding":[0.5]}"#, Some(9))]).expect("an answer");
    assert_eq!(counted.tokens, Some(9), "the count in the head");
    let image = asked(EmbedDialect::OpenAi, EmbedFormat::Bedrock, one, "amazon.titan-embed-image-v1").0;
    assert_eq!(image, json!({"inputText": "a", "embeddingConfig": {"outputEmbeddingLength": 512}}));
}

#[test]
fn several_texts_are_several_requests_to_titan_and_one_answer() {
    let mut losses = Losses::default();
    let body = br#"{"input":["a","b","c"],"dimensions":256}"#;
    let (written, way) = encode_request(
        EmbedDialect::OpenAi,
        EmbedFormat::Bedrock,
        body,
        "amazon.titan-embed-text-v2:0",
        "p/m",
        &mut losses,
    )
    .expect("a request");
    let texts: Vec<Value> = written.iter().map(|body| serde_json::from_slice(body).expect("JSON")).collect();
    let asked = |text: &str| json!({"inputText": text, "dimensions": 256});
    assert_eq!(texts, [asked("a"), asked("b"), asked("c")]);
    let parts: [(&[u8], Option<u64>); 3] = [
        (br#"{"embedding":[1],"inputTextTokenCount":2}"#, None),
        (br#"{"embedding":[2]}"#, Some(3)),
        (br#"{"embedding":[3],"inputTextTokenCount":4}"#, Some(4)),
    ];
    let answer = way.answer(&parts).expect("an answer");
    let shown: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let vectors: Vec<_> = (0..3).map(|at| (&shown["data"][at]["index"], &shown["data"][at]["embedding"])).collect();
    assert_eq!(vectors, [(&json!(0), &json!([1])), (&json!(1), &json!([2])), (&json!(2), &json!([3]))]);
    assert_eq!((answer.tokens, &shown["usage"]["prompt_tokens"]), (Some(9), &json!(9)));
    assert!(way.answer(&parts[..2]).is_err(), "a text has no vector");
    let uncounted: [(&[u8], Option<u64>); 3] = [parts[0], (br#"{"embedding":[2]}"#, None), parts[2]];
    assert_eq!(way.answer(&uncounted).expect("an answer").tokens, None, "a part of the sum is unknown");
}

#[test]
fn vectors_are_packed_where_the_client_wants_them_so() {
    for (upstream, answer) in [
        (EmbedFormat::Gemini, r#"{"embeddings":[{"values":[0.5,-1]}]}"#),
        (EmbedFormat::Ollama, r#"{"embeddings":[[0.5,-1]]}"#),
        (EmbedFormat::Bedrock, r#"{"embedding":[0.5,-1]}"#),
    ] {
        let body = r#"{"input":"a","encoding_format":"base64"}"#;
        let (_, way, _) = asked(EmbedDialect::OpenAi, upstream, body, "amazon.titan-embed-text-v2:0");
        let (shown, tokens) = answered(&way, answer);
        assert_eq!(shown["data"][0]["embedding"], "AAAAPwAAgL8=", "{upstream:?}");
        assert_eq!(tokens, None);
        assert!(shown["usage"]["prompt_tokens"].as_u64() > Some(0), "an estimate");
    }
}

#[test]
fn a_gemini_client_reaches_every_upstream() {
    const ONE: &str = r#"{"content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_QUERY","outputDimensionality":8}"#;
    const BATCH: &str = r#"{"requests":[{"model":"models/p/m","content":{"parts":[{"text":"a"}]}},{"model":"models/p/m","content":{"parts":[{"text":"b"}]}}]}"#;
    let (written, way, dropped) = asked(gemini(false), EmbedFormat::OpenAi, ONE, "small");
    assert_eq!(written, json!({"model": "small", "input": ["a"], "dimensions": 8, "encoding_format": "float"}));
    assert_eq!(dropped.as_deref(), Some("taskType"));
    let (shown, tokens) = answered(&way, r#"{"data":[{"index":0,"embedding":[0.5]}],"usage":{"prompt_tokens":2}}"#);
    assert_eq!((shown["embedding"].clone(), tokens), (json!({"values": [0.5]}), Some(2)));
    let (_, way, _) = asked(gemini(true), EmbedFormat::OpenAi, BATCH, "small");
    assert_eq!(answered(&way, FLOATS).0["embeddings"], json!([{"values": [0.5, -1.25]}, {"values": [1e-3, 2]}]));
    let (written, way, _) = asked(gemini(true), EmbedFormat::Cohere, BATCH, "embed-v4.0");
    assert_eq!(written["texts"], json!(["a", "b"]));
    let answer = r#"{"embeddings":{"float":[[0.5],[1]]},"meta":{}}"#;
    assert_eq!(answered(&way, answer).0["embeddings"][1], json!({"values": [1]}));

    // Its own fields go on to an upstream of its own.
    let (written, way, dropped) = asked(gemini(false), EmbedFormat::Gemini, ONE, "gemini-embedding-001");
    assert_eq!(dropped, None);
    assert_eq!(
        written,
        json!({"requests": [{"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "a"}]},
            "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 8}]})
    );
    assert_eq!(answered(&way, r#"{"embeddings":[{"values":[0.5]}]}"#).0["embedding"], json!({"values": [0.5]}));
    let (written, ..) = asked(gemini(true), EmbedFormat::Gemini, BATCH, "gemini-embedding-001");
    assert_eq!(written["requests"][1]["model"], "models/gemini-embedding-001");
}

#[test]
fn an_ollama_client_reaches_every_upstream() {
    const BODY: &str = r#"{"model":"p/m","input":["a","b"],"keep_alive":"5m","truncate":true}"#;
    let (written, way, dropped) = asked(ollama(false), EmbedFormat::OpenAi, BODY, "small");
    assert_eq!(written, json!({"model": "small", "input": ["a", "b"], "encoding_format": "float"}));
    assert_eq!(dropped.as_deref(), Some("keep_alive, truncate"));
    let (shown, tokens) = answered(&way, FLOATS);
    assert_eq!((&shown["model"], &shown["prompt_eval_count"], tokens), (&json!("p/m"), &json!(4), Some(4)));
    assert_eq!(shown["embeddings"], json!([[0.5, -1.25], [0.001, 2.0]]));
    let (written, way, dropped) = asked(ollama(false), EmbedFormat::Ollama, BODY, "nomic");
    assert_eq!(written, json!({"model": "nomic", "input": ["a", "b"], "truncate": true, "keep_alive": "5m"}));
    assert_eq!(dropped, None);
    let (shown, _) = answered(&way, r#"{"embeddings":[[0.5],[1]],"prompt_eval_count":4}"#);
    assert_eq!((&shown["model"], &shown["embeddings"]), (&json!("p/m"), &json!([[0.5], [1.0]])));
    let (written, way, _) = asked(ollama(true), EmbedFormat::Gemini, r#"{"model":"p/m","prompt":"a"}"#, "e");
    assert_eq!(written["requests"][0]["content"], json!({"parts": [{"text": "a"}]}));
    assert_eq!(answered(&way, r#"{"embeddings":[{"values":[0.5]}]}"#).0, json!({"embedding": [0.5]}));
}

#[test]
fn what_an_upstream_cannot_take_is_refused_by_name() {
    let titan = "amazon.titan-embed-text-v1";
    for (dialect, upstream, body, model, param) in [
        (EmbedDialect::OpenAi, EmbedFormat::Gemini, r#"{"input":[1,2]}"#, "m", "input"),
        (EmbedDialect::OpenAi, EmbedFormat::Ollama, r#"{"input":[[1,2],[3]]}"#, "m", "input"),
        (EmbedDialect::OpenAi, EmbedFormat::Cohere, r#"{"input":[1]}"#, "m", "input"),
        (
            EmbedDialect::OpenAi,
            EmbedFormat::Bedrock,
            &format!(r#"{{"input":[{}"a"]}}"#, r#""a","#.repeat(1024)),
            titan,
            "input",
        ),
        (EmbedDialect::OpenAi, EmbedFormat::Bedrock, r#"{"input":["a"],"dimensions":8}"#, titan, "dimensions"),
        (
            EmbedDialect::OpenAi,
            EmbedFormat::Bedrock,
            r#"{"input":["a"]}"#,
            "amazon.nova-2-multimodal-embeddings-v1:0",
            "model",
        ),
        (
            EmbedDialect::OpenAi,
            EmbedFormat::Ollama,
            r#"{"input":"a","encoding_format":"int8"}"#,
            "m",
            "encoding_format",
        ),
        (EmbedDialect::OpenAi, EmbedFormat::Ollama, r#"{"input":[]}"#, "m", "input"),
        (EmbedDialect::OpenAi, EmbedFormat::Ollama, r#"{"input":""}"#, "m", "input"),
        (EmbedDialect::OpenAi, EmbedFormat::Ollama, "{}", "m", "input"),
        (ollama(false), EmbedFormat::OpenAi, r#"{"model":"m"}"#, "m", "input"),
        (ollama(true), EmbedFormat::Ollama, r#"{"model":"m","prompt":""}"#, "m", "prompt"),
        (gemini(true), EmbedFormat::OpenAi, r#"{"requests":[]}"#, "m", "requests"),
        (
            gemini(false),
            EmbedFormat::Gemini,
            r#"{"content":{"parts":[{"inlineData":{"data":"AA==","mimeType":"image/png"}}]}}"#,
            "m",
            "content.parts.0",
        ),
    ] {
        let error = encode_request(dialect, upstream, body.as_bytes(), model, "p/m", &mut Losses::default());
        assert_eq!(error.expect_err(body).param.as_deref(), Some(param), "{body}");
    }
}

#[test]
fn an_answer_without_its_vectors_is_none() {
    let (_, way, _) = asked(EmbedDialect::OpenAi, EmbedFormat::Ollama, r#"{"input":["a","b"]}"#, "m");
    for body in [r#"{"embeddings":[[1]]}"#, r#"{"embeddings":[[1],[2],[3]]}"#, "{}", "", r#"{"error":"no"}"#] {
        assert!(way.answer(&[(body.as_bytes(), None)]).is_err(), "{body}");
    }
    let (_, way, _) = asked(ollama(false), EmbedFormat::OpenAi, r#"{"model":"m","input":"a"}"#, "m");
    for body in [r#"{"data":[]}"#, r#"{"data":[{"embedding":"%"}]}"#, r#"{"data":[{}]}"#, "{}"] {
        assert!(way.answer(&[(body.as_bytes(), None)]).is_err(), "{body}");
    }
}

#[test]
fn a_count_of_the_wrong_type_costs_no_vector() {
    for (upstream, model, answer) in [
        (EmbedFormat::OpenAi, "m", FLOATS.replace("\"prompt_tokens\":4", "\"prompt_tokens\":\"4\"")),
        (
            EmbedFormat::Ollama,
            "nomic",
            r#"{"model":"nomic","embeddings":[[0.5,-1.25],[1e-3,2]],"prompt_eval_count":4.0}"#.to_owned(),
        ),
        (
            EmbedFormat::Cohere,
            "embed-v4.0",
            r#"{"embeddings":{"float":[[0.5,-1.25],[1e-3,2]]},"meta":{"billed_units":{"input_tokens":"4"},"tokens":[]}}"#
                .to_owned(),
        ),
    ] {
        let (_, way, _) = asked(EmbedDialect::OpenAi, upstream, r#"{"input":["a","b"]}"#, model);
        let (shown, tokens) = answered(&way, &answer);
        assert_eq!((tokens, &shown["data"][0]["embedding"]), (Some(4), &json!([0.5, -1.25])), "{upstream:?}");
    }
    let (_, way, _) = asked(EmbedDialect::OpenAi, EmbedFormat::OpenAi, r#"{"input":["a","b"]}"#, "m");
    let answer = FLOATS.replace(r#""usage":{"prompt_tokens":4,"total_tokens":4}"#, r#""usage":[]"#);
    assert_eq!(answered(&way, &answer).0["data"][0]["embedding"], json!([0.5, -1.25]));
}
