//! Every kind of upstream: where its calls go, how they prove who they are from, and what comes back.

use omniroute_core::{address::AddressPolicy, time::UnixMillis};
use omniroute_proto::v1::Outcome;
use omniroute_providers::{CloudSpec, ConnectionSpec, Timeouts, Upstream as Connection};
use omniroute_wire::bedrock::frames::{write_event, write_exception};
use serde_json::json as value;

use super::{
    upstream::{ReceivedRequest, UpstreamResponse, json, typed},
    *,
};

const PAIR: &str = "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const CONVERSED: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"Hello!"}]}},"stopReason":"end_turn","usage":{"inputTokens":11,"outputTokens":7,"totalTokens":18}}"#;

/// What an upstream of that kind answers to any chat.
fn answer_of(path: &str) -> UpstreamResponse {
    let body = match path.split('?').next().unwrap_or_default() {
        "/v1/messages" => {
            r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hello!"}],"stop_reason":"end_turn","usage":{"input_tokens":11,"output_tokens":7}}"#
        }
        "/api/chat" => {
            r#"{"model":"m","message":{"role":"assistant","content":"Hello!"},"done":true,"done_reason":"stop","prompt_eval_count":11,"eval_count":7}"#
        }
        "/v2/chat" => {
            r#"{"id":"1","finish_reason":"COMPLETE","message":{"role":"assistant","content":[{"type":"text","text":"Hello!"}]},"usage":{"billed_units":{"input_tokens":11,"output_tokens":7},"tokens":{"input_tokens":11,"output_tokens":7}}}"#
        }
        "/v1/responses" => {
            r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m","output":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello!","annotations":[]}]}],"usage":{"input_tokens":11,"output_tokens":7,"total_tokens":18}}"#
        }
        path if path.ends_with(":generateContent") => {
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello!"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":7,"totalTokenCount":18}}"#
        }
        path if path.ends_with("/converse") => CONVERSED,
        _ => r#"{"error":{"message":"no such path"}}"#,
    };
    json(200, body)
}

/// A proxy with a connection `c1` of `provider` to `upstream`.
async fn over(provider: &str, upstream: &Upstream, change: impl FnOnce(&mut v1::Connection)) -> Proxy {
    let snapshot = snapshot_with(|resources| {
        resources.connection("c1", provider, |connection| {
            connection.base_url = format!("http://{}", upstream.address);
            change(connection);
        });
    });
    Proxy::start(&[], snapshot).await
}

