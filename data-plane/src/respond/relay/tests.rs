mod terminator_timeout;

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::Stream;
use http_body_util::StreamBody;
use omniroute_proto::v1::{self, Outcome};
use omniroute_providers::Operation;
use omniroute_wire::translate::Dialect;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};

use super::*;
use crate::{
    accounting::RequestFacts,
    answer::AnswerKind,
    reply::{ErrorContext, turn::TURN},
    request::{Arrival, Caller, RequestId},
    resolve::resolve,
    server::testing::{TestGateway, snapshot_with},
};

const CHAT: AnswerKind = AnswerKind::Chat(omniroute_wire::ir::Format::OpenAiChat);

const SECOND: Duration = Duration::from_secs(1);
const TIMES: RelayTimesIn = RelayTimesIn { idle: 60, keepalive: 15, total: 600 };

const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n";
const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"12345678\"},\"finish_reason\":null}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\n";
const DONE_TEXT: &str = "data: [DONE]\n\n";

/// Seconds.
#[derive(Clone, Copy)]
struct RelayTimesIn {
    idle: u64,
    keepalive: u64,
    total: u64,
}

type Piece = Result<&'static str, &'static str>;

/// An answer under way: what the upstream says goes in at one end, what the client gets comes out at the other.
struct Bench {
    gateway: TestGateway,
    upstream: Option<mpsc::Sender<Piece>>,
    relay: Option<Pin<Box<Relay<Upstream>>>>,
}

type Upstream = StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, &'static str>> + Send>>>;

// === impl Bench ===

impl Bench {
    fn new(filter: AnswerFilter, first: &'static str, times: RelayTimesIn) -> Self {
        let gateway = TestGateway::new(
            &[],
            snapshot_with(|resources| {
                resources.node("mock", "http://127.0.0.1:9/v1");
                resources.connection("c1", "mock", |_| {});
            }),
        );
        let (sender, mut receiver) = mpsc::channel::<Piece>(16);
        let stream = futures_util::stream::poll_fn(move |cx| {
            receiver
                .poll_recv(cx)
                .map(|piece| piece.map(|piece| piece.map(|text| Frame::data(Bytes::from_static(text.as_bytes())))))
        });
        let upstream: Upstream = StreamBody::new(Box::pin(stream));
        let mut accounting = accounting(&gateway);
        accounting.attempt();
        accounting.answered(200, Duration::ZERO);
        let times = RelayLimits {
            idle: SECOND * u32::try_from(times.idle).expect("small"),
            keepalive: SECOND * u32::try_from(times.keepalive).expect("small"),
            deadline: Instant::now() + Duration::from_secs(times.total),
        };
        let mut filter = filter;
        let mut ready = Vec::new();
        filter.feed(Bytes::from_static(first.as_bytes()), ErrorContext { request_id: "r1", hidden: "" }, &mut ready);
        let relay = Relay::new(upstream, filter, ready, accounting, times);
        Self { gateway, upstream: Some(sender), relay: Some(Box::pin(relay)) }
    }

    fn says(&self, piece: Piece) {
        self.upstream.as_ref().expect("still there").try_send(piece).expect("room");
    }

    fn ends(&mut self) {
        self.upstream = None;
    }

    /// The next piece for the client; `None` at the end.
    async fn next(&mut self) -> Option<Result<String, String>> {
        let relay = self.relay.as_mut().expect("still there");
        let frame = poll_fn(|cx| relay.as_mut().poll_frame(cx)).await?;
        Some(match frame {
            Ok(frame) => Ok(String::from_utf8(frame.into_data().expect("data").to_vec()).expect("text")),
            Err(cut) => Err(cut.to_string()),
        })
    }

    async fn text(&mut self) -> String {
        self.next().await.expect("a piece").expect("no cut")
    }

    /// Everything until the end.
    async fn rest(&mut self) -> String {
        let mut all = String::new();
        while let Some(piece) = self.next().await {
            all.push_str(&piece.expect("no cut"));
        }
        all
    }

    fn event(&self) -> v1::UsageEvent {
        let mut closed = self.gateway.closed();
        assert_eq!(closed.len(), 1, "{closed:?}");
        closed.remove(0)
    }
}

