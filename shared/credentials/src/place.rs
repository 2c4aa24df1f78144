//! Environment, files and network of the machine that a process runs on.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use omniroute_providers::GrantError;
use tokio::net::TcpStream;

use crate::{Web, WebError};

/// Longest file or answer.
const LARGEST: usize = 64 * 1024;
/// Where there is no metadata service, nobody answers: it must not take long to find out.
const CONNECT: Duration = Duration::from_secs(1);
const TOTAL: Duration = Duration::from_secs(5);

type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What the machine says of itself.
#[derive(Clone)]
pub struct Place {
    environment: Arc<Environment>,
    pub(crate) metadata: Arc<dyn Web>,
}

/// Asks a cloud's metadata service, over plain HTTP as they all want it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Metadata;

// === impl Place ===

impl Place {
    /// This process's.
    pub fn here() -> Self {
        Self::new(|name| std::env::var(name).ok(), Arc::new(Metadata))
    }

    pub fn new(environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static, metadata: Arc<dyn Web>) -> Self {
        Self { environment: Arc::new(environment), metadata }
    }

    /// A variable that is set to something.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    pub(crate) fn home(&self, below: &str) -> Option<PathBuf> {
        Some(PathBuf::from(self.variable("HOME")?).join(below))
    }

    /// A file that must be there.
    pub(crate) async fn file(&self, path: impl Into<PathBuf>) -> Result<String, GrantError> {
        let path = path.into();
        let fail = |why: String| GrantError::Machine(format!("{}: {why}", path.display()));
        let size = tokio::fs::metadata(&path).await.map_err(|error| fail(error.to_string()))?.len();
        if size > LARGEST as u64 {
            return Err(fail("is too large for a credential".into()));
        }
        tokio::fs::read_to_string(&path).await.map_err(|error| fail(error.to_string()))
    }

    /// A file that may be missing.
    pub(crate) async fn optional_file(&self, path: Option<PathBuf>) -> Result<Option<String>, GrantError> {
        let Some(path) = path else { return Ok(None) };
        match tokio::fs::try_exists(&path).await {
            Ok(true) => self.file(path).await.map(Some),
            _ => Ok(None),
        }
    }
}

// === impl Metadata ===

#[async_trait]
impl Web for Metadata {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, WebError> {
        let late = |_| WebError("the metadata service does not answer in time".into());
        tokio::time::timeout(TOTAL, ask(request)).await.map_err(late)?
    }
}

async fn ask(mut request: Request<Bytes>) -> Result<Response<Bytes>, WebError> {
    let fail = |why: &dyn std::fmt::Display| WebError(format!("the metadata service: {why}"));
    let uri = request.uri().clone();
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
    let authority = authority.ok_or_else(|| WebError("the metadata service is asked over http".into()))?;
    let address = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let late = |_| fail(&"nobody is there");
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await.map_err(late)?;
    let stream = stream.map_err(|error| fail(&error))?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|error| fail(&error))?;
    request.headers_mut().insert(header::HOST, host);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|error| fail(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| fail(&error))?;
    let exchange = async {
        let answer = sender.send_request(request.map(Full::new)).await.map_err(|error| fail(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST).collect().await.map_err(|error| fail(&error))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    tokio::pin!(exchange);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(fail(&error)),
        },
    }
}
