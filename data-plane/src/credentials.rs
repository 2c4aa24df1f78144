//! Tokens of connections whose credential is exchanged: the proxy mints its own, by the way that its requests go.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Limited};
use omniroute_core::time::Clock;
use omniroute_credentials::{Keeper, Machine, Place, Web, WebError};

use crate::{request::Segmented, upstream_client::UpstreamClient};

const CONNECT: Duration = Duration::from_secs(5);
/// Requests wait for it.
const TOTAL: Duration = Duration::from_secs(10);
/// Longest answer of a token endpoint.
const LARGEST: usize = 64 * 1024;
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("omniroute/", env!("CARGO_PKG_VERSION")));

/// Keeps the proxy's tokens. `is_ambient`: connections may use the identity of this machine.
pub(crate) fn keeper(client: UpstreamClient<Segmented>, clock: Arc<dyn Clock>, is_ambient: bool) -> Keeper {
    Keeper::new(Arc::new(Providers(client)), clock, is_ambient.then(|| Machine::new(Place::here())))
}

struct Providers(UpstreamClient<Segmented>);

#[async_trait]
impl Web for Providers {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, WebError> {
        let exchange = async {
            let mut request = request.map(|body| Segmented::new(vec![body]));
            request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
            let answer = self.0.send(request, CONNECT).await.map_err(|error| WebError(error.to_string()))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, LARGEST).collect().await;
            let body = body.map_err(|_| WebError("the answer broke off or is too long".into()))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let late = |_| WebError("no answer in time".into());
        tokio::time::timeout(TOTAL, exchange).await.map_err(late)?
    }
}
