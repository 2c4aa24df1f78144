//! What HTTP is handed in as.

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use omniroute_core::time::UnixMillis;
use omniroute_providers::{Exchange, GrantError, Minted};

/// Sends small requests and reads small answers.
#[async_trait]
pub trait Web: Send + Sync + 'static {
    /// # Errors
    /// When there is no whole answer.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, WebError>;
}

/// Why there is no answer, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WebError(pub String);

/// Exchanges a credential for a token.
pub(crate) async fn exchange(web: &dyn Web, exchange: &Exchange, now: UnixMillis) -> Result<Minted, GrantError> {
    let request = exchange.request(now)?.map(Bytes::from);
    let unavailable = |WebError(words)| GrantError::Unavailable { who: exchange.who(), words };
    let answer = web.send(request).await.map_err(unavailable)?;
    exchange.read(answer.status(), answer.body(), now)
}
