//! The headers by which a client asks for more than its dialect can say, and media behind URLs.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{
    upstream::{events, json as json_answer, typed},
    *,
};

const TEXT: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello there\"}}]}\n\n";
const FINISH: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n0123456789";
const BASE64: &str = "iVBORw0KGgowMTIzNDU2Nzg5";
const PRIVATE: &[(&str, &str)] = &[("ALLOW_PRIVATE_MEDIA_URLS", "true")];

async fn post_with(proxy: &Proxy, path: &str, header: (&str, &str), body: impl Into<Bytes>) -> Answer {
    let request = proxy.request("POST", path).header("authorization", format!("Bearer {KEY}"));
    send(request.header(header.0, header.1).body(Full::new(body.into())).expect("a request")).await
}

/// An Ollama server, and a place for pictures at its side.
async fn ollama() -> Upstream {
    Upstream::answering(|asked| match asked.path.as_str() {
        "/picture.png" => typed(200, "application/octet-stream", PNG),
        "/page" => typed(200, "text/html", "<html></html>"),
        "/moved" => moved("/picture.png"),
        "/to-metadata" => moved("http://169.254.169.254/latest/meta-data/"),
        "/to-secrets" => moved("https://user:pass@example.com/x"),
        "/to-files" => moved("file:///etc/passwd"),
        "/to-metadata-later" => moved("/to-metadata"),
        "/round" => moved("/round"),
        "/api/chat" => json_answer(
            200,
            r#"{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"A cat."},"done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":2}"#,
        ),
        _ => json_answer(404, "{}"),
    })
    .await
}

fn moved(to: &'static str) -> upstream::UpstreamResponse {
    let mut given = typed(302, "text/plain", "");
    given.headers_mut().insert("location", http::HeaderValue::from_static(to));
    given
}

/// A proxy that may fetch from this machine, as its operator says.
async fn before_ollama(upstream: &Upstream) -> Proxy {
    before_ollama_with(upstream, PRIVATE).await
}

async fn before_ollama_with(upstream: &Upstream, settings: &[(&str, &str)]) -> Proxy {
    let url = format!("http://{}", upstream.address);
    let snapshot = snapshot_with(|resources| {
        resources.connection("o1", "ollama", |connection| connection.base_url = url);
    });
    Proxy::start(settings, snapshot).await
}

