//! Tokens of connections whose credential is exchanged: the proxy mints its own, by the way that its requests go, through the
//! connection's outbound proxy where it has one.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Limited};
use omniroute_core::time::Clock;
use omniroute_credentials::{Keeper, Machine, Place, Web, WebError};
use omniroute_egress::OutboundProxy;
use omniroute_providers::{Grant, GrantError, Token};

use crate::{request::Segmented, snapshot::ConnectionEntry, upstream_client::UpstreamClient};

const CONNECT: Duration = Duration::from_secs(5);
/// Requests wait for it.
const TOTAL: Duration = Duration::from_secs(10);
/// Longest answer of a token endpoint.
const LARGEST: usize = 64 * 1024;
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("omniroute/", env!("CARGO_PKG_VERSION")));

/// Keeps the proxy's tokens. `is_ambient`: connections may use the identity of this machine.
pub(crate) fn keeper(client: UpstreamClient<Segmented>, clock: Arc<dyn Clock>, is_ambient: bool) -> Keeper {
    Keeper::new(Arc::new(Providers { client, proxy: None }), clock, is_ambient.then(|| Machine::new(Place::here())))
}

/// A token for a connection, by the way that the connection's requests go.
///
/// # Errors
/// When there is none to be had.
pub(crate) async fn token(
    keeper: &Keeper,
    grant: &Grant,
    entry: &ConnectionEntry,
    client: &UpstreamClient<Segmented>,
) -> Result<Token, GrantError> {
    let Some(proxy) = &entry.outbound else { return keeper.token(grant).await };
    let way: Arc<dyn Web> = Arc::new(Providers { client: client.clone(), proxy: Some(Arc::clone(proxy)) });
    keeper.token_by(grant, &way).await
}

struct Providers {
    client: UpstreamClient<Segmented>,
    proxy: Option<Arc<OutboundProxy>>,
}

#[async_trait]
impl Web for Providers {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, WebError> {
        let exchange = async {
            let mut request = request.map(|body| Segmented::new(vec![body]));
            request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
            let answer = match &self.proxy {
                None => self.client.send(request, CONNECT).await,
                Some(proxy) => Box::pin(self.client.send_through(request, proxy, CONNECT)).await,
            };
            let answer = answer.map_err(|error| WebError(error.to_string()))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, LARGEST).collect().await;
            let body = body.map_err(|_| WebError("the answer broke off or is too long".into()))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let late = |_| WebError("no answer in time".into());
        tokio::time::timeout(TOTAL, exchange).await.map_err(late)?
    }
}
