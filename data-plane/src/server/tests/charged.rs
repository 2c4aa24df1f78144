//! The service for which a provider charged goes into the ledger, in either lane, streamed or whole: it has a price of its own.

use std::time::Duration;

use super::{
    upstream::{events, json},
    *,
};

const WHOLE: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","service_tier":"flex","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;
const TEXT: &str = "data: {\"id\":\"1\",\"service_tier\":\"flex\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hi\"}}]}\n\n";
const FINISH: &str = "data: {\"id\":\"1\",\"service_tier\":\"flex\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"id\":\"1\",\"service_tier\":\"flex\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[tokio::test]
async fn the_service_is_recorded_whichever_way_the_answer_takes() {
    let upstream = Upstream::answering(|asked| {
        let is_stream = String::from_utf8_lossy(&asked.body).contains("\"stream\":true");
        if is_stream { events(&[TEXT, FINISH, USAGE, DONE], Duration::ZERO) } else { json(200, WHOLE) }
    })
    .await;
    let messages = r#""messages":[{"role":"user","content":"Hi"}]"#;
    for (path, body) in [
        ("/v1/chat/completions", format!(r#"{{"model":"mock/m",{messages}}}"#)),
        ("/v1/chat/completions", format!(r#"{{"model":"mock/m","stream":true,{messages}}}"#)),
        ("/v1/messages", format!(r#"{{"model":"mock/m","max_tokens":9,{messages}}}"#)),
        ("/v1/messages", format!(r#"{{"model":"mock/m","max_tokens":9,"stream":true,{messages}}}"#)),
    ] {
        let proxy = Proxy::before(&upstream).await;
        let answer = proxy.post(path, body.clone()).await;
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text());
        let event = proxy.event().await;
        assert_eq!(event.service_tier, "flex", "{path} {body}");
        assert_eq!(event.usage.and_then(|usage| usage.output), Some(2), "{path} {body}");
    }
}

#[tokio::test]
async fn an_alias_is_recorded_as_it_was_asked_for_and_the_model_as_it_was_used() {
    let upstream = Upstream::answering(|_| json(200, WHOLE)).await;
    let proxy = Proxy::with(&[], &upstream, |resources| resources.alias("fast", "mock/gpt-4o-mini")).await;
    let answer = proxy.chat(r#"{"model":"fast","messages":[]}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(String::from_utf8_lossy(&upstream.last().body).contains(r#""model":"gpt-4o-mini""#));
    let event = proxy.event().await;
    assert_eq!((event.requested_model.as_str(), event.model.as_str()), ("fast", "gpt-4o-mini"));
    assert_eq!(event.provider, "mock");
}
