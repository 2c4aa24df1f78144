//! Pictures: in OpenAI's form, from providers that speak it, as a document or a stream.

use std::time::Duration;

use serde_json::json;

use super::{
    upstream::{events, json as answer_json, typed},
    *,
};

const PATH: &str = "/v1/images/generations";

#[tokio::test]
async fn images_pass_as_they_come_however_large() {
    let picture = "A".repeat(3 * 1024 * 1024);
    let given = format!(
        r#"{{"created":1,"data":[{{"b64_json":"{picture}"}}],"usage":{{"input_tokens":12,"output_tokens":4160,"total_tokens":4172}}}}"#
    );
    let expected = given.clone();
    let upstream = Upstream::answering(move |_| answer_json(200, given.clone())).await;
    let proxy = Proxy::with(&[], &upstream, |resources| {
        resources.model("mock", "gpt-image-2", "image");
        resources.model("mock", "gpt-4o", "chat");
        resources.node("other", &upstream.base_url());
        resources.connection("c2", "other", |_| {});
    })
    .await;
    let body = r#"{"model":"mock/gpt-image-2", "prompt":"a cat","future":1.0}"#;
    let answer = proxy.post("/v1/images/generations", body).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == expected, "every byte");
    let asked = upstream.last();
    assert_eq!(asked.path, "/v1/images/generations");
    assert_eq!(asked.body, body.replace("mock/", ""));
    let event = proxy.event().await;
    let usage = event.usage.expect("usage");
    assert_eq!((event.operation.as_str(), usage.input, usage.output), ("images", Some(12), Some(4160)));

    let path = "/v1/providers/mock/images/generations";
    assert_eq!(proxy.post(path, r#"{"model":"gpt-image-2","prompt":"a"}"#).await.status, 200);
    let mismatch = proxy.post(path, r#"{"model":"other/gpt-image-2","prompt":"a"}"#).await;
    assert_eq!((mismatch.error().0, mismatch.error().2.as_str()), (400, "model_mismatch"));
    let list = proxy.get("/v1/images/generations").await.json();
    let ids: Vec<_> = list["data"].as_array().expect("a list").iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, [&json!("mock/gpt-image-2")]);
}

#[tokio::test]
async fn images_without_a_count_are_not_guessed_at_and_need_a_provider_that_makes_them() {
    let upstream =
        Upstream::answering(|_| answer_json(200, r#"{"created":1,"data":[{"url":"https://x.example/1.png"}]}"#)).await;
    let proxy = Proxy::before(&upstream).await;
    let answer = proxy.post("/v1/images/generations", r#"{"model":"mock/dall-e-3","prompt":"a"}"#).await;
    assert_eq!(answer.json()["data"][0]["url"], "https://x.example/1.png");
    let event = proxy.event().await;
    assert_eq!((event.usage.unwrap_or_default().input, event.estimated), (None, false));
    let claude = Proxy::start(&[], snapshot_with(|resources| resources.connection("c1", "anthropic", |_| {}))).await;
    for body in [r#"{"model":"anthropic/m","prompt":"a"}"#, r#"{"model":"anthropic/m","prompt":"a","stream":true}"#] {
        let answer = claude.post(PATH, body).await;
        assert_eq!((answer.error().0, answer.error().2.as_str()), (400, "unsupported_operation"));
    }
}

const PARTIAL: &str = "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AAAA\",\"partial_image_index\":0,\"own\":1.0}\n\n";
const COMPLETED: &str = "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"BBBB\",\"usage\":{\"input_tokens\":12,\"output_tokens\":4160,\"total_tokens\":4172}}\n\n";
const ERROR: &str = "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"moderation_blocked\"}}\n\n";

#[tokio::test]
async fn a_stream_of_pictures_passes_as_it_comes() {
    let upstream = Upstream::answering(|_| events(&[PARTIAL, PARTIAL, COMPLETED], Duration::from_millis(20))).await;
    let proxy = Proxy::before(&upstream).await;
    let body = r#"{"stream":true,"partial_images":2,"model":"mock/gpt-image-2","prompt":"a cat"}"#;
    let answer = proxy.post(PATH, body).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, [PARTIAL, PARTIAL, COMPLETED].concat().as_str()));
    assert_eq!(answer.header("content-type").split(';').next(), Some("text/event-stream"));
    assert_eq!(answer.header("cache-control"), "no-cache");
    let asked = upstream.last();
    assert_eq!(String::from_utf8_lossy(&asked.body), body.replace("mock/", ""));
    assert_eq!(asked.headers["accept"], "text/event-stream");
    let event = proxy.event().await;
    let usage = event.usage.expect("usage");
    assert_eq!((event.operation.as_str(), usage.input, usage.output), ("images", Some(12), Some(4160)));
    assert!(!event.estimated && event.error_code.is_empty());
}

#[tokio::test]
async fn a_stream_of_pictures_that_breaks_off_or_fails_says_so() {
    for (frames, expected, code) in [
        (&[PARTIAL, ": on\n\n"][..], "broke off", "upstream_broken"),
        (&[PARTIAL, ERROR], "moderation_blocked", "upstream_error"),
    ] {
        let upstream = Upstream::answering(move |_| events(frames, Duration::from_millis(20))).await;
        let proxy = Proxy::before(&upstream).await;
        let answer = proxy.post(PATH, r#"{"stream":true,"model":"mock/gpt-image-2","prompt":"a cat"}"#).await;
        assert!(answer.text().starts_with(PARTIAL), "{}", answer.text());
        assert_eq!(answer.text().matches("\"error\":{").count(), 1, "{}", answer.text());
        assert!(answer.text().contains(expected), "{}", answer.text());
        assert_eq!(proxy.event().await.error_code, code);
    }
    // A host that knows no streams of pictures answers with a document, which passes as well.
    let plain = Upstream::answering(|_| typed(200, "application/json", r#"{"created":1,"data":[]}"#)).await;
    let proxy = Proxy::before(&plain).await;
    let answer = proxy.post(PATH, r#"{"stream":true,"model":"mock/dall-e","prompt":"a cat"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, r#"{"created":1,"data":[]}"#));
}

#[tokio::test]
async fn pictures_are_waited_for_longer_than_texts() {
    let upstream = Upstream::scripted(|mut stream| async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 23\r\n\r\n{\"created\":1,\"data\":[]}";
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await;
    })
    .await;
    let settings = [("UPSTREAM_FIRST_BYTE_TIMEOUT", "200ms"), ("UPSTREAM_IMAGE_FIRST_BYTE_TIMEOUT", "5s")];
    let proxy = Proxy::with(&settings, &upstream, |_| {}).await;
    assert_eq!(proxy.post(PATH, r#"{"model":"mock/gpt-image-2","prompt":"a"}"#).await.status, 200);
    assert_eq!(proxy.chat(CHAT).await.error().0, 504);
}
