//! Every provider of the catalog through the proxy, and the hosts that depart from the API that they speak.

use omniroute_providers::{Catalog, Provider, catalog::Category};
use serde_json::{Value, json as value};

use super::{
    upstream::{Asked, Given, chat_answer, json, typed},
    *,
};

/// Clouds are asked with accounts and tokens.
const CLOUDS: [&str; 6] = ["azure-openai", "azure-foundry", "vertex", "watsonx", "databricks", "cloudflare"];

fn chatting() -> impl Iterator<Item = &'static Provider> {
    let providers = Catalog::builtin().providers().iter();
    providers.filter(|provider| provider.serves(Category::Chat) && !CLOUDS.contains(&provider.format))
}

/// What a host of that format answers to any chat.
fn answer_of(asked: &Asked) -> Given {
    let path = asked.path.split('?').next().unwrap_or_default();
    match path {
        path if path.ends_with("/chat/completions") => chat_answer(),
        path if path.ends_with("/v1/messages") => json(
            200,
            r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hello!"}],"stop_reason":"end_turn","usage":{"input_tokens":11,"output_tokens":7}}"#,
        ),
        path if path.ends_with("/api/chat") => json(
            200,
            r#"{"model":"m","message":{"role":"assistant","content":"Hello!"},"done":true,"done_reason":"stop","prompt_eval_count":11,"eval_count":7}"#,
        ),
        path if path.ends_with("/v2/chat") => json(
            200,
            r#"{"id":"1","finish_reason":"COMPLETE","message":{"role":"assistant","content":[{"type":"text","text":"Hello!"}]},"usage":{"tokens":{"input_tokens":11,"output_tokens":7}}}"#,
        ),
        path if path.ends_with(":generateContent") => json(
            200,
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello!"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":7,"totalTokenCount":18}}"#,
        ),
        path if path.ends_with("/converse") => json(
            200,
            r#"{"output":{"message":{"role":"assistant","content":[{"text":"Hello!"}]}},"stopReason":"end_turn","usage":{"inputTokens":11,"outputTokens":7,"totalTokens":18}}"#,
        ),
        _ => json(404, r#"{"error":{"message":"no such path"}}"#),
    }
}

#[tokio::test]
async fn each_answers_by_its_id_and_by_every_short_name() {
    let upstream = Upstream::answering(answer_of).await;
    let snapshot = snapshot_with(|resources| {
        for provider in chatting() {
            resources.connection(&format!("c-{}", provider.id), provider.id, |connection| {
                connection.base_url = format!("http://{}/{}", upstream.address, provider.id);
            });
        }
    });
    let proxy = Proxy::start(&[], snapshot).await;
    for provider in chatting() {
        for name in std::iter::once(&provider.id).chain(&provider.aliases) {
            let body =
                value!({ "model": format!("{name}/m"), "max_tokens": 50, "messages": [{ "role": "user", "content": "hi" }] });
            let answer = proxy.chat(body.to_string()).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello!", "{name}");
            let asked = upstream.last();
            assert!(asked.path.starts_with(&format!("/{}/", provider.id)), "{name}: {}", asked.path);
            for (header, expected) in &provider.headers {
                assert_eq!(asked.headers[*header], *expected, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn who_does_not_chat_is_refused_in_words() {
    let upstream = Upstream::answering(answer_of).await;
    let snapshot = snapshot_with(|resources| {
        for provider in ["deepgram", "voyage-ai"] {
            resources.connection(provider, provider, |connection| {
                connection.base_url = format!("http://{}", upstream.address);
            });
        }
    });
    let proxy = Proxy::start(&[], snapshot).await;
    for model in ["deepgram/nova-3", "voyage/voyage-3.5"] {
        let body = value!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] });
        let answer = proxy.chat(body.to_string()).await;
        assert_eq!(answer.status, 400, "{model}: {}", answer.text());
        assert!(answer.text().contains("does not chat"), "{}", answer.text());
    }
    assert!(upstream.asked().is_empty());
}

// === hosts that depart from the API ===

const STREAM: &str = "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hello!\"},\"finish_reason\":null}]}\n\ndata: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18}}\n\ndata: [DONE]\n\n";

async fn mistral(upstream: &Upstream) -> Proxy {
    let snapshot = snapshot_with(|resources| {
        resources.connection("c1", "mistral", |connection| connection.base_url = upstream.base_url());
    });
    Proxy::start(&[], snapshot).await
}

fn sent(upstream: &Upstream) -> Value {
    serde_json::from_slice(&upstream.last().body).expect("JSON")
}

#[tokio::test]
async fn parameters_that_a_host_refuses_never_reach_it_and_its_usage_is_counted_all_the_same() {
    let upstream = Upstream::answering(|_| typed(200, "text/event-stream", STREAM)).await;
    let proxy = mistral(&upstream).await;
    for body in [
        value!({ "model": "mistral/m", "stream": true, "seed": 7, "max_completion_tokens": 50, "user": "u",
            "stream_options": { "include_usage": true }, "messages": [{ "role": "user", "content": "hi" }] }),
        value!({ "model": "mistral/m", "stream": true, "seed": 7, "max_completion_tokens": 50,
            "messages": [{ "role": "user", "content": "hi" }] }),
    ] {
        let answer = proxy.chat(body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("Hello!") && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
        let sent = sent(&upstream);
        for refused in ["stream_options", "user", "seed", "max_completion_tokens"] {
            assert_eq!(sent.get(refused), None, "{sent}");
        }
        assert_eq!((&sent["random_seed"], &sent["max_tokens"], &sent["model"]), (&value!(7), &value!(50), &value!("m")));
        let event = proxy.event().await;
        let usage = event.usage.expect("usage");
        assert_eq!((usage.input, usage.output, event.estimated), (Some(11), Some(7), false));
    }
    // The same of a client of another API.
    let body = r#"{"model":"mistral/m","stream":true,"max_tokens":50,"messages":[{"role":"user","content":"hi"}]}"#;
    let answer = proxy.post("/v1/messages", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(sent(&upstream).get("stream_options"), None);
    assert_eq!(proxy.event().await.usage.and_then(|usage| usage.output), Some(7));
}

#[tokio::test]
async fn ids_of_calls_are_exchanged_where_a_host_wants_them_in_a_form_of_its_own() {
    let upstream = Upstream::answering(|_| chat_answer()).await;
    let proxy = mistral(&upstream).await;
    let asked = |id: &str| {
        value!({ "model": "mistral/m", "messages": [
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": null,
                "tool_calls": [{ "id": id, "type": "function", "function": { "name": "run", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": id, "content": "done" },
        ], "tools": [{ "type": "function", "function": { "name": "run", "parameters": { "type": "object" } } }] })
        .to_string()
    };
    for (id, kept) in [("aB3dE6gH9", true), ("call_0123456789abcdef", false), ("toolu_01A09q90qw90lq917835lq9", false)] {
        let answer = proxy.chat(asked(id)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let sent = sent(&upstream);
        let call = sent["messages"][1]["tool_calls"][0]["id"].as_str().expect("an id").to_owned();
        assert_eq!(sent["messages"][2]["tool_call_id"], call.as_str(), "{sent}");
        assert!(call.len() == 9 && call.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{call}");
        assert_eq!(call == id, kept, "{call}");
    }
}
