//! The provider's socket: who may come in, and where a request goes.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};

use super::{
    CHAT_MODELS, EMBEDDING_MODELS, Shared, admin,
    answer::{Answer, CREATED, last_text},
    body::{self, Body},
    error::ApiError,
    journal::{Fate, Running},
    schema,
    script::Script,
    secure::{Identity, Secure},
    stream, tokens, vendor,
};

const MODEL: &str = "/v1/models/";
/// Numbers in an embedding unless `dimensions` says otherwise.
const DIMENSIONS: u64 = 8;
const PAGE: &str = "<!DOCTYPE html><html><body><h1>Bad Gateway</h1><p>nginx at 10.11.12.13</p></body></html>";

/// Serves until the task is dropped; all connections break then.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, secure: Option<(Secure, Arc<Identity>)>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        if let Some((secure, identity)) = secure.clone() {
            connections.spawn(serve_secure(stream, shared, secure, identity));
            continue;
        }
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(answer(&shared, request).await) }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new());
        connections.spawn(async move {
            // It ends with an error whenever a script breaks it.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Whoever sends this answer ends its connection behind it.
#[derive(Clone, Copy)]
struct GoAway;

async fn serve_secure(stream: TcpStream, shared: Arc<Shared>, secure: Secure, identity: Arc<Identity>) {
    let Ok(stream) = identity.acceptor.accept(stream).await else { return };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let goes_away = Arc::new(Notify::new());
    let told = Arc::clone(&goes_away);
    let service = service_fn(move |request| {
        let (shared, told) = (Arc::clone(&shared), Arc::clone(&told));
        async move {
            let answer = answer(&shared, request).await;
            if answer.extensions().get::<GoAway>().is_some() {
                told.notify_one();
            }
            Ok::<_, Infallible>(answer)
        }
    });
    if !is_http2 {
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new());
        // It ends with an error whenever a script breaks it.
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
        return;
    }
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.timer(TokioTimer::new()).max_concurrent_streams(secure.max_concurrent_streams);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = goes_away.notified() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let (parts, incoming) = request.into_parts();
    if let Some(path) = parts.uri.path().strip_prefix(admin::PREFIX) {
        let body = incoming.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        return admin::answer(shared, &parts.method, path, &body);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let running = shared.journal.begin(parts.method.to_string(), path, &parts.headers);
    let Ok(body) = incoming.collect().await else {
        drop(running);
        return document(StatusCode::BAD_REQUEST, &Value::Null);
    };
    let body = body.to_bytes();
    running.note(|seen| seen.body = body.clone());
    let number = running.number;
    if let Some((vendor, rest)) = vendor::of_path(parts.uri.path()) {
        let incoming = vendor::Incoming { shared, parts: &parts, body: &body };
        let mut response = vendor::answer(vendor, rest, incoming, running).await;
        own_headers(response.headers_mut(), number);
        return response;
    }
    let mut response = match route(shared, &parts, &body, running).await {
        Ok(response) => response,
        Err((error, running)) => refuse(&error, running),
    };
    own_headers(response.headers_mut(), number);
    response
}

type Outcome = Result<Response<Body>, (ApiError, Running)>;

async fn route(shared: &Arc<Shared>, parts: &http::request::Parts, body: &Bytes, running: Running) -> Outcome {
    let key = match credential(shared, &parts.headers) {
        Ok(key) => key,
        Err(error) => return Err((error, running)),
    };
    running.note(|seen| seen.key = key);
    let (method, path) = (&parts.method, parts.uri.path());
    match (method, path) {
        (&Method::GET, "/v1/models") => {
            let all: Vec<Value> = CHAT_MODELS.iter().chain(&EMBEDDING_MODELS).map(|id| model_object(id)).collect();
            Ok(plain(json!({"object": "list", "data": all}), running))
        }
        (&Method::GET, path) if path.starts_with(MODEL) => {
            let id = &path[MODEL.len()..];
            if is_known(id) {
                Ok(plain(model_object(id), running))
            } else {
                Err((ApiError::unknown_model(id), running))
            }
        }
        (&Method::POST, "/v1/chat/completions") => chat(shared, &parts.headers, body, running).await,
        (&Method::POST, "/v1/embeddings") => embeddings(shared, &parts.headers, body, running).await,
        (_, "/v1/chat/completions" | "/v1/embeddings" | "/v1/models") => {
            let message =
                format!("Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)");
            Err((ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message).code("method_not_supported"), running))
        }
        _ => Err((ApiError::new(StatusCode::NOT_FOUND, format!("Invalid URL ({method} {path})")), running)),
    }
}

fn credential(shared: &Shared, headers: &HeaderMap) -> Result<String, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(ApiError::no_key());
    };
    let key = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(ApiError::no_key)?;
    if shared.keys.lock().contains(key) { Ok(key.to_owned()) } else { Err(ApiError::wrong_key(key)) }
}

