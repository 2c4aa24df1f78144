//! The other vendors' APIs, beside OpenAI's chat: each below a path of its own, as strict as its owner.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde_json::Value;

use super::{
    Shared,
    answer::Answer,
    ask::Ask,
    body::{self, Body, Faults},
    journal::{Fate, Running},
    script::Script,
    server::{Trouble, add_headers, document, finish, misbehave},
    shape::{Checked, Fault},
    stream::Event,
    vendors,
};

/// One vendor's dialect.
pub(super) trait Vendor: Send + Sync + 'static {
    /// The key, when it stands where this vendor wants it.
    fn key<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str>;

    /// Whether it answers without a key.
    fn keyless(&self) -> bool {
        false
    }

    /// What a path below the vendor's own stands for.
    fn call(&self, method: &Method, path: &str, query: &str) -> Option<Operation>;

    fn models(&self) -> &'static [&'static str];

    /// The list of models.
    fn listed(&self) -> Value;

    /// Checks a chat request and reads it. `model` has no script any more.
    fn ask(&self, body: &Value, model: &str, headers: &HeaderMap) -> Checked<Ask>;

    /// What only an answer needs, and a count does not.
    fn complete(&self, _body: &Value) -> Checked {
        Ok(())
    }

    fn answer(&self, answer: &Answer, ask: &Ask) -> Value;

    fn events(&self, answer: &Answer, ask: &Ask, script: &Script) -> Vec<Event>;

    /// How a stream breaks off with an error, and with nonsense.
    fn faults(&self) -> Faults;

    fn stream_type(&self) -> &'static str {
        "text/event-stream; charset=utf-8"
    }

    fn error(&self, fault: &Fault) -> Value;

    /// Headers of an error.
    fn error_headers(&self, _: StatusCode) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    /// Answers a count of tokens.
    fn counted(&self, _tokens: u64) -> Value {
        Value::Null
    }

    /// Checks a request for vectors, and gives its answer and its price in tokens.
    fn embed(&self, _body: &Value, _model: &str, _many: bool) -> Checked<(Value, u64)> {
        Err(Fault::of(StatusCode::NOT_FOUND, "no embeddings here"))
    }
}

/// A call of a vendor's API. The model is `None` where the body names it.
pub(super) enum Operation {
    Models,
    Chat { model: Option<String>, stream: Option<bool> },
    Count { model: Option<String> },
    Embed { model: Option<String>, many: bool },
}

/// The vendor whose path this is, and the rest of it.
pub(super) fn of_path(path: &str) -> Option<(&'static dyn Vendor, &str)> {
    let vendors: [(&str, &'static dyn Vendor); 6] = [
        ("/v1/responses", &vendors::Responses),
        ("/anthropic/v1/", &vendors::Anthropic),
        ("/gemini/v1beta/", &vendors::Gemini),
        ("/ollama/api/", &vendors::Ollama),
        ("/cohere/", &vendors::Cohere),
        ("/bedrock/", &vendors::Bedrock),
    ];
    vendors.into_iter().find_map(|(own, vendor)| Some((vendor, path.strip_prefix(own)?)))
}

/// A request on its way through.
pub(super) struct Incoming<'a> {
    pub shared: &'a Arc<Shared>,
    pub parts: &'a http::request::Parts,
    pub body: &'a Bytes,
}

