//! What one connection is sent, and how its answer is read: the client's own body where both sides speak the same
//! format, a translation elsewhere.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use omniroute_core::{
    error::{ErrorClass, GatewayError},
    hash::Pepper,
    time::UnixMillis,
};
use omniroute_providers::{Operation, Upstream};
use omniroute_wire::{
    anthropic, gemini,
    ir::Format,
    openai::{renamed_body, upstream_body},
    responses,
    scan::RequestScan,
    splice::Segments,
    translate::Dialect,
};

use super::request::Segmented;
use crate::{
    respond::lane::Kind,
    translate::{FleetSealer, Job, Translation, translate},
};

/// A client's request, before it is known who answers it.
pub(crate) struct Asked<'a> {
    pub(crate) operation: Operation,
    pub(crate) dialect: &'a Dialect,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) scan: &'a RequestScan<'a>,
    pub(crate) stream: bool,
    pub(crate) at: UnixMillis,
    pub(crate) pepper: &'a Pepper,
}

/// How an answer is read.
pub(crate) enum Way {
    Pass {
        kind: Kind,
        /// The client did not ask for the usage chunk.
        hide_usage: bool,
    },
    Translate(Box<Translation>),
}

/// What is sent.
pub(crate) struct Outgoing {
    pub(crate) body: Segmented,
    /// Headers that the format demands for this request.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) way: Way,
}

// === impl Asked ===

impl Asked<'_> {
    /// What `upstream` is sent, which knows the model as `model`; the client named it `requested`.
    ///
    /// # Errors
    /// When the upstream cannot do what is asked.
    pub(crate) fn outgoing(&self, upstream: &Upstream, model: &str, requested: &str) -> Result<Outgoing, GatewayError> {
        if self.operation == Operation::Embeddings {
            let segments = renamed_body(self.body.clone(), self.scan, model);
            return Ok(Outgoing::passed(segments, Kind::Embeddings, false));
        }
        let format = upstream.chat_format().ok_or_else(|| {
            GatewayError::new(
                ErrorClass::BadRequest,
                "unsupported_operation",
                "the provider of this model does not chat",
            )
            .with_param("model")
        })?;
        if let Some(outgoing) = self.passed(format, model) {
            return Ok(outgoing);
        }
        let profile = omniroute_providers::profile(upstream.provider().as_str(), format, model);
        let translated = translate(&Job {
            dialect: self.dialect,
            body: &self.body,
            upstream: format,
            model,
            requested,
            profile: &profile,
            stream: self.stream,
            at: self.at,
            sealer: Arc::new(FleetSealer::new(self.pepper)),
        })?;
        Ok(Outgoing {
            body: Segmented::new(vec![translated.body]),
            headers: translated.headers,
            way: Way::Translate(Box::new(translated.translation)),
        })
    }

    /// The client's own bytes, where the upstream speaks the client's format.
    fn passed(&self, format: Format, model: &str) -> Option<Outgoing> {
        let (segments, hide_usage) = match (self.dialect, format) {
            (Dialect::Chat, Format::OpenAiChat) => {
                let upstream = upstream_body(self.body.clone(), self.scan, model);
                (upstream.segments, upstream.hide_usage)
            }
            (Dialect::Responses, Format::OpenAiResponses) => {
                (responses::upstream_body(self.body.clone(), self.scan, model), false)
            }
            (Dialect::Messages, Format::Anthropic) => {
                (anthropic::upstream_body(self.body.clone(), self.scan, model), false)
            }
            // The model is in the path; a stream is always asked for as events.
            (Dialect::Gemini { stream, framing, .. }, Format::Gemini)
                if !*stream || *framing == gemini::Framing::Sse =>
            {
                (vec![self.body.clone()], false)
            }
            _ => return None,
        };
        Some(Outgoing::passed(segments, Kind::Chat(format), hide_usage))
    }
}

// === impl Outgoing ===

impl Outgoing {
    fn passed(segments: Segments, kind: Kind, hide_usage: bool) -> Self {
        Self { body: Segmented::new(segments), headers: Vec::new(), way: Way::Pass { kind, hide_usage } }
    }
}