fn accounting(gateway: &TestGateway) -> Box<RequestAccounting> {
    let stages = &gateway.stages;
    let snapshot = arc_swap::Guard::into_inner(stages.snapshot.load());
    let plan = resolve(&snapshot, &Caller::Local, "mock/m").expect("a plan");
    let target = plan.targets().next().expect("a target");
    let permit = stages.health.acquire(target.entry).expect("a place");
    let arrival = Arrival {
        operation: Operation::Chat,
        request_id: RequestId::generate(),
        started: Instant::now(),
        at: stages.clock.now(),
        in_flight: stages.lifecycle.begin(),
        span: tracing::Span::none(),
    };
    // Dropping what is unwritten writes it.
    let (dialect, body) = (Dialect::Chat, Bytes::from(vec![b'x'; 400]));
    let facts = RequestFacts {
        caller: &Caller::Local,
        path: "/v1/chat/completions",
        dialect: &dialect,
        stream: true,
        body: &body,
        asked_in: "openai",
    };
    RequestAccounting::open(&stages.sinks, arrival, facts, &target, permit).0
}

fn usage(event: &v1::UsageEvent) -> (Option<u64>, Option<u64>, bool) {
    let usage = event.usage.as_ref().expect("usage");
    (usage.input, usage.output, event.estimated)
}