fn looking_at(url: &str) -> String {
    let parts = json!([{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": url}}]);
    json!({"model": "ollama/llava", "messages": [{"role": "user", "content": parts}]}).to_string()
}

#[tokio::test]
async fn progress_is_told_where_it_is_asked_for() {
    let upstream = Upstream::answering(|_| events(&[TEXT, FINISH, DONE], Duration::ZERO)).await;
    let proxy = Proxy::before(&upstream).await;
    let asking = ("x-omniroute-progress", "true");
    let answer = post_with(&proxy, "/v1/chat/completions", asking, STREAM).await;
    assert_eq!(answer.header("x-omniroute-progress"), "enabled");
    let (before, last) = answer.text().split_once("event: progress\ndata: ").expect("one event");
    assert_eq!(before, [TEXT, FINISH].concat());
    let (data, rest) = last.split_once("\n\n").expect("an event");
    assert_eq!(rest, DONE, "behind the terminator nobody reads");
    let data: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!((&data["type"], &data["stage"], &data["done"]), (&json!("progress"), &json!("done"), &json!(true)));
    assert!(data["tokens_generated"].as_u64() > Some(0) && data["elapsed_ms"].is_u64(), "{data}");
    assert_eq!(data["choices"], json!([]));
    for (value, stream) in [("false", STREAM), ("true", CHAT)] {
        let plain = post_with(&proxy, "/v1/chat/completions", ("x-omniroute-progress", value), stream).await;
        assert!(value == "true" || !plain.text().contains("event: progress"));
        assert!(stream == CHAT || plain.header("x-omniroute-progress").is_empty());
    }
    // A client of another dialect gets them without what is OpenAI's.
    let body = r#"{"model":"mock/m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    let answer = post_with(&proxy, "/v1/messages", asking, body).await;
    assert!(
        answer.text().contains("event: message_stop") && answer.text().contains("event: progress"),
        "{}",
        answer.text()
    );
    assert!(!answer.text().contains("\"choices\""));
    let lines = post_with(&proxy, "/api/chat", asking, body.replace("\"max_tokens\":9,", "")).await;
    assert!(lines.header("x-omniroute-progress").is_empty() && !lines.text().contains("event:"), "{}", lines.text());
}

#[tokio::test]
async fn who_is_strict_is_refused_where_others_lose_something() {
    let upstream = ollama().await;
    let proxy = before_ollama(&upstream).await;
    let body = r#"{"model":"ollama/m","logit_bias":{"1":1},"messages":[{"role":"user","content":"hi"}]}"#;
    let lenient = proxy.chat(body).await;
    assert_eq!((lenient.status.as_u16(), lenient.header("x-omniroute-dropped")), (200, "logit_bias"));
    let strict = post_with(&proxy, "/v1/chat/completions", ("x-omniroute-strict", "true"), body).await;
    assert_eq!((strict.error().0, strict.error().2.as_str()), (400, "unsupported_feature"));
    assert!(strict.text().contains("logit_bias"));
    assert_eq!(upstream.asked().len(), 1, "nothing was spent");
    let whole = r#"{"model":"ollama/m","messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(post_with(&proxy, "/v1/chat/completions", ("x-omniroute-strict", "true"), whole).await.status, 200);
}

#[tokio::test]
async fn media_are_fetched_once_for_who_takes_no_urls() {
    let upstream = ollama().await;
    let proxy = before_ollama(&upstream).await;
    for path in ["/picture.png", "/moved", "/picture.png"] {
        let answer = proxy.chat(looking_at(&format!("http://{}{path}", upstream.address))).await;
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "A cat.", "{}", answer.text());
        let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
        assert_eq!(sent["messages"][0]["images"], json!([BASE64]));
    }
    let fetches = upstream.asked().into_iter().filter(|asked| asked.method == http::Method::GET);
    let paths: Vec<String> = fetches.map(|asked| asked.path).collect();
    assert_eq!(paths, ["/picture.png", "/moved", "/picture.png"], "the third request is served from memory");
    let asked = upstream.asked().into_iter().find(|asked| asked.path == "/picture.png").expect("fetched");
    assert!(!asked.headers.contains_key("authorization"), "no credential goes along");
}

#[tokio::test]
async fn a_clients_url_never_leads_inside_though_the_operators_connections_may() {
    let upstream = ollama().await;
    let proxy = before_ollama_with(&upstream, &[]).await;
    // The connection itself is on loopback, and open: neither it nor its name is a way in.
    let hi = r#"{"model":"ollama/m","messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(proxy.chat(hi).await.status, 200);
    let port = upstream.address.port();
    for url in [
        format!("http://{}/picture.png", upstream.address),
        format!("https://{}/picture.png", upstream.address),
        format!("https://localhost:{port}/picture.png"),
        format!("https://127.1:{port}/picture.png"),
        format!("https://[::ffff:127.0.0.1]:{port}/picture.png"),
    ] {
        let refused = proxy.chat(looking_at(&url)).await;
        assert_eq!((refused.error().0, refused.error().2.as_str()), (400, "media_url_forbidden"), "{url}");
        let source = json!({"type": "document", "source": {"type": "url", "url": url}});
        let body =
            json!({"model": "ollama/llava", "max_tokens": 9, "messages": [{"role": "user", "content": [source]}]});
        assert_eq!(proxy.post("/v1/messages", body.to_string()).await.status.as_u16(), 400, "{url}");
    }
    assert_eq!(upstream.asked().len(), 1, "nothing was fetched");
}

#[tokio::test]
async fn a_picture_of_unknown_length_holds_no_more_memory_than_it_takes() {
    let pictures = Upstream::scripted(|mut stream| async move {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(&[head.as_bytes(), PNG].concat()).await;
        let _ = stream.shutdown().await;
    })
    .await;
    let upstream = ollama().await;
    let proxy = before_ollama(&upstream).await;
    let answer = proxy.chat(looking_at(&format!("http://{}/a.png", pictures.address))).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "A cat.", "{}", answer.text());
    // What requests hold is given back once they are over; what is kept is the picture.
    while proxy.inner.stages.admission.memory().held() > 1024 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let again = proxy.chat(looking_at(&format!("http://{}/a.png", pictures.address))).await;
    assert_eq!((again.status.as_u16(), pictures.asked().len()), (200, 1));
}

#[tokio::test]
async fn media_that_cannot_be_had_are_the_clients_business() {
    let upstream = ollama().await;
    let proxy = before_ollama(&upstream).await;
    let at = |path: &str| format!("http://{}{path}", upstream.address);
    let away = Upstream::absent().await;
    for (url, code) in [
        (at("/page"), "media_type_unsupported"),
        (at("/none"), "media_unreachable"),
        (at("/round"), "media_unreachable"),
        (format!("http://{}/x", away.address), "media_unreachable"),
        // Every step of a redirection is judged as the first one.
        (at("/to-metadata"), "media_url_forbidden"),
        (at("/to-metadata-later"), "media_url_forbidden"),
        (at("/to-secrets"), "media_url_forbidden"),
        (at("/to-files"), "media_url_forbidden"),
        ("http://169.254.169.254/x".to_owned(), "media_url_forbidden"),
        ("ftp://example.com/x".to_owned(), "media_url_forbidden"),
        ("https://user:pass@example.com/x".to_owned(), "media_url_forbidden"),
    ] {
        let refused = proxy.chat(looking_at(&url)).await;
        assert_eq!((refused.error().0, refused.error().2.as_str()), (400, code), "{url}: {}", refused.text());
    }
    let many: Vec<Value> =
        (0..21).map(|n| json!({"type": "image_url", "image_url": {"url": format!("https://a.example/{n}")}})).collect();
    let body = json!({"model": "ollama/llava", "messages": [{"role": "user", "content": many}]}).to_string();
    assert_eq!(proxy.chat(body).await.error().2, "too_many_media_urls");
    assert!(!upstream.asked().iter().any(|asked| asked.path == "/api/chat") && proxy.inner.opened().is_empty());
    // An Anthropic client is told in its own words.
    let source = json!({"type": "image", "source": {"type": "url", "url": at("/none")}});
    let body = json!({"model": "ollama/llava", "max_tokens": 9, "messages": [{"role": "user", "content": [source]}]});
    let refused = proxy.post("/v1/messages", body.to_string()).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["type"]), (400, &json!("invalid_request_error")));
}