/// Answers a request below a vendor's path.
pub(super) async fn answer(
    vendor: &'static dyn Vendor,
    rest: &str,
    of: Incoming<'_>,
    running: Running,
) -> Response<Body> {
    match route(vendor, rest, &of, running).await {
        Ok(response) => response,
        Err((fault, running)) => {
            running.note(|seen| seen.status = fault.status.as_u16());
            running.end(Fate::Refused);
            let mut response = document(fault.status, &vendor.error(&fault));
            for (name, value) in vendor.error_headers(fault.status) {
                response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            response
        }
    }
}

async fn route(
    vendor: &'static dyn Vendor,
    rest: &str,
    of: &Incoming<'_>,
    running: Running,
) -> Result<Response<Body>, (Fault, Running)> {
    let (headers, query) = (&of.parts.headers, of.parts.uri.query().unwrap_or_default());
    let prepared = (|| {
        match vendor.key(headers) {
            Some(key) if of.shared.keys.lock().contains(key) => running.note(|seen| key.clone_into(&mut seen.key)),
            Some(_) => return Err(Fault::of(StatusCode::UNAUTHORIZED, "invalid credential")),
            None if vendor.keyless() => {}
            None => return Err(Fault::of(StatusCode::UNAUTHORIZED, "no credential")),
        }
        let Some(call) = vendor.call(&of.parts.method, rest, query) else {
            return Err(Fault::of(StatusCode::NOT_FOUND, format!("no such path: {} {rest}", of.parts.method)));
        };
        let (model, stream) = match &call {
            Operation::Models => return Ok(None),
            Operation::Chat { model, stream } => (model.clone(), *stream),
            Operation::Count { model } | Operation::Embed { model, .. } => (model.clone(), None),
        };
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if kind.split(';').next() != Some("application/json") {
            return Err(Fault::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("unsupported content type `{kind}`")));
        }
        let body: Value =
            serde_json::from_slice(of.body).map_err(|why| Fault::said("", format!("invalid JSON: {why}")))?;
        let named = match model {
            Some(model) => model,
            None => body["model"].as_str().ok_or_else(|| Fault::missing("model"))?.to_owned(),
        };
        let (model, script) = of.shared.script_for(&named);
        if !vendor.models().contains(&model.as_str()) {
            return Err(Fault::of(StatusCode::NOT_FOUND, format!("model `{named}` not found")));
        }
        Ok(Some((call, body, model, script, stream)))
    })();
    let (call, body, model, script, stream) = match prepared {
        Err(fault) => return Err((fault, running)),
        Ok(None) => return Ok(plain(&vendor.listed(), running)),
        Ok(Some(prepared)) => prepared,
    };
    let mut ask = match &call {
        Operation::Models => Ask::default(),
        Operation::Embed { many, .. } => match vendor.embed(&body, &model, *many) {
            Err(fault) => return Err((fault, running)),
            Ok((answer, prompt)) => {
                running.note(|seen| (seen.model, seen.prompt_tokens) = (model, prompt));
                return Ok(plain(&answer, running));
            }
        },
        Operation::Chat { .. } | Operation::Count { .. } => {
            let complete = if matches!(call, Operation::Chat { .. }) { vendor.complete(&body) } else { Ok(()) };
            match complete.and_then(|()| vendor.ask(&body, &model, headers)) {
                Ok(ask) => ask,
                Err(fault) => return Err((fault, running)),
            }
        }
    };
    if matches!(call, Operation::Count { .. }) {
        return Ok(plain(&vendor.counted(ask.prompt), running));
    }
    ask.stream = stream.unwrap_or(ask.stream);
    Ok(chat(vendor, &ask, &model, &script, running).await)
}

async fn chat(
    vendor: &'static dyn Vendor,
    ask: &Ask,
    model: &str,
    script: &Script,
    running: Running,
) -> Response<Body> {
    running.note(|seen| {
        model.clone_into(&mut seen.model);
        seen.text.clone_from(&ask.text);
        seen.stream = ask.stream;
    });
    let stream_type = vendor.stream_type();
    let error = |status| {
        let said = script.message.as_deref().unwrap_or("The script says so.");
        (vendor.error(&Fault::of(status, said)).to_string(), vendor.error_headers(status))
    };
    let trouble = Trouble { stream_type: if ask.stream { stream_type } else { "application/json" }, error: &error };
    let running = match misbehave(script, trouble, running).await {
        Ok(running) => running,
        Err(response) => return *response,
    };
    let answer = Answer::to(ask, model, script, running.number);
    running.note(|seen| {
        seen.status = 200;
        seen.prompt_tokens = answer.usage.prompt;
        seen.cached_tokens = answer.usage.cached;
    });
    if ask.stream {
        let events = vendor.events(&answer, ask, script);
        let mut response = Response::new(body::events(events, script.clone(), vendor.faults(), running));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(stream_type));
        add_headers(&mut response, script);
        return response;
    }
    running.note(|seen| seen.completion_tokens = answer.usage.completion);
    finish(&vendor.answer(&answer, ask), script, running)
}

fn plain(answer: &Value, running: Running) -> Response<Body> {
    running.note(|seen| seen.status = 200);
    running.end(Fate::Answered);
    document(StatusCode::OK, answer)
}

/// The value of a header.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The token of an `Authorization` header.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    text(headers, "authorization")?.strip_prefix("Bearer ")
}

/// An event of a stream: a name where the vendor has them, and a document.
pub(super) fn event(name: Option<&str>, data: &Value, completion_tokens: u64) -> Event {
    let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
    Event { bytes: format!("{name}data: {data}\n\n").into_bytes(), completion_tokens }
}