/// The body of a POST, the script for its model, and the name of the model without a script.
fn question(
    shared: &Shared,
    headers: &HeaderMap,
    body: &Bytes,
    check: fn(&Value, bool) -> Result<(), ApiError>,
) -> Result<(Value, String, Script), ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.split(';').next().unwrap_or_default().trim() != "application/json" {
        let message = format!(
            "Unsupported content type: '{content_type}'. This API method only accepts 'application/json' requests."
        );
        return Err(ApiError::bad_request(message).code("unsupported_content_type"));
    }
    let (body, named) = schema::object(body)?;
    let (model, script) = shared.script_for(&named);
    if !is_known(&model) {
        return Err(ApiError::unknown_model(&named));
    }
    check(&body, shared.strict.load(Ordering::Relaxed))?;
    Ok((body, model, script))
}

async fn chat(shared: &Shared, headers: &HeaderMap, body: &Bytes, running: Running) -> Outcome {
    let (body, model, script) = match question(shared, headers, body, schema::chat) {
        Ok(question) => question,
        Err(error) => return Err((error, running)),
    };
    if !CHAT_MODELS.contains(&model.as_str()) {
        let message = "This is not a chat model and thus not supported in the v1/chat/completions endpoint.";
        return Err((ApiError::new(StatusCode::NOT_FOUND, message).param("model"), running));
    }
    let stream = body["stream"] == true;
    running.note(|seen| {
        seen.model.clone_from(&model);
        seen.text = last_text(&body);
        seen.stream = stream;
    });
    let error = |status| (scripted_error(&script, status), Vec::new());
    let trouble = Trouble { stream_type: if stream { "text/event-stream" } else { "application/json" }, error: &error };
    let running = match misbehave(&script, trouble, running).await {
        Ok(running) => running,
        Err(response) => return Ok(*response),
    };
    let answer = Answer::to(&schema::ask(&body), &model, &script, running.number);
    running.note(|seen| {
        seen.status = 200;
        seen.prompt_tokens = answer.usage.prompt;
        seen.cached_tokens = answer.usage.cached;
    });
    if stream {
        let usage = body["stream_options"]["include_usage"] == true;
        let events = stream::events(&answer, usage, &script);
        let mut response = Response::new(body::events(events, script.clone(), stream::faults(), running));
        content_type(&mut response, "text/event-stream; charset=utf-8");
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        add_headers(&mut response, &script);
        return Ok(response);
    }
    running.note(|seen| seen.completion_tokens = answer.usage.completion);
    let mut document = answer.document();
    if script.no_usage
        && let Some(fields) = document.as_object_mut()
    {
        fields.remove("usage");
    }
    Ok(finish(&document, &script, running))
}

async fn embeddings(shared: &Shared, headers: &HeaderMap, body: &Bytes, running: Running) -> Outcome {
    let (body, model, script) = match question(shared, headers, body, schema::embeddings) {
        Ok(question) => question,
        Err(error) => return Err((error, running)),
    };
    if !EMBEDDING_MODELS.contains(&model.as_str()) {
        let message = "You are not allowed to generate embeddings from this model";
        return Err((ApiError::new(StatusCode::FORBIDDEN, message), running));
    }
    let used = tokens::of_input(&body["input"]);
    running.note(|seen| {
        seen.model.clone_from(&model);
        seen.text = body["input"].as_str().unwrap_or_default().to_owned();
    });
    let error = |status| (scripted_error(&script, status), Vec::new());
    let trouble = Trouble { stream_type: "application/json", error: &error };
    let running = match misbehave(&script, trouble, running).await {
        Ok(running) => running,
        Err(response) => return Ok(*response),
    };
    running.note(|seen| {
        seen.status = 200;
        seen.prompt_tokens = used;
    });
    let inputs = match &body["input"] {
        Value::Array(items) if !items.iter().all(Value::is_u64) => items.clone(),
        one => vec![one.clone()],
    };
    let size = body["dimensions"].as_u64().unwrap_or(DIMENSIONS);
    let as_base64 = body["encoding_format"] == "base64";
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = embedding(&input.to_string(), size);
            let embedding = if as_base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let usage = json!({"prompt_tokens": used, "total_tokens": used});
    let document = json!({"object": "list", "data": data, "model": model, "usage": usage});
    Ok(finish(&document, &script, running))
}

/// What a vendor says when something goes wrong.
#[derive(Clone, Copy)]
pub(super) struct Trouble<'a> {
    /// Content type of the answer that would have come.
    pub stream_type: &'static str,
    /// The body and the headers of an error with this status.
    pub error: &'a (dyn Fn(StatusCode) -> (String, Vec<(&'static str, &'static str)>) + Sync),
}

