//! Every provider of the catalog is asked where and how its vendor documents it.

use http::header;
use omniroute_core::address::AddressPolicy;
use serde_json::{Value, json};

use super::{tests::spec, *};
use crate::{catalog::Group, ping};

const KEY: &str = "a-key-of-17-chars";
const MOVED: &str = "http://127.0.0.1:9/here";

/// All but the clouds that are asked by account and with tokens: those have tests of their own, against servers that verify.
fn ordinary() -> impl Iterator<Item = &'static Provider> {
    const CLOUDS: [&str; 6] = ["azure-openai", "azure-foundry", "vertex", "watsonx", "databricks", "cloudflare"];
    Catalog::builtin().providers().iter().filter(|provider| !CLOUDS.contains(&provider.format))
}

fn compiled(provider: &Provider, base_url: &str) -> Upstream {
    let own = if base_url.is_empty() && provider.own_host {
        provider.base_url_in("").into_owned()
    } else {
        base_url.to_owned()
    };
    let spec = ConnectionSpec { provider: provider.id, secret: KEY, base_url: &own, ..spec() };
    Upstream::compile(&spec, AddressPolicy::AllowPrivate).unwrap_or_else(|error| panic!("{}: {error}", provider.id))
}

/// Base URL without the ends that people write and vendors do not, and the path of chat.
fn chat_path(format: &str) -> &'static str {
    match format {
        "openai" => "/chat/completions",
        "anthropic" => "/messages",
        "ollama" => "/api/chat",
        "cohere" => "/v2/chat",
        "gemini" => "/models/m:generateContent",
        "bedrock" => "/model/m/converse",
        other => panic!("no chat in {other}"),
    }
}

#[test]
fn chat_goes_to_the_documented_url_with_the_documented_header_and_body() {
    let mut chats = 0;
    for provider in ordinary() {
        let id = provider.id;
        let upstream = compiled(provider, "");
        if !provider.serves(Category::Chat) {
            assert_eq!(upstream.chat_format(), None, "{id}");
            assert!(ping(&upstream, "m").is_err(), "{id}");
            continue;
        }
        chats += 1;
        let request = ping(&upstream, "m").expect(id);
        let base = provider.base_url_in("").into_owned();
        assert_eq!(request.uri().to_string(), format!("{base}{}", chat_path(provider.format)), "{id}");
        assert_eq!(request.method(), http::Method::POST, "{id}");
        let body: Value = serde_json::from_slice(request.body()).expect("JSON");
        let (content, limit) = match provider.format {
            "gemini" => ("/contents/0/parts/0/text", "/generationConfig/maxOutputTokens"),
            "bedrock" => ("/messages/0/content/0/text", "/inferenceConfig/maxTokens"),
            "ollama" => ("/messages/0/content", "/options/num_predict"),
            _ if provider.quirks.rename.contains_key("max_tokens") => ("/messages/0/content", "/max_completion_tokens"),
            _ => ("/messages/0/content", "/max_tokens"),
        };
        // Some write a text as a list of one part.
        let is_said = |at: &str| body.pointer(at) == Some(&json!("ping"));
        assert!(is_said(content) || is_said(&format!("{content}/0/text")), "{id}: {body}");
        assert_eq!(body.pointer(limit), Some(&json!(16)), "{id}: {body}");
        for dropped in &provider.quirks.drop {
            assert_eq!(body.get(dropped), None, "{id}: {body}");
        }
    }
    assert!(chats >= 180, "{chats}");
}

#[test]
fn the_key_is_where_the_vendor_wants_it_and_nowhere_else() {
    for provider in ordinary() {
        let id = provider.id;
        let upstream = compiled(provider, "");
        let (name, value) = match provider.auth {
            Auth::Bearer | Auth::Aws | Auth::Databricks | Auth::None => ("authorization", format!("Bearer {KEY}")),
            Auth::ApiKey | Auth::Azure => ("api-key", KEY.to_owned()),
            Auth::XApiKey => ("x-api-key", KEY.to_owned()),
            Auth::XGoogApiKey | Auth::Google => ("x-goog-api-key", KEY.to_owned()),
            Auth::Ibm => {
                // Only the token that is made of it goes along.
                assert!(upstream.grant().is_some(), "{id}");
                assert!(upstream.headers().values().all(|value| !value.as_bytes().ends_with(KEY.as_bytes())), "{id}");
                continue;
            }
            Auth::Header(name) => (name, KEY.to_owned()),
            Auth::Scheme(scheme) => ("authorization", format!("{scheme} {KEY}")),
        };
        let holding: Vec<&str> = upstream
            .headers()
            .iter()
            .filter(|(_, value)| value.to_str().is_ok_and(|text| text.contains(KEY)))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(holding, [name], "{id}");
        assert_eq!(upstream.headers()[name], value.as_str(), "{id}");
        assert!(upstream.headers()[name].is_sensitive(), "{id}");
        for (name, value) in &provider.headers {
            assert_eq!(upstream.headers()[*name], *value, "{id}");
        }
        assert!(!upstream.uri(Operation::Models).to_string().contains(KEY), "{id}");
        let keyless = ConnectionSpec { provider: id, secret: "", base_url: MOVED, ..spec() };
        let keyless = Upstream::compile(&keyless, AddressPolicy::AllowPrivate);
        assert_eq!(keyless.is_ok(), provider.serves(Category::Local), "{id} without a key");
    }
}

