//! The body of every answer: one type, so that no answer pays for a box per frame.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::{
    early::Early,
    lane::Tally,
    previous::GoingOn,
    progress::{Pace, Progress, Tallied},
    relay::Relay,
};
use crate::{
    state::watch::{Observer, Watched},
    upstream_client::UpstreamBody,
};

/// What a client gets.
pub struct Reply(Kind);

enum Kind {
    /// Something this proxy wrote itself.
    Whole(Bytes),
    /// An upstream's answer on its way through.
    Relay(Pin<Box<Relay<UpstreamBody>>>),
    /// The same, with the name of the answer that it goes on from.
    GoingOn(Box<GoingOn<Relay<UpstreamBody>>>),
    /// Any of these, with events of progress in it.
    Progress(Box<Progress<Reply>>),
    /// One that has not begun, and tells that it is waited for.
    Early(Box<Early>),
    /// An answer of the router.
    Routed(axum::body::Body),
    /// Any of these, with somebody who looks at it.
    Watched(Box<Watched>),
}

/// The answer cannot be finished; the connection is cut so that the client does not take it for whole.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CutShort(pub(super) &'static str);

// === impl Reply ===

impl Reply {
    pub(crate) fn empty() -> Self {
        Self(Kind::Whole(Bytes::new()))
    }

    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Whole(bytes.into()))
    }

    pub(super) fn relay(relay: Relay<UpstreamBody>) -> Self {
        Self(Kind::Relay(Box::pin(relay)))
    }

    pub(super) fn going_on_from(relay: Relay<UpstreamBody>, previous: &str) -> Self {
        Self(Kind::GoingOn(Box::new(GoingOn::new(Box::pin(relay), previous))))
    }

    pub(super) fn early(early: Early) -> Self {
        Self(Kind::Early(Box::new(early)))
    }

    pub(super) fn with_progress(self, pace: Pace) -> Self {
        Self(Kind::Progress(Box::new(Progress::new(Box::pin(self), pace))))
    }

    /// The same, seen by `observer` as it goes out.
    pub(crate) fn watched(self, observer: Box<dyn Observer>) -> Self {
        Self(Kind::Watched(Box::new(Watched::new(self, observer))))
    }

    /// Whether it is a whole answer and no error, once it has ended.
    pub(crate) fn ended_well(&self) -> bool {
        match &self.0 {
            Kind::Relay(relay) => relay.ended_well(),
            Kind::GoingOn(going_on) => going_on.answer().ended_well(),
            Kind::Progress(progress) => progress.answer().ended_well(),
            Kind::Watched(watched) => watched.ended_well(),
            Kind::Early(early) => early.begun().is_some_and(Self::ended_well),
            Kind::Whole(_) | Kind::Routed(_) => true,
        }
    }

    /// When it has to be over, where it is an upstream's.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.0 {
            Kind::Relay(relay) => Some(relay.deadline()),
            Kind::GoingOn(going_on) => Some(going_on.answer().deadline()),
            Kind::Progress(progress) => progress.answer().deadline(),
            Kind::Watched(watched) => watched.inner().deadline(),
            Kind::Early(early) => early.begun().and_then(Self::deadline),
            Kind::Whole(_) | Kind::Routed(_) => None,
        }
    }

    /// Ends an upstream's answer where it is, because the deadline of a drain has come.
    pub(crate) fn cut(&mut self) {
        match &mut self.0 {
            Kind::Relay(relay) => relay.as_mut().cut(),
            Kind::GoingOn(going_on) => going_on.answer_mut().cut(),
            Kind::Progress(progress) => progress.answer_mut().cut(),
            Kind::Watched(watched) => watched.inner_mut().cut(),
            Kind::Early(early) => early.cut(),
            Kind::Whole(_) | Kind::Routed(_) => {}
        }
    }

    pub(crate) fn routed(body: axum::body::Body) -> Self {
        Self(Kind::Routed(body))
    }
}

impl Tallied for Reply {
    fn tally(&self) -> Tally {
        match &self.0 {
            Kind::Relay(relay) => relay.tally(),
            Kind::GoingOn(going_on) => going_on.answer().tally(),
            Kind::Progress(progress) => progress.answer().tally(),
            Kind::Watched(watched) => watched.inner().tally(),
            Kind::Early(early) => early.begun().map(Self::tally).unwrap_or_default(),
            Kind::Whole(_) | Kind::Routed(_) => Tally::default(),
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        match &mut self.0 {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Relay(relay) => relay.as_mut().poll_frame(cx),
            Kind::GoingOn(going_on) => Pin::new(&mut **going_on).poll_frame(cx),
            Kind::Progress(progress) => Pin::new(&mut **progress).poll_frame(cx),
            Kind::Watched(watched) => watched.poll_frame(cx),
            Kind::Early(early) => early.poll_frame(cx),
            Kind::Routed(body) => {
                Pin::new(body).poll_frame(cx).map_err(|_| CutShort("the answer broke off on its way through"))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Relay(relay) => relay.is_end_stream(),
            Kind::GoingOn(going_on) => going_on.is_end_stream(),
            Kind::Progress(progress) => progress.is_end_stream(),
            Kind::Watched(watched) => watched.is_end_stream(),
            Kind::Early(early) => early.is_end_stream(),
            Kind::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Relay(relay) => relay.size_hint(),
            Kind::GoingOn(_) | Kind::Progress(_) | Kind::Early(_) => SizeHint::default(),
            Kind::Watched(watched) => watched.size_hint(),
            Kind::Routed(body) => body.size_hint(),
        }
    }
}
