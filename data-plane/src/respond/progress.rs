//! Events of progress between the events of an answer, for clients that ask for them (`X-OmniRoute-Progress: true`).
//!
//! They are of the type `progress`, which readers of the other types pass over: `stage` (`waiting`, `generating`, `done`), the
//! tokens that have come so far (the provider's count once it is there, an estimate before), and the milliseconds since the
//! request came in. The last one has `done`. It stands in front of `[DONE]`, where there is one: nobody reads on behind that.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::{Body, Frame};
use serde_json::json;
use tokio::time::{Instant, Sleep};

use crate::reply::{AnswerStats, CutShort, Reply, ReplyBody, headers::X_OMNIROUTE_PROGRESS};

/// Time between two of them.
const EVERY: Duration = Duration::from_secs(2);
const DONE: &[u8] = b"data: [DONE]\n\n";

/// What events of progress are told by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// When the request came in.
    pub(super) started: Instant,
    pub(super) is_chat: bool,
}

// === impl Pace ===

impl Pace {
    /// Puts events into an answer, outermost: what is kept of an answer has none.
    pub(crate) fn tell(self, response: Response<Reply>) -> Response<Reply> {
        let mut response = response.map(|reply| Reply::streamed(WithProgress::new(Box::pin(reply), self)));
        response.headers_mut().insert(X_OMNIROUTE_PROGRESS, HeaderValue::from_static("enabled"));
        response
    }
}

/// An answer with events of progress in it.
pub(super) struct WithProgress<R> {
    answer: Pin<Box<R>>,
    timer: Pin<Box<Sleep>>,
    started: Instant,
    /// OpenAI's clients take every event for a chunk, and look for its choices.
    is_chat: bool,
    /// What has gone out ends with a whole event.
    between: bool,
    ended: bool,
    /// What goes out before anything else is asked for.
    queued: Vec<Bytes>,
}

// === impl WithProgress ===

impl<R: ReplyBody> WithProgress<R> {
    pub(super) fn new(answer: Pin<Box<R>>, pace: Pace) -> Self {
        let Pace { started, is_chat } = pace;
        // An answer that took its time to begin has something to tell at once.
        let timer = Box::pin(tokio::time::sleep_until(started + EVERY));
        Self { answer, timer, started, is_chat, between: true, ended: false, queued: Vec::new() }
    }

    fn event(&self, done: bool) -> Bytes {
        let stats = self.answer.stats();
        let counted = stats.usage.map_or(0, |usage| usage.total_output());
        let tokens = if counted > 0 { counted } else { stats.output_guess };
        let stage = match (done, tokens) {
            (true, _) => "done",
            (false, 0) => "waiting",
            (false, _) => "generating",
        };
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut data = json!({"type": "progress", "stage": stage, "tokens_generated": tokens, "elapsed_ms": elapsed});
        if done {
            data["done"] = true.into();
        }
        if self.is_chat {
            data["choices"] = json!([]);
        }
        format!("event: progress\ndata: {data}\n\n").into()
    }

    /// Takes a piece of the answer and puts what belongs beside it in the queue.
    fn take(&mut self, piece: Bytes, is_due: bool) {
        self.between = piece.ends_with(b"\n\n") || piece.ends_with(b"\r\n\r\n");
        if piece.ends_with(DONE) && !self.ended {
            self.ended = true;
            let head = piece.slice(..piece.len() - DONE.len());
            let tail = piece.slice(head.len()..);
            // The queue is read from its end.
            self.queued.push(tail);
            self.queued.push(self.event(true));
            if !head.is_empty() {
                self.queued.push(head);
            }
            return;
        }
        if is_due && self.between && !self.ended {
            self.queued.push(self.event(false));
        }
        self.queued.push(piece);
    }

    /// Whether the time has come, and if so, sets the clock anew.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.timer.as_mut().poll(cx).is_ready();
        if due {
            self.timer.as_mut().reset(Instant::now() + EVERY);
        }
        due
    }
}

impl<R: ReplyBody> ReplyBody for WithProgress<R> {
    fn ended_well(&self) -> bool {
        self.answer.ended_well()
    }

    fn deadline(&self) -> Option<Instant> {
        self.answer.deadline()
    }

    fn cut(mut self: Pin<&mut Self>) {
        self.answer.as_mut().cut();
    }

    fn stats(&self) -> AnswerStats {
        self.answer.stats()
    }
}