#[tokio::test]
async fn a_provider_of_the_catalog_can_stand_anywhere() {
    for (provider, path, header, credential) in [
        ("anthropic", "/v1/messages", "x-api-key", "sk-secret-of-c1"),
        ("gemini", "/v1beta/models/m:generateContent", "x-goog-api-key", "sk-secret-of-c1"),
        ("ollama", "/api/chat", "authorization", "Bearer sk-secret-of-c1"),
        ("cohere", "/v2/chat", "authorization", "Bearer sk-secret-of-c1"),
        ("bedrock", "/model/m/converse", "authorization", "Bearer sk-secret-of-c1"),
    ] {
        let upstream = Upstream::answering(|asked| answer_of(&asked.path)).await;
        let proxy = over(provider, &upstream, |_| {}).await;
        let body =
            format!(r#"{{"model":"{provider}/m","max_tokens":50,"messages":[{{"role":"user","content":"hi"}}]}}"#);
        let answer = proxy.chat(body).await;
        assert_eq!(answer.status, 200, "{provider}: {}", answer.text());
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello!", "{provider}");
        let asked = upstream.last();
        assert_eq!((asked.path.as_str(), asked.headers[header].to_str().expect("text")), (path, credential));
        assert!(!asked.headers.contains_key("anthropic-version") || provider == "anthropic");
        let event = proxy.event().await;
        let usage = event.usage.expect("usage");
        assert_eq!((event.provider.as_str(), usage.input, usage.output), (provider, Some(11), Some(7)), "{provider}");
        assert!(!event.estimated, "{provider}");
    }
}

#[tokio::test]
async fn an_ollama_connection_needs_no_key_and_nodes_speak_their_api() {
    let upstream = Upstream::answering(|asked| answer_of(&asked.path)).await;
    let proxy = over("ollama", &upstream, |connection| {
        connection.secret.clear();
        connection.auth_type = "none".to_owned();
    })
    .await;
    let answer = proxy.chat(r#"{"model":"ollama/qwen3:8b","messages":[{"role":"user","content":"hi"}]}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!upstream.last().headers.contains_key("authorization"));
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&upstream.last().body).expect("JSON")["model"], "qwen3:8b");

    for (kind, api_type, base, path) in [
        ("openai-compatible", "responses", "/v1", "/v1/responses"),
        ("anthropic-compatible", "", "/v1", "/v1/messages"),
        ("anthropic-compatible", "", "", "/v1/messages"),
    ] {
        let snapshot = snapshot_with(|resources| {
            resources.node_of("n", &format!("http://{}{base}", upstream.address), kind, api_type);
            resources.connection("c1", "n", |_| {});
        });
        let proxy = Proxy::start(&[], snapshot).await;
        let answer = proxy.chat(r#"{"model":"n/m","messages":[{"role":"user","content":"hi"}]}"#).await;
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello!", "{kind} {base}");
        assert_eq!(upstream.last().path, path);
    }
}

// === Bedrock ===

/// What the signature of a request must be, calculated from what arrived.
fn expected_signature(upstream: &Upstream, asked: &ReceivedRequest) -> String {
    let spec = ConnectionSpec {
        id: "c1",
        provider: "bedrock",
        name: "c1",
        auth_type: "apikey",
        secret: PAIR,
        base_url: "",
        region: "eu-west-1",
        api_type: "",
        headers: &[],
        timeouts: Timeouts::default(),
        max_concurrent: 0,
        node: None,
        cloud: CloudSpec::default(),
    };
    let connection = Connection::compile(&spec, AddressPolicy::PublicOnly).expect("compiled");
    let date = asked.headers["x-amz-date"].to_str().expect("text");
    let (day, time) = date.trim_end_matches('Z').split_once('T').expect("a date");
    let stamp = format!("{}-{}-{}T{}:{}:{}Z", &day[..4], &day[4..6], &day[6..], &time[..2], &time[2..4], &time[4..]);
    let mut request = Request::builder()
        .method(&asked.method)
        .uri(format!("http://{}{}", upstream.address, asked.path))
        .header("content-type", &asked.headers["content-type"])
        .body(())
        .expect("a request");
    let now = UnixMillis::parse(&stamp).expect("a time");
    connection.signer().expect("keys").sign(&mut request, std::iter::once(&asked.body[..]), now).expect("signed");
    request.headers()["authorization"].to_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_pair_of_keys_signs_what_is_sent() {
    let upstream = Upstream::answering(|asked| answer_of(&asked.path)).await;
    let proxy = over("bedrock", &upstream, |connection| {
        connection.secret = PAIR.to_owned();
        connection.region = "eu-west-1".to_owned();
    })
    .await;
    let body = r#"{"model":"bedrock/us.amazon.nova-pro-v1:0","messages":[{"role":"user","content":"hi"}]}"#;
    let answer = proxy.chat(body).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello!", "{}", answer.text());
    let asked = upstream.last();
    assert_eq!(asked.path, "/model/us.amazon.nova-pro-v1%3A0/converse");
    let signature = asked.headers["authorization"].to_str().expect("text");
    assert!(signature.contains("/eu-west-1/bedrock/aws4_request"), "{signature}");
    assert_eq!(signature, expected_signature(&upstream, &asked));
    for (name, value) in &asked.headers {
        assert!(!value.to_str().expect("text").contains("wJalrXUtnFEMI"), "{name}");
    }
}

#[tokio::test]
async fn a_bedrock_stream_and_what_goes_wrong_in_it() {
    let mut whole = Vec::new();
    write_event("messageStart", br#"{"role":"assistant"}"#, &mut whole);
    write_event("contentBlockDelta", br#"{"contentBlockIndex":0,"delta":{"text":"Hello"}}"#, &mut whole);
    write_event("contentBlockStop", br#"{"contentBlockIndex":0}"#, &mut whole);
    write_event("messageStop", br#"{"stopReason":"end_turn"}"#, &mut whole);
    write_event("metadata", br#"{"usage":{"inputTokens":3,"outputTokens":1,"totalTokens":4}}"#, &mut whole);
    let mut broken = Vec::new();
    write_event("messageStart", br#"{"role":"assistant"}"#, &mut broken);
    write_exception("throttlingException", br#"{"message":"Too many requests"}"#, &mut broken);
    let mut invalid = Vec::new();
    write_event("messageStart", br#"{"role":"assistant"}"#, &mut invalid);
    write_exception("validationException", br#"{"message":"bad input here"}"#, &mut invalid);
    let upstream = Upstream::answering(move |asked| {
        assert!(asked.path.ends_with("/converse-stream"), "{}", asked.path);
        let body = match () {
            () if asked.path.contains("throttled") => broken.clone(),
            () if asked.path.contains("invalid") => invalid.clone(),
            () => whole.clone(),
        };
        typed(200, "application/vnd.amazon.eventstream", body)
    })
    .await;
    let ask = |model: &str| {
        format!(r#"{{"model":"bedrock/{model}","stream":true,"messages":[{{"role":"user","content":"hi"}}]}}"#)
    };
    let proxy = over("bedrock", &upstream, |_| {}).await;
    let answer = proxy.chat(ask("amazon.nova-lite-v1:0")).await;
    assert!(answer.text().contains("Hello") && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    let usage = proxy.event().await.usage.expect("usage");
    assert_eq!((usage.input, usage.output), (Some(3), Some(1)));
    // An exception before anything was shown is an answer of its own.
    let refused = proxy.chat(ask("throttled")).await;
    assert_eq!((refused.status.as_u16(), refused.error().2.as_str()), (429, "upstream_rate_limited"));
    let refused = over("bedrock", &upstream, |_| {}).await.chat(ask("invalid")).await;
    assert_eq!((refused.status.as_u16(), refused.error().2.as_str()), (400, "upstream_rejected"), "{}", refused.text());
}

#[tokio::test]
async fn bedrocks_errors_are_told_apart_by_their_names() {
    for (status, kind, shown, code) in [
        (429, "ThrottlingException:http://internal.amazon.com/coral/", 429, "upstream_rate_limited"),
        (403, "AccessDeniedException", 502, "upstream_auth"),
        (403, "InvalidSignatureException", 502, "upstream_auth"),
        (404, "ResourceNotFoundException", 404, "upstream_model_unknown"),
        (400, "ValidationException", 400, "upstream_rejected"),
        (503, "ServiceUnavailableException", 503, "upstream_error"),
    ] {
        let upstream = Upstream::answering(move |_| {
            let mut given = json(status, r#"{"message":"it went wrong"}"#);
            given.headers_mut().insert("x-amzn-errortype", kind.parse().expect("a value"));
            given
        })
        .await;
        let proxy = over("bedrock", &upstream, |_| {}).await;
        let answer = proxy.chat(r#"{"model":"bedrock/m","messages":[{"role":"user","content":"hi"}]}"#).await;
        assert_eq!((answer.error().0, answer.error().2.as_str()), (shown, code), "{kind}");
        assert_discreet(&upstream, &answer);
    }
    let upstream = Upstream::answering(|asked| answer_of(&asked.path)).await;
    let proxy = over("bedrock", &upstream, |_| {}).await;
    let answer = proxy.chat(r#"{"model":"bedrock/..","messages":[{"role":"user","content":"hi"}]}"#).await;
    assert_eq!((answer.error().0, answer.error().2.as_str()), (400, "invalid_model"));
    assert!(upstream.asked().is_empty(), "nothing leaves its path");
}

// === embeddings ===

fn vectors_of(path: &str) -> UpstreamResponse {
    let body = match path {
        "/v1/embeddings" => {
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1]}],"model":"m","usage":{"prompt_tokens":4,"total_tokens":4}}"#
        }
        "/api/embed" => r#"{"model":"m","embeddings":[[0.5,-1]],"prompt_eval_count":4}"#,
        "/v2/embed" => r#"{"embeddings":{"float":[[0.5,-1]]},"meta":{"billed_units":{"input_tokens":4}}}"#,
        path if path.ends_with(":batchEmbedContents") => r#"{"embeddings":[{"values":[0.5,-1]}]}"#,
        path if path.ends_with("/invoke") => r#"{"embedding":[0.5,-1],"inputTextTokenCount":4}"#,
        _ => r#"{"error":{"message":"no such path"}}"#,
    };
    json(200, body)
}

#[tokio::test]
async fn embeddings_cross_between_every_client_and_every_upstream() {
    for (provider, model, path) in [
        ("openai", "m", "/embeddings"),
        ("gemini", "m", "/v1beta/models/m:batchEmbedContents"),
        ("ollama", "m", "/api/embed"),
        ("cohere", "m", "/v2/embed"),
        ("bedrock", "amazon.titan-embed-text-v2:0", "/model/amazon.titan-embed-text-v2%3A0/invoke"),
    ] {
        let upstream = Upstream::answering(|asked| {
            vectors_of(if asked.path == "/embeddings" { "/v1/embeddings" } else { &asked.path })
        })
        .await;
        let proxy = over(provider, &upstream, |_| {}).await;
        let name = format!("{provider}/{model}");
        for (client, body) in [
            ("/v1/embeddings".to_owned(), value!({"model": name, "input": "hi"})),
            (format!("/v1beta/models/{name}:embedContent"), value!({"content": {"parts": [{"text": "hi"}]}})),
            (
                format!("/v1beta/models/{name}:batchEmbedContents"),
                value!({"requests": [{"model": "models/x", "content": {"parts": [{"text": "hi"}]}}]}),
            ),
            ("/api/embed".to_owned(), value!({"model": name, "input": ["hi"]})),
            ("/v1/api/embeddings".to_owned(), value!({"model": name, "prompt": "hi"})),
        ] {
            let answer = proxy.post(&client, body.to_string()).await;
            assert_eq!(answer.status, 200, "{provider} {client}: {}", answer.text());
            assert_eq!(answer.header("content-type"), "application/json");
            let shown = answer.json();
            let vector =
                ["/data/0/embedding", "/embedding/values", "/embeddings/0/values", "/embeddings/0", "/embedding"]
                    .iter()
                    .find_map(|at| shown.pointer(at).filter(|found| found.is_array()));
            let numbers: Vec<_> =
                vector.and_then(|vector| vector.as_array()).into_iter().flatten().map(|n| n.as_f64()).collect();
            assert_eq!(numbers, [Some(0.5), Some(-1.0)], "{provider} {client}: {shown}");
        }
        assert_eq!(upstream.last().path, path);
        let events = proxy.inner.closed_events(5).await;
        for event in events {
            assert_eq!((event.operation.as_str(), event.outcome()), ("embeddings", Outcome::Ok));
            let counted = (event.usage.expect("usage").input, event.estimated);
            assert!(
                if provider == "gemini" { counted.1 } else { counted == (Some(4), false) },
                "{provider}: {counted:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_cannot_be_embedded_is_refused_in_the_clients_words() {
    let upstream = Upstream::answering(|asked| vectors_of(&asked.path)).await;
    let proxy = over("cohere", &upstream, |_| {}).await;
    let answer = proxy.post("/v1/embeddings", r#"{"model":"cohere/m","input":[1,2,3]}"#).await;
    assert_eq!((answer.error().0, answer.error().2.as_str()), (400, "unsupported_feature"));
    assert_eq!(answer.json()["error"]["param"], "input");
    let answer = proxy.post("/v1beta/models/cohere/m:embedContent", "{}").await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["status"].as_str()), (400, Some("INVALID_ARGUMENT")));
    let answer = proxy.post("/api/embed", r#"{"model":"cohere/m"}"#).await;
    assert!(answer.status == 400 && answer.json()["error"].is_string(), "{}", answer.text());
    assert!(upstream.asked().is_empty());
    // An answer that is none falls back like any other.
    let broken = Upstream::answering(|_| json(200, r#"{"embeddings":{"float":[]}}"#)).await;
    let proxy = over("cohere", &broken, |_| {}).await;
    let answer = proxy.post("/v1/embeddings", r#"{"model":"cohere/m","input":"a"}"#).await;
    assert_eq!((answer.error().0, answer.error().2.as_str()), (502, "upstream_error"));
    let claude = over("anthropic", &upstream, |_| {}).await;
    let answer = claude.post("/v1/embeddings", r#"{"model":"anthropic/m","input":"a"}"#).await;
    assert_eq!((answer.error().0, answer.error().2.as_str()), (400, "unsupported_operation"));
}

#[tokio::test]
async fn titan_gets_a_request_for_each_text_and_the_client_one_answer() {
    let running = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let most = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (counting, highest) = (std::sync::Arc::clone(&running), std::sync::Arc::clone(&most));
    let upstream = Upstream::scripted(move |mut stream| {
        let (counting, highest) = (std::sync::Arc::clone(&counting), std::sync::Arc::clone(&highest));
        async move {
            use std::sync::atomic::Ordering::SeqCst;
            highest.fetch_max(counting.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            counting.fetch_sub(1, SeqCst);
            let body = r#"{"embedding":[0.5],"inputTextTokenCount":3}"#;
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, format!("{head}{body}").as_bytes()).await;
        }
    })
    .await;
    let name = "bedrock/amazon.titan-embed-text-v2:0";
    let texts: Vec<String> = (0..20).map(|n| format!("text {n}")).collect();
    let body = value!({"model": name, "input": texts}).to_string();
    for limit in [0, 1] {
        let proxy = over("bedrock", &upstream, |connection| connection.max_concurrent = limit).await;
        most.store(0, std::sync::atomic::Ordering::SeqCst);
        let before = upstream.asked().len();
        let answer = proxy.post("/v1/embeddings", body.clone()).await;
        let shown = answer.json();
        assert_eq!(shown["data"].as_array().map(Vec::len), Some(20), "{}", answer.text());
        assert_eq!((&shown["data"][19]["index"], &shown["usage"]["prompt_tokens"]), (&value!(19), &value!(60)));
        let mut sent: Vec<String> = upstream.asked()[before..]
            .iter()
            .map(|asked| {
                serde_json::from_slice::<serde_json::Value>(&asked.body).expect("JSON")["inputText"].to_string()
            })
            .collect();
        sent.sort_by_key(|text| text.len());
        assert_eq!(sent.len(), 20);
        let at_once = most.load(std::sync::atomic::Ordering::SeqCst);
        assert!(if limit == 0 { (2..=8).contains(&at_once) } else { at_once == 1 }, "{at_once} at once");
        let event = proxy.event().await;
        assert_eq!((event.usage.expect("usage").input, event.estimated), (Some(60), false));
    }
}

#[tokio::test]
async fn a_text_that_fails_fails_the_request() {
    let upstream = Upstream::answering(|asked| {
        if memchr::memmem::find(&asked.body, b"bad").is_some() {
            return json(429, r#"{"message":"Too many requests"}"#);
        }
        json(200, r#"{"embedding":[0.5],"inputTextTokenCount":3}"#)
    })
    .await;
    let proxy = over("bedrock", &upstream, |_| {}).await;
    let body = r#"{"model":"bedrock/amazon.titan-embed-text-v2:0","input":["a","b","bad","c"]}"#;
    let answer = proxy.post("/v1/embeddings", body).await;
    assert_eq!((answer.error().0, answer.error().2.as_str()), (429, "upstream_rate_limited"));
}

#[tokio::test]
async fn a_stream_without_content_ends_once() {
    const CUT: &str = "data: {\"candidates\":[{\"content\":{},\"finishReason\":\"MAX_TOKENS\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"thoughtsTokenCount\":9,\"totalTokenCount\":12}}\r\n\r\n";
    let upstream = Upstream::answering(|_| typed(200, "text/event-stream", CUT)).await;
    let proxy = over("gemini", &upstream, |_| {}).await;
    let body = r#"{"model":"gemini/m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    for (path, end) in [("/v1/chat/completions", "data: [DONE]"), ("/v1/messages", "event: message_stop")] {
        let answer = proxy.post(path, body).await;
        assert_eq!(answer.text().matches(end).count(), 1, "{}", answer.text());
    }
}

#[tokio::test]
async fn the_same_call_of_two_answers_has_two_ids() {
    const OLLAMA: &str = r#"{"model":"m","message":{"role":"assistant","tool_calls":[{"function":{"name":"ls","arguments":{"path":"."}}}]},"done":true,"done_reason":"stop"}"#;
    const GEMINI: &str = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"ls","args":{"path":"."}}}]},"finishReason":"STOP"}]}"#;
    const CHAT: &str = r#"{"choices":[{"index":0,"message":{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"ls","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#;
    let upstream = Upstream::answering(|asked| match asked.path.as_str() {
        "/api/chat" if asked.body.windows(13).any(|at| at == b"\"stream\":true") => {
            typed(200, "application/x-ndjson", OLLAMA)
        }
        "/api/chat" => json(200, OLLAMA),
        path if path.contains(":stream") => typed(200, "text/event-stream", format!("data: {GEMINI}\n\n")),
        path if path.contains("gen") => json(200, GEMINI),
        _ => json(200, CHAT),
    })
    .await;
    let snapshot = snapshot_with(|resources| {
        for provider in ["ollama", "gemini"] {
            resources.connection(provider, provider, |own| own.base_url = format!("http://{}", upstream.address));
        }
        resources.node("mock", &upstream.base_url());
        resources.connection("c1", "mock", |_| {});
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let mut ids = std::collections::HashSet::new();
    for provider in ["ollama", "gemini", "mock"] {
        for stream in [false, false, true, true] {
            let body = value!({"model": format!("{provider}/m"), "max_tokens": 9, "stream": stream,
                "messages": [{"role": "user", "content": "hi"}], "tools": [{"name": "ls", "input_schema": {"type": "object"}}]});
            let text = proxy.post("/v1/messages", body.to_string()).await.text().to_owned();
            let at = text.find("\"id\":\"call_").unwrap_or_else(|| panic!("{provider}: {text}")) + 6;
            let id = text[at..].split('"').next().expect("an id");
            assert!(id.len() <= 40, "{id}");
            assert!(ids.insert(id.to_owned()), "{provider}, {stream}: {id} again");
        }
    }
}

#[tokio::test]
async fn switches_of_anthropics_clients_go_where_they_are_known_and_are_listed_elsewhere() {
    let upstream = Upstream::answering(|asked| answer_of(&asked.path)).await;
    let ask = async |proxy: &Proxy, model: &str, body: &str| {
        let request = proxy.request("POST", "/v1/messages").header("x-api-key", KEY);
        let request = request.header("anthropic-beta", "claude-code-20250219, interleaved-thinking-2025-05-14");
        let body = body.replace("MODEL", model);
        send(request.header("anthropic-beta", "context-1m-2025-08-07").body(Full::from(body)).expect("a request")).await
    };
    const PLAIN: &str = r#"{"model":"MODEL","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    for (provider, model, taken) in [
        (
            "bedrock",
            "eu.anthropic.claude-sonnet-4-5-v1:0",
            Some(value!(["interleaved-thinking-2025-05-14", "context-1m-2025-08-07"])),
        ),
        ("bedrock", "anthropic.claude-opus-4-7-v1", Some(value!(["interleaved-thinking-2025-05-14"]))),
        ("bedrock", "amazon.nova-lite-v1:0", None),
        ("cohere", "command-x", None),
        ("gemini", "gemini-x", None),
        ("ollama", "qwen3", None),
    ] {
        let proxy = over(provider, &upstream, |_| {}).await;
        let answer = ask(&proxy, &format!("{provider}/{model}"), PLAIN).await;
        assert_eq!(answer.status, 200, "{provider}: {}", answer.text());
        assert!(answer.header("x-omniroute-dropped").contains("anthropic-beta"), "{provider} {model}");
        let sent: serde_json::Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
        assert_eq!(sent["additionalModelRequestFields"].get("anthropic_beta"), taken.as_ref(), "{sent}");
        assert!(!upstream.last().headers.contains_key("anthropic-beta"));
    }
    // A request that is written anew for its own family keeps them, beside those that it needs.
    let proxy = over("anthropic", &upstream, |_| {}).await;
    let again = r#"{"model":"MODEL","max_tokens":9,"context_management":{"edits":[]},"messages":[{"role":"user","content":"hi"},
        {"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"omr1.x"},{"type":"text","text":"a"}]},{"role":"user","content":"b"}]}"#;
    assert_eq!(ask(&proxy, "anthropic/m", again).await.status, 200);
    let asked = upstream.last();
    let betas: Vec<_> = asked.headers.get_all("anthropic-beta").iter().map(|one| one.to_str().expect("text")).collect();
    assert_eq!(
        betas,
        ["claude-code-20250219,interleaved-thinking-2025-05-14,context-1m-2025-08-07,context-management-2025-06-27"]
    );
    assert!(memchr::memmem::find(&asked.body, b"omr1").is_none(), "a token that nobody can open goes to nobody");
}

// === OpenAI ===

const CHATTED: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello!"},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}"#;

fn both(asked: &ReceivedRequest) -> UpstreamResponse {
    if asked.path == "/v1/chat/completions" { json(200, CHATTED) } else { answer_of(&asked.path) }
}

#[tokio::test]
async fn openai_is_asked_in_the_api_that_has_the_model_and_the_ledger_says_which() {
    let tools =
        r#","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}]"#;
    let messages = r#""max_tokens":50,"messages":[{"role":"user","content":"hi"}]"#;
    for (path, model, more, upstream_path, format) in [
        ("/v1/chat/completions", "gpt-4o", tools, "/v1/chat/completions", "openai"),
        ("/v1/chat/completions", "gpt-5.4", tools, "/v1/chat/completions", "openai"),
        ("/v1/chat/completions", "gpt-5.6", tools, "/v1/responses", "responses"),
        ("/v1/chat/completions", "gpt-5.3-codex", "", "/v1/responses", "responses"),
        ("/v1/messages", "gpt-5.4", tools_of_messages(), "/v1/responses", "responses"),
        ("/v1/messages", "gpt-4o", tools_of_messages(), "/v1/chat/completions", "openai"),
    ] {
        let upstream = Upstream::answering(both).await;
        let proxy = over("openai", &upstream, |connection| {
            connection.base_url += "/v1";
            connection.api_type = "both".to_owned();
        })
        .await;
        let answer = proxy.post(path, format!(r#"{{"model":"openai/{model}",{messages}{more}}}"#)).await;
        assert_eq!(answer.status, 200, "{path} {model}: {}", answer.text());
        assert!(answer.text().contains("Hello!"), "{path} {model}: {}", answer.text());
        assert_eq!(upstream.last().path, upstream_path, "{path} {model}");
        let event = proxy.event().await;
        assert_eq!(event.target_format, format, "{path} {model}");
        assert_eq!(event.usage.expect("usage").output, Some(7), "{path} {model}");
    }
}

const fn tools_of_messages() -> &'static str {
    r#","tools":[{"name":"f","input_schema":{"type":"object","properties":{}}}]"#
}

#[tokio::test]
async fn a_responses_client_passes_to_openai_as_it_came_unless_the_host_has_chat_only() {
    let upstream = Upstream::answering(both).await;
    let proxy = over("openai", &upstream, |connection| {
        connection.base_url += "/v1";
        connection.api_type = "both".to_owned();
    })
    .await;
    let body = r#"{ "model":"gpt-4o", "input":"hi", "store":false, "a_field_of_tomorrow":1.0 }"#;
    let answer = proxy.post("/v1/responses", body.replace("gpt-4o", "openai/gpt-4o")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((upstream.last().path.as_str(), &upstream.last().body[..]), ("/v1/responses", body.as_bytes()));

    for api_type in ["chat", ""] {
        let proxy = over("openai", &upstream, |connection| {
            connection.base_url += "/v1";
            connection.api_type = api_type.to_owned();
        })
        .await;
        let answer = proxy.post("/v1/responses", body.replace("gpt-4o", "openai/gpt-4o")).await;
        assert_eq!(answer.json()["output"][0]["content"][0]["text"], "Hello!", "{}", answer.text());
        assert_eq!(upstream.last().path, "/v1/chat/completions");
    }
}

#[tokio::test]
async fn a_strangers_host_is_asked_in_chat_by_clients_of_models_that_think() {
    let upstream = Upstream::answering(|asked: &ReceivedRequest| match asked.path.as_str() {
        "/v1/chat/completions" => json(200, CHATTED),
        path => json(404, format!(r#"{{"error":{{"message":"no {path}"}}}}"#)),
    })
    .await;
    let proxy = over("openai", &upstream, |connection| connection.base_url += "/v1").await;
    for model in ["gpt-5.4", "o3"] {
        let body =
            format!(r#"{{"model":"openai/{model}","max_tokens":50,"messages":[{{"role":"user","content":"hi"}}]}}"#);
        let answer = proxy.post("/v1/messages", body).await;
        assert_eq!(answer.json()["content"][0]["text"], "Hello!", "{model}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_fallback_to_a_host_with_another_api_is_written_anew() {
    let upstream = Upstream::answering(|asked| match asked.path.as_str() {
        "/first/responses" => json(500, r#"{"error":{"message":"broken"}}"#),
        "/second/chat/completions" => json(200, CHATTED),
        path => json(404, format!(r#"{{"error":{{"message":"no {path}"}}}}"#)),
    })
    .await;
    let snapshot = snapshot_with(|resources| {
        for (id, place, api_type) in [("c1", "first", "both"), ("c2", "second", "chat")] {
            resources.connection(id, "openai", |connection| {
                connection.base_url = format!("http://{}/{place}", upstream.address);
                connection.api_type = api_type.to_owned();
                connection.priority = i32::from(place == "second");
            });
        }
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let answer = proxy.post("/v1/responses", r#"{"model":"openai/gpt-4o","input":"hi","store":false}"#).await;
    assert_eq!(answer.json()["output"][0]["content"][0]["text"], "Hello!", "{}", answer.text());
    let asked = upstream.last();
    let body: serde_json::Value = serde_json::from_slice(&asked.body).expect("JSON");
    assert_eq!((asked.path.as_str(), &body["messages"][0]["content"]), ("/second/chat/completions", &value!("hi")));
    let event = proxy.event().await;
    assert_eq!((event.target_format.as_str(), event.attempts), ("openai", 2));
}
