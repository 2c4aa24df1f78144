//! Ollama's requests without a prompt: they load a model or put it away, and cost nothing here.

use std::sync::Arc;

use http::{HeaderValue, Response, header};
use omniroute_core::time::UnixMillis;
use omniroute_wire::{
    codec::{DecodeContext, NameTable, ResponseContext},
    ollama::{encode_preload, preload},
    translate::Dialect,
};

use crate::{
    reply::Reply,
    request::{RequestId, X_REQUEST_ID},
    seal::NoSealer,
};

/// A request without a prompt is not longer, so that longer ones are not read twice.
const LONGEST: usize = 4 * 1024;

/// The answer, if this is such a request.
pub(super) fn answer(
    dialect: &Dialect,
    body: &[u8],
    requested: &str,
    request_id: &RequestId,
    at: UnixMillis,
) -> Option<Response<Reply>> {
    let Dialect::Ollama { shape, .. } = dialect else { return None };
    if body.len() > LONGEST {
        return None;
    }
    // One that cannot be read is refused with its reason later on.
    let request = dialect.decode_request(body, &DecodeContext { sealer: &NoSealer, answer: "" }).ok()?;
    let asked = preload(&request)?;
    let exchange = ResponseContext {
        id: String::new(),
        created: at.0 / 1000,
        model: requested.to_owned(),
        include_usage: false,
        show_thinking: false,
        estimated_input: 0,
        answer_tool: false,
        names: NameTable::default(),
        echo: Vec::new(),
        compacts: false,
        sealer: Arc::new(NoSealer),
    };
    let mut out = Vec::with_capacity(192);
    encode_preload(asked, &exchange, *shape, &mut out);
    let mut response = Response::new(Reply::whole(out));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_REQUEST_ID, request_id.header());
    Some(response)
}