impl<R: ReplyBody> Body for WithProgress<R> {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.queued.pop() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match this.answer.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => {
                        let is_due = this.is_due(cx);
                        this.take(piece, is_due);
                    }
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Poll::Ready(Some(Err(cut))) => return Poll::Ready(Some(Err(cut))),
                Poll::Ready(None) if this.ended => return Poll::Ready(None),
                Poll::Ready(None) => {
                    this.ended = true;
                    this.queued.push(this.event(true));
                }
                Poll::Pending => {
                    if !this.is_due(cx) {
                        return Poll::Pending;
                    }
                    if this.between && !this.ended {
                        this.queued.push(this.event(false));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.queued.is_empty() && self.answer.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::BodyExt;

    use super::*;

    /// Pieces, each after so many seconds.
    struct Script {
        pieces: VecDeque<(u64, &'static str)>,
        timer: Option<Pin<Box<Sleep>>>,
        tokens: u64,
    }

    impl ReplyBody for Script {
        fn ended_well(&self) -> bool {
            self.pieces.is_empty()
        }

        fn deadline(&self) -> Option<Instant> {
            None
        }

        fn cut(self: Pin<&mut Self>) {
            self.get_mut().pieces.clear();
        }

        fn stats(&self) -> AnswerStats {
            AnswerStats { output_guess: self.tokens, ..AnswerStats::default() }
        }
    }

    impl Body for Script {
        type Data = Bytes;
        type Error = CutShort;

        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
            let Some((pause, piece)) = self.pieces.front().copied() else { return Poll::Ready(None) };
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_secs(pause))));
            std::task::ready!(timer.as_mut().poll(cx));
            self.timer = None;
            self.tokens += 1;
            self.pieces.pop_front();
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
        }
    }

    async fn through(pieces: &[(u64, &'static str)], is_chat: bool) -> String {
        let script = Script { pieces: pieces.iter().copied().collect(), timer: None, tokens: 0 };
        let progress = WithProgress::new(Box::pin(script), Pace { started: Instant::now(), is_chat });
        let bytes = progress.collect().await.expect("whole").to_bytes();
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_began_late_tells_of_it_at_once() {
        let started = Instant::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        let script = Script { pieces: [(0, "data: a\n\n"), (1, "data: [DONE]\n\n")].into(), timer: None, tokens: 0 };
        let mut progress = WithProgress::new(Box::pin(script), Pace { started, is_chat: false });
        let mut next = async || progress.frame().await.expect("a frame").expect("whole").into_data().expect("data");
        assert_eq!(next().await, "data: a\n\n");
        let told = next().await;
        assert!(told.starts_with(b"event: progress\n"), "{told:?}");
        assert!(memchr::memmem::find(&told, br#""elapsed_ms":5000"#).is_some(), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_and_a_talking_answer_both_tell_how_far_they_are() {
        let text = through(&[(3, "data: a\n\n"), (1, "data: b\n\n"), (0, "data: [DONE]\n\n")], true).await;
        let expected = concat!(
            "event: progress\ndata: {\"choices\":[],\"elapsed_ms\":2000,\"stage\":\"waiting\",\"tokens_generated\":0,\"type\":\"progress\"}\n\n",
            "data: a\n\n",
            "data: b\n\n",
            "event: progress\ndata: {\"choices\":[],\"elapsed_ms\":4000,\"stage\":\"generating\",\"tokens_generated\":2,\"type\":\"progress\"}\n\n",
            "event: progress\ndata: {\"choices\":[],\"done\":true,\"elapsed_ms\":4000,\"stage\":\"done\",\"tokens_generated\":3,\"type\":\"progress\"}\n\n",
            "data: [DONE]\n\n",
        );
        let sorted = |text: &str| text.split("\n\n").map(normal).collect::<Vec<_>>();
        assert_eq!(sorted(&text), sorted(expected));
    }

    /// An event with the fields of its data in a fixed order.
    fn normal(event: &str) -> String {
        match event.split_once("data: {") {
            Some((head, data)) => {
                let value: serde_json::Value = serde_json::from_str(&format!("{{{data}")).expect("JSON");
                let fields: std::collections::BTreeMap<_, _> = value.as_object().expect("an object").iter().collect();
                format!("{head}{fields:?}")
            }
            None => event.to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_lands_inside_an_event_and_the_end_is_told_without_a_terminator_too() {
        let text = through(&[(0, "event: x\ndata: {\"a\""), (5, ":1}\n\n")], false).await;
        assert!(text.starts_with("event: x\ndata: {\"a\":1}\n\n"), "{text}");
        assert_eq!(text.matches("event: progress").count(), 1, "{text}");
        assert!(
            text.trim_end().ends_with('}') && text.contains("\"done\":true") && !text.contains("choices"),
            "{text}"
        );
    }
}