/// What goes wrong before an answer; `Err` is all there is to send then.
pub(super) async fn misbehave(
    script: &Script,
    trouble: Trouble<'_>,
    running: Running,
) -> Result<Running, Box<Response<Body>>> {
    tokio::time::sleep(Duration::from_millis(script.delay_ms)).await;
    if script.no_head {
        // Dropped when the client leaves.
        std::future::pending::<()>().await;
    }
    let status = |default: u16| StatusCode::from_u16(script.status.unwrap_or(default)).unwrap_or(StatusCode::OK);
    let kind = trouble.stream_type;
    let mut error_headers = Vec::new();
    let (status, kind, bytes) = if script.html {
        (status(200), "text/html", PAGE.as_bytes().to_vec())
    } else if script.garbage {
        (status(200), kind, b"\x89PNG\r\n\x1a\n\x00\xff\xfe garbage \xc3\x28".to_vec())
    } else if script.empty {
        (status(200), kind, Vec::new())
    } else if script.no_body {
        running.note(|seen| seen.status = status(200).as_u16());
        let mut response = Response::new(body::silent(running));
        content_type(&mut response, kind);
        return Err(Box::new(response));
    } else if script.status.is_some() {
        let status = status(500);
        let (error, headers) = (trouble.error)(status);
        error_headers = headers;
        (status, "application/json", script.body.clone().unwrap_or(error).into_bytes())
    } else {
        return Ok(running);
    };
    let mut response = Response::new(body::whole(bytes));
    *response.status_mut() = status;
    content_type(&mut response, kind);
    for (name, value) in error_headers {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    add_headers(&mut response, script);
    running.note(|seen| seen.status = status.as_u16());
    running.end(Fate::Refused);
    Err(Box::new(response))
}

/// The error that OpenAI sends with a status.
fn scripted_error(script: &Script, status: StatusCode) -> String {
    let (message, kind, code) = match status.as_u16() {
        429 => ("Rate limit reached for requests. Please try again later.", "requests", "rate_limit_exceeded"),
        503 => ("The engine is currently overloaded, please try again later.", "server_error", "overloaded"),
        500.. => {
            ("The server had an error while processing your request. Sorry about that!", "server_error", "server_error")
        }
        _ => ("The request was refused.", "invalid_request_error", "invalid_value"),
    };
    let message = script.message.as_deref().unwrap_or(message);
    let code = script.code.as_deref().unwrap_or(code);
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}

/// A whole document, as the script lets it go out.
pub(super) fn finish(answer: &Value, script: &Script, running: Running) -> Response<Body> {
    let bytes = answer.to_string().into_bytes();
    let length = bytes.len();
    let body = if let Some(after) = script.hang_up_after {
        body::broken(bytes, after, running)
    } else if script.body_delay_ms > 0 || script.late_end {
        body::late(bytes, Duration::from_millis(script.body_delay_ms), running)
    } else {
        running.end(Fate::Answered);
        body::whole(bytes)
    };
    let mut response = Response::new(body);
    content_type(&mut response, "application/json");
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    add_headers(&mut response, script);
    response
}

fn plain(answer: Value, running: Running) -> Response<Body> {
    running.note(|seen| seen.status = 200);
    running.end(Fate::Answered);
    document(StatusCode::OK, &answer)
}

fn refuse(error: &ApiError, running: Running) -> Response<Body> {
    running.note(|seen| seen.status = error.status.as_u16());
    running.end(Fate::Refused);
    document(error.status, &error.body())
}

pub(super) fn document(status: StatusCode, answer: &Value) -> Response<Body> {
    let mut response = Response::new(body::whole(answer.to_string()));
    *response.status_mut() = status;
    content_type(&mut response, "application/json");
    response
}

fn content_type(response: &mut Response<Body>, kind: &'static str) {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
}

pub(super) fn add_headers(response: &mut Response<Body>, script: &Script) {
    for (name, value) in &script.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    if script.go_away {
        response.extensions_mut().insert(GoAway);
    }
}

/// What OpenAI sends along, and what tells about the provider's account and machines.
fn own_headers(headers: &mut HeaderMap, number: u64) {
    if let Ok(id) = HeaderValue::try_from(format!("req_mock_{number}")) {
        headers.insert("x-request-id", id);
    }
    for (name, value) in [
        ("openai-version", "2020-10-01"),
        ("openai-processing-ms", "1"),
        ("openai-organization", "org-mock-account"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("set-cookie", "__cf_bm=mock-session; path=/"),
        ("server", "mock-host.internal"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

fn is_known(model: &str) -> bool {
    CHAT_MODELS.contains(&model) || EMBEDDING_MODELS.contains(&model)
}

fn model_object(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": CREATED, "owned_by": "mock"})
}

/// Numbers between -1 and 1 that depend on the text alone (FNV-1a, then a step of an LCG per number).
pub(super) fn embedding(text: &str, size: u64) -> Vec<f32> {
    let mut state = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (0..size)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f32::from(u16::try_from(state >> 48).unwrap_or(0)) / 32_768.0 - 1.0
        })
        .collect()
}