#[test]
fn other_kinds_of_calls_have_their_urls_also_at_a_host_of_ones_own() {
    for provider in ordinary() {
        let id = provider.id;
        let upstream = compiled(provider, "");
        for (service, url) in &provider.endpoints {
            assert_eq!(
                upstream.service_uri(*service).map(|uri| uri.to_string().trim_end_matches('/').to_owned()),
                Some((*url).to_owned()),
                "{id} {service:?}"
            );
        }
        if provider.format == "openai" {
            for (category, service, operation) in [
                (Category::Embeddings, Service::Embeddings, Operation::Embeddings),
                (Category::Images, Service::Images, Operation::Images),
            ] {
                let uri = upstream.service_uri(service).expect(id);
                assert_eq!(upstream.uri(operation), &uri, "{id}");
                let asked = match operation {
                    Operation::Embeddings => upstream.embed_format().is_some(),
                    _ => upstream.makes_images(),
                };
                assert_eq!(asked, provider.serves(Category::Chat) || provider.serves(category), "{id} {service:?}");
            }
        }
        let moved = compiled(provider, MOVED);
        for service in Service::ALL {
            if let Some(uri) = moved.service_uri(service) {
                assert!(uri.to_string().starts_with(MOVED), "{id} {service:?}: {uri}");
            }
        }
        for operation in Operation::ALL {
            assert!(moved.uri(operation).to_string().starts_with("http://127.0.0.1:9/"), "{id} {operation:?}");
        }
    }
}

#[test]
fn a_credential_is_tested_at_its_providers_host_and_nowhere_else() {
    for provider in ordinary() {
        let id = provider.id;
        let upstream = compiled(provider, "");
        let Some(check) = provider.check else {
            assert!(upstream.check().is_none(), "{id}");
            continue;
        };
        let request = upstream.check().expect(id);
        assert_eq!(request.uri().to_string().trim_end_matches('/'), check.url.trim_end_matches('/'), "{id}");
        let is_post = request.method() == http::Method::POST;
        assert_eq!(is_post, !request.body().is_empty(), "{id}");
        assert_eq!(is_post, request.headers().contains_key(header::CONTENT_TYPE), "{id}");
        if is_post {
            serde_json::from_slice::<serde_json::Map<String, Value>>(request.body()).expect(id);
        }
        let moved = compiled(provider, MOVED).check().expect(id);
        assert!(moved.uri().to_string().starts_with(MOVED), "{id}: {}", moved.uri());
    }
}