#[tokio::test(start_paused = true)]
async fn frames_go_on_as_they_came_and_the_event_is_closed_before_the_terminator() {
    let mut bench = Bench::new(AnswerFilter::events(CHAT, true), ROLE, TIMES);
    assert_eq!(bench.text().await, ROLE);
    for piece in [TEXT, FINISH, USAGE, DONE_TEXT] {
        bench.says(Ok(piece));
    }
    assert_eq!(bench.text().await, TEXT);
    assert_eq!(bench.text().await, FINISH);
    assert!(bench.gateway.closed().is_empty());
    assert_eq!(bench.text().await, DONE_TEXT, "the usage chunk was not asked for");
    let event = bench.event();
    assert_eq!((event.outcome(), event.finish_reason.as_str()), (Outcome::Ok, "stop"));
    assert_eq!(usage(&event), (Some(9), Some(4), false));
    bench.ends();
    assert_eq!(bench.rest().await, "");
    assert_eq!(bench.gateway.closed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_finished_stream_without_terminator_gets_one() {
    for last in [FINISH, FINISH.trim_end()] {
        let mut bench = Bench::new(AnswerFilter::events(CHAT, false), ROLE, TIMES);
        bench.says(Ok(last));
        bench.ends();
        assert_eq!(bench.rest().await, format!("{ROLE}{}\n\n{DONE_TEXT}", FINISH.trim_end()));
        assert_eq!(bench.event().outcome(), Outcome::Ok);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_ends_with_an_error_and_no_terminator() {
    for (broken, given) in [(None, ""), (Some(Err("reset")), ""), (Some(Ok("data: {\"choices\":[{\"del")), "")] {
        for hide in [true, false] {
            let mut bench = Bench::new(AnswerFilter::events(CHAT, hide), TEXT, TIMES);
            if let Some(piece) = broken {
                bench.says(piece);
            }
            bench.ends();
            let all = bench.rest().await;
            let error = all.strip_prefix(TEXT).expect(&all).strip_prefix(given).expect(&all);
            assert!(error.starts_with("data: {\"error\":{\"message\":"), "{error}");
            assert!(error.ends_with("}}\n\n") && !error.contains("[DONE]"), "{error}");
            let event = bench.event();
            assert_eq!((event.outcome(), event.error_code.as_str()), (Outcome::UpstreamError, "upstream_broken"));
            assert_eq!(usage(&event), (Some(100), Some(2), true));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_upstreams_own_error_event_is_not_doubled() {
    let error = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n";
    let mut bench = Bench::new(AnswerFilter::events(CHAT, true), TEXT, TIMES);
    bench.says(Ok(error));
    bench.ends();
    assert_eq!(bench.rest().await, format!("{TEXT}{error}"));
    assert_eq!(bench.event().outcome(), Outcome::UpstreamError);
}

#[tokio::test(start_paused = true)]
async fn silence_is_filled_with_comments_between_events_until_it_is_too_long() {
    let mut bench = Bench::new(AnswerFilter::events(CHAT, false), TEXT, TIMES);
    assert_eq!(bench.text().await, TEXT);
    let start = Instant::now();
    for n in 1..=3 {
        assert_eq!(bench.text().await, ": keep-alive\n\n");
        assert_eq!(start.elapsed().as_secs(), 15 * n);
    }
    let error = bench.rest().await;
    assert_eq!(start.elapsed().as_secs(), 60);
    assert!(error.starts_with("data: {\"error\"") && error.contains("timeout"), "{error}");
    let event = bench.event();
    assert_eq!((event.outcome(), event.error_code.as_str()), (Outcome::Timeout, "upstream_idle_timeout"));
}

#[tokio::test(start_paused = true)]
async fn whatever_comes_restarts_the_silence() {
    let mut bench = Bench::new(AnswerFilter::events(CHAT, false), TEXT, TIMES);
    assert_eq!(bench.text().await, TEXT);
    let start = Instant::now();
    for _ in 0..10 {
        tokio::time::sleep(SECOND * 14).await;
        bench.says(Ok(TEXT));
        assert_eq!(bench.text().await, TEXT, "no comment came in between");
    }
    assert_eq!(bench.text().await, ": keep-alive\n\n");
    assert_eq!(start.elapsed().as_secs(), 155);
}

#[tokio::test(start_paused = true)]
async fn no_comment_lands_inside_an_event_that_is_too_large_to_wait_for() {
    let huge: &'static str = Box::leak(format!("data: {{\"x\":\"{}", "a".repeat(300 * 1024)).into_boxed_str());
    let mut bench = Bench::new(AnswerFilter::events(CHAT, false), TEXT, TIMES);
    assert_eq!(bench.text().await, TEXT);
    bench.says(Ok(huge));
    let begun = bench.text().await;
    assert!(begun.starts_with("data: {\"x\":\"aaa"));
    let start = Instant::now();
    tokio::select! {
        _ = tokio::time::sleep(SECOND * 40) => {}
        piece = bench.next() => panic!("{piece:?}"),
    }
    bench.says(Ok("\"}\n\n"));
    assert!(bench.text().await.ends_with("\"}\n\n"));
    assert_eq!(start.elapsed().as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_request_may_not_take_for_ever() {
    let mut bench = Bench::new(AnswerFilter::events(CHAT, false), TEXT, RelayTimesIn { total: 20, ..TIMES });
    assert_eq!(bench.text().await, TEXT);
    assert_eq!(bench.text().await, ": keep-alive\n\n");
    let start = Instant::now();
    assert!(bench.rest().await.starts_with("data: {\"error\""));
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(bench.event().error_code, "request_deadline");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_hangs_after_its_terminator_is_left() {
    let mut bench = Bench::new(AnswerFilter::events(CHAT, false), TEXT, TIMES);
    bench.says(Ok(FINISH));
    bench.says(Ok(DONE_TEXT));
    assert_eq!(bench.rest().await, format!("{TEXT}{FINISH}{DONE_TEXT}"));
    assert_eq!(bench.event().outcome(), Outcome::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_with_all_of_an_answer_has_it_though_the_upstream_has_not_closed() {
    const GEMINI: AnswerKind = AnswerKind::Chat(omniroute_wire::ir::Format::Gemini);
    const SAID: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]}}]}\n\n";
    const LAST: &str = "data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":4}}\n\n";
    for (kind, first, last, outcome) in [
        (GEMINI, SAID, LAST, Outcome::Ok),
        (GEMINI, SAID, SAID, Outcome::ClientClosed),
        (CHAT, FINISH, USAGE, Outcome::Ok),
        (CHAT, TEXT, FINISH, Outcome::ClientClosed),
    ] {
        let mut bench = Bench::new(AnswerFilter::events(kind, false), first, TIMES);
        bench.says(Ok(last));
        bench.text().await;
        bench.text().await;
        bench.relay = None;
        assert_eq!(bench.event().outcome(), outcome, "{last}");
    }
    let mut bench = Bench::new(AnswerFilter::events(GEMINI, false), SAID, TIMES);
    bench.text().await;
    bench.says(Ok(LAST));
    // It has come, but it has not gone out.
    bench.relay = None;
    assert_eq!(bench.event().outcome(), Outcome::ClientClosed);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_charged_for_what_it_got() {
    let mut bench = Bench::new(AnswerFilter::events(CHAT, true), TEXT, TIMES);
    bench.says(Ok(TEXT));
    bench.text().await;
    bench.text().await;
    bench.relay = None;
    assert!(bench.upstream.as_ref().expect("a sender").is_closed(), "the upstream is cancelled at once");
    let event = bench.event();
    assert_eq!((event.outcome(), event.status), (Outcome::ClientClosed, 200));
    assert_eq!(usage(&event), (Some(100), Some(4), true));
    assert_eq!(bench.gateway.stages.lifecycle.requests_in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_document_is_closed_at_its_end_and_cut_where_it_breaks() {
    let (head, tail) =
        ("{\"choices\":[{\"finish_reason\":\"stop\"}],", "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}");
    let mut bench = Bench::new(AnswerFilter::json(CHAT), head, TIMES);
    bench.says(Ok(tail));
    assert_eq!(bench.text().await, head);
    assert_eq!(bench.text().await, tail);
    bench.ends();
    assert!(bench.next().await.is_none());
    let event = bench.event();
    assert_eq!((event.outcome(), usage(&event)), (Outcome::Ok, (Some(3), Some(2), false)));

    let mut bench = Bench::new(AnswerFilter::json(CHAT), head, TIMES);
    bench.says(Err("reset"));
    assert_eq!(bench.text().await, head);
    assert!(bench.next().await.expect("a cut").is_err());
    assert_eq!(bench.event().outcome(), Outcome::UpstreamError);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_says_at_its_end_that_it_failed_has_failed() {
    let filler: &'static str = Box::leak(format!("{{\"x\":\"{}\",", "a".repeat(20 * 1024)).into_boxed_str());
    let failed = "\"choices\":[{\"finish_reason\":\"error\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}";
    for (end, outcome) in
        [(failed, Outcome::UpstreamError), ("\"choices\":[{\"finish_reason\":\"stop\"}]}", Outcome::Ok)]
    {
        let mut bench = Bench::new(AnswerFilter::json(CHAT), filler, TIMES);
        bench.says(Ok(end));
        bench.ends();
        assert_eq!(bench.rest().await, format!("{filler}{end}"), "the client has it as it came");
        assert_eq!(bench.event().outcome(), outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_has_its_count_written_down_about_once_a_second() {
    let mut bench = Bench::new(AnswerFilter::events(CHAT, false), ROLE, TIMES);
    bench.text().await;
    for _ in 0..40 {
        tokio::select! {
            biased;
            piece = bench.next() => panic!("{piece:?}"),
            () = tokio::time::sleep(SECOND / 8) => {}
        }
        bench.says(Ok(TEXT));
        bench.text().await;
    }
    let noted = bench.gateway.noted();
    assert!((4..=5).contains(&noted.len()), "{}", noted.len());
    let outputs: Vec<u64> = noted.iter().filter_map(|event| event.usage.and_then(|usage| usage.output)).collect();
    assert!(outputs.len() == noted.len() && outputs.is_sorted() && outputs[0] > 0, "{outputs:?}");
    assert!(noted.iter().all(|event| event.status == 200 && event.usage.is_some_and(|usage| usage.input == Some(100))));
}

#[tokio::test(start_paused = true)]
async fn while_a_client_does_not_read_nobody_waits_for_the_upstream() {
    let mut bench = Bench::new(AnswerFilter::events(CHAT, true), ROLE, TIMES);
    assert_eq!(bench.text().await, ROLE);
    bench.says(Ok(TEXT));
    assert_eq!(bench.text().await, TEXT);
    // The client takes nothing for longer than the upstream may be silent. What comes next comes in time.
    tokio::time::advance(SECOND * 200).await;
    tokio::select! {
        biased;
        piece = bench.next() => panic!("{piece:?}"),
        () = tokio::time::sleep(SECOND * 10) => {}
    }
    bench.says(Ok(FINISH));
    bench.says(Ok(DONE_TEXT));
    bench.ends();
    assert_eq!(bench.rest().await, format!("{FINISH}{DONE_TEXT}"));
    assert_eq!(bench.event().outcome(), Outcome::Ok);
}

#[tokio::test]
async fn a_document_is_whole_when_its_length_is_used_up() {
    /// It knows its length, and does not say that it is at its end.
    struct Sized(Option<Bytes>, u64);
    impl Body for Sized {
        type Data = Bytes;
        type Error = &'static str;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            let Some(piece) = self.0.take() else { return Poll::Pending };
            self.1 = 0;
            Poll::Ready(Some(Ok(Frame::data(piece))))
        }
        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.1)
        }
    }
    let gateway = TestGateway::new(
        &[],
        snapshot_with(|resources| {
            resources.node("mock", "http://127.0.0.1:9/v1");
            resources.connection("c1", "mock", |_| {});
        }),
    );
    let mut accounting = accounting(&gateway);
    accounting.attempt();
    accounting.answered(200, Duration::ZERO);
    let times = RelayLimits { idle: SECOND, keepalive: Duration::ZERO, deadline: Instant::now() + SECOND };
    let document = r#"{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}]}"#;
    let (first, rest) = document.split_at(20);
    let (mut filter, mut ready) = (AnswerFilter::json(CHAT), Vec::new());
    filter.feed(Bytes::from(first), ErrorContext { request_id: "r1", hidden: "" }, &mut ready);
    let upstream = Sized(Some(Bytes::from(rest)), rest.len() as u64);
    let mut relay = Box::pin(Relay::new(upstream, filter, ready, accounting, times));
    assert_eq!(relay.size_hint().exact(), Some(document.len() as u64));
    let mut read = Vec::new();
    while read.len() < document.len() {
        let frame = poll_fn(|cx| relay.as_mut().poll_frame(cx)).await.expect("more").expect("no cut");
        read.extend_from_slice(&frame.into_data().expect("data"));
    }
    assert!(relay.is_end_stream());
    drop(relay);
    assert_eq!(gateway.closed()[0].outcome(), Outcome::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_fast_answer_lets_others_have_their_turn() {
    const PIECES: usize = 6;
    let long = TEXT.replace("12345678", &"x".repeat(TURN / 2));
    let piece: &'static str = Box::leak(long.into_boxed_str());
    let mut bench = Bench::new(AnswerFilter::events(CHAT, false), piece, TIMES);
    (1..PIECES).for_each(|_| bench.says(Ok(piece)));
    let relay = bench.relay.as_mut().expect("still there");
    // Bytes that came without a pause, and all.
    let (mut at_once, mut most, mut all) = (0, 0, 0);
    poll_fn(|cx| {
        while all < PIECES * piece.len() {
            let Poll::Ready(frame) = relay.as_mut().poll_frame(cx) else {
                at_once = 0;
                return Poll::Pending;
            };
            let length = frame.expect("more").expect("no cut").into_data().expect("data").len();
            (at_once, all) = (at_once + length, all + length);
            most = most.max(at_once);
        }
        Poll::Ready(())
    })
    .await;
    assert!(most < TURN + piece.len() && all == PIECES * piece.len(), "{most} of {all}");
}

/// Has a task of one thread send a byte through a socket to itself, again and again, beside an answer that never waits. Tells how
/// many bytes of the answer came by in the longest of those times.
async fn most_beside(filter: AnswerFilter, piece: String) -> usize {
    const ALL: usize = 256 * 1024 * 1024;
    let came = Arc::new(AtomicUsize::new(0));
    let (counting, piece) = (Arc::clone(&came), Bytes::from(piece));
    let upstream = StreamBody::new(futures_util::stream::poll_fn(move |_| {
        // Without an end the thread would be lost to a test that fails.
        if counting.fetch_add(piece.len(), Ordering::Relaxed) > ALL {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok::<_, &'static str>(Frame::data(piece.clone()))))
    }));
    let gateway = TestGateway::new(
        &[],
        snapshot_with(|resources| {
            resources.node("mock", "http://127.0.0.1:9/v1");
            resources.connection("c1", "mock", |_| {});
        }),
    );
    let mut accounting = accounting(&gateway);
    accounting.attempt();
    accounting.answered(200, Duration::ZERO);
    let times = RelayLimits { idle: SECOND * 600, keepalive: Duration::ZERO, deadline: Instant::now() + SECOND * 600 };
    let mut relay = Box::pin(Relay::new(upstream, filter, Vec::new(), accounting, times));
    let answering = tokio::spawn(async move {
        poll_fn(|cx| {
            while relay.as_mut().poll_frame(cx).is_ready() {}
            Poll::<()>::Pending
        })
        .await;
    });
    let neighbour = tokio::spawn(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let (near, far) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        let (mut near, (mut far, _)) = (near.expect("connected"), far.expect("accepted"));
        let mut most = 0;
        for _ in 0..8 {
            let before = came.load(Ordering::Relaxed);
            let mut byte = [0];
            // Waits before the byte is there, so that only a look at the socket can end that.
            let (read, written) = tokio::join!(near.read_exact(&mut byte), far.write_all(b"x"));
            assert!(read.is_ok() && written.is_ok());
            most = most.max(came.load(Ordering::Relaxed) - before);
        }
        most
    });
    let most = neighbour.await.expect("no panic");
    answering.abort();
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_waits_for_a_socket_beside_a_fast_answer_has_its_turn() {
    let said = TEXT.replace("12345678", &"x".repeat(8 * 1024));
    let beat = format!(": {}\n\n", "x".repeat(8 * 1024));
    for (filter, piece) in [
        (AnswerFilter::events(CHAT, false), said),
        // What gives nothing out.
        (terminator_timeout::to_messages(omniroute_wire::ir::Format::OpenAiChat), beat),
    ] {
        let most = most_beside(filter, piece).await;
        assert!(most <= 8 * TURN, "{most} bytes");
    }
}
