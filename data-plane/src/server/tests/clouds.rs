//! Clouds: servers that check what their vendors check, and answer as they document.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    digest, hmac,
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey},
};
use serde_json::{Value, json as value};

use super::{
    upstream::{ReceivedRequest, UpstreamResponse, json, typed},
    *,
};

const ACCOUNT_KEY: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/credentials/testdata/account.pem"));
const EMAIL: &str = "models@project-1.iam.gserviceaccount.com";
const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

const CHATTED: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello!"},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}"#;
const RESPONDED: &str = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m","output":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello!","annotations":[]}]}],"usage":{"input_tokens":11,"output_tokens":7,"total_tokens":18}}"#;
const GENERATED: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello!"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":7,"totalTokenCount":18}}"#;
const SAID: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hello!"}],"stop_reason":"end_turn","usage":{"input_tokens":11,"output_tokens":7}}"#;
const CONVERSED: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"Hello!"}]}},"stopReason":"end_turn","usage":{"inputTokens":11,"outputTokens":7,"totalTokens":18}}"#;

fn ask(model: &str) -> String {
    value!({ "model": model, "max_tokens": 50, "messages": [{ "role": "user", "content": "hi" }] }).to_string()
}

fn header<'a>(asked: &'a ReceivedRequest, name: &str) -> &'a str {
    asked.headers.get(name).map_or("", |value| value.to_str().expect("text"))
}

fn form(asked: &ReceivedRequest) -> HashMap<String, String> {
    assert_eq!(header(asked, "content-type"), "application/x-www-form-urlencoded");
    url::form_urlencoded::parse(&asked.body).into_owned().collect()
}

fn body(asked: &ReceivedRequest) -> Value {
    serde_json::from_slice(&asked.body).expect("JSON")
}

fn issued(token: &str) -> UpstreamResponse {
    json(200, value!({ "access_token": token, "expires_in": 3600, "token_type": "Bearer" }).to_string())
}

/// A proxy with one connection to `upstream`, which also issues its tokens.
async fn over(provider: &str, upstream: &Upstream, change: impl FnOnce(&mut v1::Connection, &str)) -> Proxy {
    let index = index_with(|resources| {
        resources.connection("c1", provider, |connection| {
            let root = format!("http://{}", upstream.address);
            connection.base_url.clone_from(&root);
            change(connection, &root);
        });
    });
    Proxy::start(&[], index).await
}

fn said(answer: &Answer) -> Value {
    answer.json()["choices"][0]["message"]["content"].clone()
}

fn paths(upstream: &Upstream) -> Vec<String> {
    upstream.asked().iter().map(|asked| asked.path.clone()).collect()
}

// === Google ===

fn account_json(token_url: &str) -> String {
    value!({
        "type": "service_account", "project_id": "project-1", "private_key_id": "key-1", "private_key": ACCOUNT_KEY,
        "client_email": EMAIL, "token_uri": token_url,
    })
    .to_string()
}

