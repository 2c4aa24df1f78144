//! The change from HTTP to the WebSocket protocol.

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A connection whose client has asked for the change.
pub(super) struct Upgrade {
    accept: HeaderValue,
    connection: OnUpgrade,
}

impl Upgrade {
    /// `None`: the request asks for no WebSocket, or for a version of the protocol that nobody uses.
    pub(super) fn of<B>(request: &mut http::Request<B>) -> Option<Self> {
        let headers = request.headers();
        let asks = request.method() == Method::GET
            && request.version() == Version::HTTP_11
            && names(headers, &header::CONNECTION, "upgrade")
            && names(headers, &header::UPGRADE, "websocket")
            && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks)?;
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()?;
        request.extensions_mut().remove::<OnUpgrade>().map(|connection| Self { accept, connection })
    }

    /// The head that agrees to it, and the connection, once that head is sent.
    pub(super) fn agree<B: Default>(
        self,
    ) -> (http::Response<B>, impl Future<Output = hyper::Result<TokioIo<Upgraded>>> + Send) {
        let Self { accept, connection } = self;
        let mut response = http::Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        (response, async { connection.await.map(TokioIo::new) })
    }
}

/// Whether a list of words holds this one.
fn names(headers: &HeaderMap, name: &header::HeaderName, word: &str) -> bool {
    let words = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    words.map(str::trim).any(|found| found.eq_ignore_ascii_case(word))
}