#[tokio::test]
async fn a_fetch_takes_nobodys_place_at_the_connection() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let opened = std::sync::Arc::clone(&gate);
    // A picture that comes when it is let through.
    let pictures = Upstream::scripted(move |mut stream| {
        let gate = std::sync::Arc::clone(&opened);
        async move {
            let _permit = gate.acquire().await.expect("open");
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: {}\r\n\r\n", PNG.len());
            let _ = stream.write_all(&[head.as_bytes(), PNG].concat()).await;
        }
    })
    .await;
    let upstream = ollama().await;
    let url = format!("http://{}", upstream.address);
    let snapshot = snapshot_with(|resources| {
        resources.connection("o1", "ollama", |connection| {
            connection.base_url.clone_from(&url);
            connection.max_concurrent = 1;
        });
    });
    let proxy = Proxy::start(PRIVATE, snapshot).await;
    let looking = proxy.chat(looking_at(&format!("http://{}/a.png", pictures.address)));
    let others = async {
        while pictures.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let body = r#"{"model":"ollama/m","messages":[{"role":"user","content":"hi"}]}"#;
        for _ in 0..3 {
            let started = tokio::time::Instant::now();
            assert_eq!(proxy.chat(body).await.status, 200);
            assert!(started.elapsed() < Duration::from_secs(2), "it waited for a place");
        }
        gate.add_permits(1);
    };
    let (seen, ()) = tokio::join!(looking, others);
    assert_eq!(seen.json()["choices"][0]["message"]["content"], "A cat.", "{}", seen.text());
    let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    assert_eq!(sent["messages"][0]["images"], json!([BASE64]));
    assert_eq!(pictures.asked().len(), 1);
}