/// What Google checks of an assertion: the signature by the account's key, who it is for, and for how long.
fn check_assertion(asked: &ReceivedRequest, token_url: &str) {
    let form = form(asked);
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (signed, signature) = form["assertion"].rsplit_once('.').expect("a JWT");
    let (head, claims) = signed.split_once('.').expect("a JWT");
    let part = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
    };
    assert_eq!(part(head), value!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" }));
    let pem: String = ACCOUNT_KEY.lines().filter(|line| !line.starts_with("-----")).collect();
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(pem).expect("base64")).expect("a key");
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
        .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).expect("base64url"))
        .expect("signed by the account");
    let claims = part(claims);
    assert_eq!((&claims["iss"], &claims["aud"]), (&value!(EMAIL), &value!(token_url)));
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    let (issued, expires) = (claims["iat"].as_u64().expect("a time"), claims["exp"].as_u64().expect("a time"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(issued <= now && now < expires && expires - issued <= 3600, "{claims}");
}

/// Vertex AI: every call needs the token of the account, Anthropic's bodies their version and no model.
async fn vertex() -> Upstream {
    Upstream::answering(|asked| {
        let path = asked.path.as_str();
        if path == "/token" {
            let token_url = format!("http://{}/token", header(asked, "host"));
            check_assertion(asked, &token_url);
            return issued("ya29.vertex");
        }
        if header(asked, "authorization") != "Bearer ya29.vertex" {
            let denied = r#"{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED"}}"#;
            return json(401, denied);
        }
        let Some(call) = path.strip_prefix("/v1/projects/project-1/locations/europe-west4") else {
            return json(404, r#"{"error":{"code":404,"message":"no such location","status":"NOT_FOUND"}}"#);
        };
        let body = body(asked);
        match call {
            "/publishers/google/models/gemini-2.5-pro:generateContent" => {
                assert!(body.get("model").is_none() && body["contents"].is_array(), "{body}");
                json(200, GENERATED)
            }
            "/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict" => {
                if body.get("model").is_some() || body["anthropic_version"] != "vertex-2023-10-16" {
                    let refused = r#"{"type":"error","error":{"type":"invalid_request_error","message":"model: Extra inputs are not permitted"}}"#;
                    return json(400, refused);
                }
                json(200, SAID)
            }
            "/endpoints/openapi/chat/completions" => {
                assert_eq!(body["model"], "meta/llama-4-scout-17b-16e-instruct-maas");
                json(200, CHATTED)
            }
            _ => json(404, r#"{"error":{"code":404,"message":"Publisher Model was not found","status":"NOT_FOUND"}}"#),
        }
    })
    .await
}

#[tokio::test]
async fn vertex_serves_every_publisher_with_one_account_and_one_token() {
    let upstream = vertex().await;
    let proxy = over("vertex", &upstream, |connection, root| {
        connection.secret = account_json(&format!("{root}/token"));
        connection.region = "europe-west4".into();
    })
    .await;
    for model in ["gemini-2.5-pro", "claude-sonnet-4-5@20250929", "meta/llama-4-scout-17b-16e-instruct-maas"] {
        let answer = proxy.chat(ask(&format!("vertex/{model}"))).await;
        assert_eq!(said(&answer), "Hello!", "{model}: {}", answer.text());
    }
    assert_eq!(paths(&upstream).iter().filter(|path| *path == "/token").count(), 1);
    // A client of Anthropic's, whose body passes.
    let messages =
        r#"{"model":"vertex/claude-sonnet-4-5@20250929","max_tokens":50,"messages":[{"role":"user","content":"hi"}]}"#;
    let answer = proxy.post("/v1/messages", messages).await;
    assert_eq!(answer.json()["content"][0]["text"], "Hello!", "{}", answer.text());
    let refused = proxy.chat(ask("vertex/gemini-0")).await;
    assert_eq!(refused.status, 404, "{}", refused.text());
}

#[tokio::test]
async fn an_api_key_of_vertex_needs_no_project() {
    let upstream = Upstream::answering(|asked| {
        assert_eq!(header(asked, "x-goog-api-key"), "AQ.key");
        assert!(!asked.headers.contains_key("authorization"));
        json(200, GENERATED)
    })
    .await;
    let proxy = over("vertex", &upstream, |connection, _| connection.secret = "AQ.key".into()).await;
    let answer = proxy.chat(ask("vertex/gemini-2.5-flash")).await;
    assert_eq!(said(&answer), "Hello!", "{}", answer.text());
    assert_eq!(upstream.last().path, "/v1/publishers/google/models/gemini-2.5-flash:generateContent");
}

#[tokio::test]
async fn a_refused_account_fails_the_connection_and_not_the_gateway() {
    let upstream = Upstream::answering(|asked| match asked.path.as_str() {
        "/token" => json(400, r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#),
        path => panic!("{path} was asked without a token"),
    })
    .await;
    let proxy = over("vertex", &upstream, |connection, root| {
        connection.secret = account_json(&format!("{root}/token"));
    })
    .await;
    let refused = proxy.chat(ask("vertex/gemini-2.5-pro")).await;
    assert_eq!(refused.error().2, "upstream_auth", "{}", refused.text());
    assert!(!refused.text().contains("PRIVATE KEY") && !refused.text().contains(EMAIL), "{}", refused.text());
}

// === Azure ===

/// Azure OpenAI with a deployment `prod` and a key, or an application of the tenant.
async fn azure() -> Upstream {
    Upstream::answering(|asked| {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        if path == "/tenant-1/oauth2/v2.0/token" {
            let form = form(asked);
            let sent = ["grant_type", "client_id", "client_secret", "scope"].map(|name| form[name].as_str());
            let wanted = ["client_credentials", "app-1", "app~secret", "https://cognitiveservices.azure.com/.default"];
            return if sent == wanted {
                issued("eyJ.entra.token")
            } else {
                json(401, r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.\r\nTrace ID: x"}"#)
            };
        }
        let is_known = header(asked, "api-key") == "azure-key-0123456789"
            || header(asked, "authorization") == "Bearer eyJ.entra.token";
        if !is_known {
            return json(401, r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}"#);
        }
        assert!(!(asked.headers.contains_key("api-key") && asked.headers.contains_key("authorization")));
        let version = query.strip_prefix("api-version=");
        let missing = || json(404, r#"{"error":{"code":"404","message":"Resource not found"}}"#);
        match (path, version) {
            ("/openai/v1/chat/completions", None) => {
                assert_eq!(body(asked)["model"], "prod");
                json(200, CHATTED)
            }
            ("/openai/v1/responses", None) | ("/openai/responses", Some("2025-04-01-preview")) => json(200, RESPONDED),
            ("/openai/deployments/prod/chat/completions", Some("2024-10-21" | "2025-04-01-preview")) => json(200, CHATTED),
            (path, Some(_)) if path.starts_with("/openai/deployments/") => {
                json(404, r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#)
            }
            _ => missing(),
        }
    })
    .await
}

#[tokio::test]
async fn azure_is_asked_on_the_surface_that_the_connection_names() {
    let responses = r#"{"model":"azure/prod","input":"hi"}"#;
    for (version, base, chat, respond) in [
        ("", "", "/openai/v1/chat/completions", "/openai/v1/responses"),
        ("", "/openai/v1/", "/openai/v1/chat/completions", "/openai/v1/responses"),
        (
            "2025-04-01-preview",
            "",
            "/openai/deployments/prod/chat/completions?api-version=2025-04-01-preview",
            "/openai/responses?api-version=2025-04-01-preview",
        ),
        // It has no Responses: they are asked as a chat.
        (
            "2024-10-21",
            "/openai",
            "/openai/deployments/prod/chat/completions?api-version=2024-10-21",
            "/openai/deployments/prod/chat/completions?api-version=2024-10-21",
        ),
        (
            "2024-10-21",
            "/openai/deployments/prod",
            "/openai/deployments/prod/chat/completions?api-version=2024-10-21",
            "/openai/deployments/prod/chat/completions?api-version=2024-10-21",
        ),
        (
            "",
            "/openai/deployments/prod?api-version=2024-10-21",
            "/openai/deployments/prod/chat/completions?api-version=2024-10-21",
            "/openai/deployments/prod/chat/completions?api-version=2024-10-21",
        ),
    ] {
        let upstream = azure().await;
        let proxy = over("azure-openai", &upstream, |connection, root| {
            connection.secret = "azure-key-0123456789".into();
            connection.api_version = version.into();
            connection.base_url = format!("{root}{base}");
        })
        .await;
        let answer = proxy.chat(ask("azure/prod")).await;
        assert_eq!(said(&answer), "Hello!", "{version} {base}: {}", answer.text());
        assert_eq!(upstream.last().path, chat);
        let answer = proxy.post("/v1/responses", responses).await;
        assert_eq!(answer.status, 200, "{version} {base}: {}", answer.text());
        assert_eq!(upstream.last().path, respond);
    }
}

#[tokio::test]
async fn an_application_of_entra_gets_its_token_and_a_missing_deployment_is_told() {
    let upstream = azure().await;
    let secret = |secret: &str, root: &str| {
        value!({ "tenantId": "tenant-1", "clientId": "app-1", "clientSecret": secret, "authorityHost": root })
            .to_string()
    };
    let proxy = over("azure-openai", &upstream, |connection, root| {
        connection.secret = secret("app~secret", root);
        connection.api_version = "2024-10-21".into();
    })
    .await;
    assert_eq!(said(&proxy.chat(ask("azure/prod")).await), "Hello!");
    let refused = proxy.chat(ask("azure/gone")).await;
    assert_eq!(refused.status, 404, "{}", refused.text());
    assert!(refused.text().contains("deployment"), "{}", refused.text());

    let proxy = over("azure-openai", &upstream, |connection, root| connection.secret = secret("wrong", root)).await;
    let refused = proxy.chat(ask("azure/prod")).await;
    assert_eq!(refused.error().2, "upstream_auth", "{}", refused.text());
    assert!(!refused.text().contains("app-1"), "{}", refused.text());
}

#[tokio::test]
async fn foundry_has_anthropics_models_beside_the_others() {
    let upstream = Upstream::answering(|asked| {
        assert_eq!(header(asked, "api-key"), "foundry-key-0123456789");
        match asked.path.as_str() {
            "/anthropic/v1/messages" => {
                assert_eq!(header(asked, "anthropic-version"), "2023-06-01");
                assert_eq!(body(asked)["model"], "claude-opus-4-6");
                json(200, SAID)
            }
            "/openai/v1/chat/completions" => json(200, CHATTED),
            path => panic!("{path}"),
        }
    })
    .await;
    let proxy = over("azure-ai", &upstream, |connection, _| connection.secret = "foundry-key-0123456789".into()).await;
    for model in ["claude-opus-4-6", "DeepSeek-V3.1"] {
        let answer = proxy.chat(ask(&format!("azure-ai/{model}"))).await;
        assert_eq!(said(&answer), "Hello!", "{model}: {}", answer.text());
    }
}

// === AWS ===

/// The signature of a request, calculated step by step as AWS's documentation has it, apart from the code that signs.
fn sigv4(asked: &ReceivedRequest, service: &str, secret: &str) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let hash = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
    let mac =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let authorization = header(asked, "authorization");
    let names = authorization.split("SignedHeaders=").nth(1).expect("headers").split(',').next().expect("headers");
    let scope = authorization.split("Credential=").nth(1).expect("a scope").split(',').next().expect("a scope");
    let scope = scope.split_once('/').expect("a scope").1;
    let [day, region, signed_service, _] = scope.split('/').collect::<Vec<_>>()[..] else { panic!("{scope}") };
    assert_eq!(signed_service, service);
    let date = header(asked, "x-amz-date");
    let headers: String = names.split(';').map(|name| format!("{name}:{}\n", header(asked, name).trim())).collect();
    // The path as it is sent is encoded once more; none of ours has a query.
    let path = asked.path.replace('%', "%25");
    let canonical = format!("{}\n{path}\n\n{headers}\n{names}\n{}", asked.method, hash(&asked.body));
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(canonical.as_bytes()));
    let key = [region, service, "aws4_request"]
        .iter()
        .fold(mac(format!("AWS4{secret}").as_bytes(), day), |key, text| mac(&key, text));
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
        authorization.split("Credential=").nth(1).expect("a key").split('/').next().expect("a key"),
        hex(&mac(&key, &to_sign))
    )
}

fn assumed(number: u32) -> UpstreamResponse {
    let body = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>ASIAROLE{number:08}</AccessKeyId><SecretAccessKey>role/secret+{number}</SecretAccessKey>\
         <SessionToken>session=={number}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
         </AssumeRoleResult></AssumeRoleResponse>"
    );
    typed(200, "text/xml", body)
}

#[tokio::test]
async fn keys_take_on_a_role_and_the_roles_keys_sign() {
    let upstream = Upstream::answering(|asked| {
        if asked.path == "/" {
            assert_eq!(header(asked, "authorization"), sigv4(asked, "sts", SECRET_KEY));
            let form = form(asked);
            assert_eq!((form["Action"].as_str(), form["Version"].as_str()), ("AssumeRole", "2011-06-15"));
            assert_eq!(form["RoleArn"], "arn:aws:iam::123456789012:role/models");
            assert_eq!(form["ExternalId"], "ours");
            return assumed(1);
        }
        assert_eq!(header(asked, "x-amz-security-token"), "session==1");
        let signature = header(asked, "authorization");
        assert!(signature.contains("Credential=ASIAROLE00000001/"), "{signature}");
        assert_eq!(signature, sigv4(asked, "bedrock", "role/secret+1"));
        json(200, CONVERSED)
    })
    .await;
    let proxy = over("bedrock", &upstream, |connection, root| {
        connection.secret = format!("{ACCESS_KEY}:{SECRET_KEY}");
        connection.region = "eu-west-1".into();
        connection.role_arn = "arn:aws:iam::123456789012:role/models".into();
        connection.external_id = "ours".into();
        connection.token_url = format!("{root}/");
    })
    .await;
    for _ in 0..2 {
        let answer = proxy.chat(ask("bedrock/eu.amazon.nova-pro-v1:0")).await;
        assert_eq!(said(&answer), "Hello!", "{}", answer.text());
    }
    let path = "/model/eu.amazon.nova-pro-v1%3A0/converse";
    assert_eq!(paths(&upstream), ["/", path, path]);
}

#[tokio::test]
async fn a_machines_identity_needs_the_operators_word() {
    let upstream = Upstream::answering(|_| json(200, CONVERSED)).await;
    let proxy = over("bedrock", &upstream, |connection, _| {
        connection.secret.clear();
        connection.auth_type = "none".into();
        connection.is_ambient = true;
    })
    .await;
    let refused = proxy.chat(ask("bedrock/m")).await;
    assert_eq!(refused.error().2, "upstream_auth", "{}", refused.text());
    assert!(upstream.asked().is_empty());
}

// === IBM, Databricks, Cloudflare, GitHub ===

#[tokio::test]
async fn watsonx_gets_its_token_its_project_and_its_names() {
    let upstream = Upstream::answering(|asked| match asked.path.as_str() {
        "/identity/token" => {
            let form = form(asked);
            assert_eq!(form["grant_type"], "urn:ibm:params:oauth:grant-type:apikey");
            assert_eq!(form["apikey"], "ibm-api-key-0123456789");
            issued("eyJ.ibm.token")
        }
        path => {
            assert_eq!(header(asked, "authorization"), "Bearer eyJ.ibm.token");
            let body = body(asked);
            assert_eq!((&body["model_id"], &body["project_id"]), (&value!("ibm/granite-4-h-small"), &value!("project-1")));
            assert!(body.get("model").is_none() && body.get("stream").is_none(), "{body}");
            match path {
                "/ml/v1/text/chat?version=2025-04-17" => json(200, CHATTED),
                "/ml/v1/text/chat_stream?version=2025-04-17" => typed(
                    200,
                    "text/event-stream",
                    "id: 1\nevent: message\ndata: {\"id\":\"c\",\"model_id\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hello!\"},\"finish_reason\":null}]}\n\n\
                     id: 2\nevent: message\ndata: {\"id\":\"c\",\"model_id\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"stop\"}]}\n\n\
                     id: 3\nevent: message\ndata: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18}}\n\n",
                ),
                path => panic!("{path}"),
            }
        }
    })
    .await;
    let proxy = over("watsonx", &upstream, |connection, root| {
        connection.secret = "ibm-api-key-0123456789".into();
        connection.project = "project-1".into();
        connection.token_url = format!("{root}/identity/token");
    })
    .await;
    let model = "watsonx/ibm/granite-4-h-small";
    assert_eq!(said(&proxy.chat(ask(model)).await), "Hello!");
    let streamed = ask(model).replace("\"max_tokens\"", "\"stream\":true,\"max_tokens\"");
    let answer = proxy.chat(streamed).await;
    assert!(answer.text().contains("Hello!"), "{}", answer.text());
}

#[tokio::test]
async fn a_service_principal_mints_and_a_personal_token_is_sent_as_it_is() {
    let minted = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&minted);
    let upstream = Upstream::answering(move |asked| match asked.path.as_str() {
        "/oidc/v1/token" => {
            let basic = STANDARD.encode("client-1:secret-1");
            assert_eq!(header(asked, "authorization"), format!("Basic {basic}"));
            assert_eq!(form(asked)["scope"], "all-apis");
            issued(&format!("dbx-{}", counting.fetch_add(1, Ordering::SeqCst) + 1))
        }
        "/serving-endpoints/chat/completions" => {
            assert_eq!(header(asked, "authorization"), "Bearer dbx-1");
            json(200, CHATTED)
        }
        path => panic!("{path}"),
    })
    .await;
    let proxy = over("databricks", &upstream, |connection, _| {
        connection.secret = value!({ "clientId": "client-1", "clientSecret": "secret-1" }).to_string();
    })
    .await;
    let answer = proxy.chat(ask("databricks/databricks-claude-sonnet-4-5")).await;
    assert_eq!(said(&answer), "Hello!", "{}", answer.text());
    assert_eq!(minted.load(Ordering::SeqCst), 1);
    let upstream = Upstream::answering(|asked| {
        assert_eq!(header(asked, "authorization"), "Bearer dapi0123456789");
        json(200, CHATTED)
    })
    .await;
    let proxy = over("databricks", &upstream, |connection, _| connection.secret = "dapi0123456789".into()).await;
    assert_eq!(said(&proxy.chat(ask("databricks/m")).await), "Hello!");
}