/// Written down a second time, apart from the catalog, so that a slip of the pen in either shows.
#[test]
fn requests_to_well_known_providers_are_as_written_down_here() {
    for (name, url, header, value) in [
        ("cc", "https://api.anthropic.com/v1/messages", "x-api-key", KEY.to_owned()),
        ("cx", "https://api.openai.com/v1/chat/completions", "authorization", format!("Bearer {KEY}")),
        ("gc", "https://api.x.ai/v1/chat/completions", "authorization", format!("Bearer {KEY}")),
        ("groq", "https://api.groq.com/openai/v1/chat/completions", "authorization", format!("Bearer {KEY}")),
        ("mistral", "https://api.mistral.ai/v1/chat/completions", "authorization", format!("Bearer {KEY}")),
        ("cohere", "https://api.cohere.com/v2/chat", "authorization", format!("Bearer {KEY}")),
        ("nebius", "https://api.tokenfactory.nebius.com/v1/chat/completions", "authorization", format!("Bearer {KEY}")),
        (
            "fireworks",
            "https://api.fireworks.ai/inference/v1/chat/completions",
            "authorization",
            format!("Bearer {KEY}"),
        ),
        ("ollama-cloud", "https://ollama.com/api/chat", "authorization", format!("Bearer {KEY}")),
        ("zai", "https://api.z.ai/api/paas/v4/chat/completions", "authorization", format!("Bearer {KEY}")),
        ("minimax", "https://api.minimax.io/anthropic/v1/messages", "authorization", format!("Bearer {KEY}")),
        ("kimi-code", "https://api.kimi.com/coding/v1/messages", "x-api-key", KEY.to_owned()),
        (
            "alibaba",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions",
            "authorization",
            format!("Bearer {KEY}"),
        ),
        (
            "oci",
            "https://inference.generativeai.us-chicago-1.oci.oraclecloud.com/20231130/actions/v1/chat/completions",
            "authorization",
            format!("Bearer {KEY}"),
        ),
        ("vag", "https://ai-gateway.vercel.sh/v1/chat/completions", "authorization", format!("Bearer {KEY}")),
        ("perplexity", "https://api.perplexity.ai/chat/completions", "authorization", format!("Bearer {KEY}")),
    ] {
        let provider = Catalog::builtin().get(name).expect(name);
        let request = ping(&compiled(provider, ""), "m").expect(name);
        assert_eq!(request.uri().to_string(), url, "{name}");
        assert_eq!(request.headers()[header], value.as_str(), "{name}");
    }
    for (name, service, url, header, value) in [
        (
            "deepgram",
            Service::Transcriptions,
            "https://api.deepgram.com/v1/listen",
            "authorization",
            format!("Token {KEY}"),
        ),
        (
            "assemblyai",
            Service::Transcriptions,
            "https://api.assemblyai.com/v2/transcript",
            "authorization",
            KEY.to_owned(),
        ),
        ("elevenlabs", Service::Speech, "https://api.elevenlabs.io/v1/text-to-speech", "xi-api-key", KEY.to_owned()),
        ("inworld", Service::Speech, "https://api.inworld.ai/tts/v1/voice", "authorization", format!("Basic {KEY}")),
        ("voyage", Service::Rerank, "https://api.voyageai.com/v1/rerank", "authorization", format!("Bearer {KEY}")),
        (
            "brave",
            Service::Search,
            "https://api.search.brave.com/res/v1/web/search",
            "x-subscription-token",
            KEY.to_owned(),
        ),
        (
            "runway",
            Service::Video,
            "https://api.dev.runwayml.com/v1/image_to_video",
            "x-runway-version",
            "2024-11-06".to_owned(),
        ),
        ("fal", Service::Images, "https://fal.run/", "authorization", format!("Key {KEY}")),
    ] {
        let upstream = compiled(Catalog::builtin().get(name).expect(name), "");
        assert_eq!(upstream.service_uri(service).expect(name).to_string(), url, "{name}");
        assert_eq!(upstream.headers()[header], value.as_str(), "{name}");
    }
}

#[test]
fn who_has_a_host_per_customer_says_so() {
    let snowflake = ConnectionSpec { provider: "snowflake", ..spec() };
    let error = Upstream::compile(&snowflake, AddressPolicy::PublicOnly).expect_err("no host");
    assert!(error.to_string().contains("https://my-account.snowflakecomputing.com/"), "{error}");
    let own = ConnectionSpec { base_url: "https://acme.snowflakecomputing.com/api/v2/cortex/v1", ..snowflake };
    let upstream = Upstream::compile(&own, AddressPolicy::PublicOnly).expect("compiled");
    let request = ping(&upstream, "m").expect("a question");
    assert_eq!(request.uri().path(), "/api/v2/cortex/v1/chat/completions");
}

#[test]
fn a_hosts_ways_are_kept_to_wherever_it_is_named() {
    let body = |spec: &ConnectionSpec<'_>| {
        let upstream = Upstream::compile(spec, AddressPolicy::AllowPrivate).expect("compiled");
        let body = br#"{"model":"m","seed":1,"stream":true,"stream_options":{"include_usage":true}}"#;
        upstream.in_its_words(ir::Format::OpenAiChat, Bytes::from_static(body))
    };
    let words = r#"{"model":"m","random_seed":1,"stream":true}"#;
    let mistral = ConnectionSpec { provider: "mistral", ..spec() };
    assert_eq!(body(&mistral), words);
    assert_eq!(body(&ConnectionSpec { base_url: MOVED, ..mistral }), words, "a relay");
    let node = crate::NodeSpec {
        kind: "openai-compatible",
        api_type: "",
        base_url: "https://api.mistral.ai/v1",
        chat_path: "",
        models_path: "",
    };
    assert_eq!(body(&ConnectionSpec { provider: "n", node: Some(node), ..spec() }), words, "a node");
    assert!(body(&spec()).starts_with(br#"{"model":"m","seed":1,"#), "OpenAI's own");
    let upstream = Upstream::compile(&mistral, AddressPolicy::PublicOnly).expect("compiled");
    assert_eq!(upstream.profile(ir::Format::OpenAiChat, "mistral-large-latest").tool_ids, ir::ToolIds::NineCharacters);
}

#[test]
fn every_group_has_its_providers() {
    for group in [Group::Maker, Group::Host, Group::Gateway, Group::Media, Group::Search, Group::Local] {
        let count = Catalog::builtin().providers().iter().filter(|provider| provider.group == group).count();
        assert!(count >= 15, "{group:?}: {count}");
    }
}
