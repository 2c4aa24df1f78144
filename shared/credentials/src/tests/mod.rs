//! Tokens over time, and machines of every cloud, with files and servers that are made up.

mod keeping;
mod machines;

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use omniroute_core::{address::AddressPolicy, time::UnixMillis};
use omniroute_providers::{CloudSpec, ConnectionSpec, Grant, Timeouts, Token, Upstream};
use parking_lot::Mutex;

use crate::{Web, WebError};

const NOON: UnixMillis = UnixMillis(1_767_268_800_000);
const ACCOUNT_KEY: &str = include_str!("../../testdata/account.pem");

type Answering = dyn Fn(&Request<Bytes>) -> Result<(u16, String), WebError> + Send + Sync;

/// A network that answers what it is told to, and remembers what it was asked.
#[derive(Clone)]
struct Network {
    asked: Arc<Mutex<Vec<Request<Bytes>>>>,
    answering: Arc<Answering>,
}

// === impl Network ===

impl Network {
    fn new(answering: impl Fn(&Request<Bytes>) -> Result<(u16, String), WebError> + Send + Sync + 'static) -> Self {
        Self { asked: Arc::default(), answering: Arc::new(answering) }
    }

    /// Nobody is there.
    fn empty() -> Self {
        Self::new(|_| Err(WebError("nobody is there".into())))
    }

    fn count(&self) -> usize {
        self.asked.lock().len()
    }

    fn uris(&self) -> Vec<String> {
        self.asked.lock().iter().map(|request| request.uri().to_string()).collect()
    }

    fn last(&self) -> Request<Bytes> {
        self.asked.lock().last().cloned().expect("it was asked")
    }
}

#[async_trait]
impl Web for Network {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, WebError> {
        let given = (self.answering)(&request);
        self.asked.lock().push(request);
        // Whoever else waits has a turn, as with a real network.
        tokio::task::yield_now().await;
        let (status, body) = given?;
        Ok(Response::builder().status(status).body(Bytes::from(body)).expect("an answer"))
    }
}

fn form(request: &Request<Bytes>) -> HashMap<String, String> {
    url::form_urlencoded::parse(request.body()).into_owned().collect()
}

fn compiled(provider: &str, secret: &str, cloud: CloudSpec<'_>) -> Upstream {
    let spec = ConnectionSpec {
        id: "c1",
        provider,
        name: "main",
        auth_type: "apikey",
        secret,
        base_url: if provider == "azure-openai" { "https://x.openai.azure.com" } else { "" },
        region: "",
        api_type: "",
        headers: &[],
        timeouts: Timeouts::default(),
        max_concurrent: 0,
        node: None,
        cloud,
    };
    Upstream::compile(&spec, AddressPolicy::PublicOnly).expect("compiled")
}

fn ibm() -> Grant {
    let cloud = CloudSpec { project: "p", ..CloudSpec::default() };
    compiled("watsonx", "ibm-key", cloud).grant().expect("a grant").clone()
}

fn bearer(token: &Token) -> String {
    match token {
        Token::Bearer(value) => value.to_str().expect("text").trim_start_matches("Bearer ").to_owned(),
        Token::Keys(keys) => panic!("keys {}", keys.access_key_id()),
    }
}

fn key_id(token: &Token) -> String {
    match token {
        Token::Keys(keys) => keys.access_key_id().to_owned(),
        Token::Bearer(_) => panic!("a bearer"),
    }
}
