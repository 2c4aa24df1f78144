//! More than one connection.

use std::time::Duration;

use omniroute_proto::v1::Outcome;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    upstream::{chat_answer, event_stream, events, json, typed},
    *,
};

/// One node; a connection per upstream, named c1, c2… in this order of priority.
async fn over(upstreams: &[&Upstream], settings: impl FnOnce(&mut v1::GatewaySettings)) -> Proxy {
    let snapshot = snapshot_with(|resources| {
        resources.settings(settings);
        resources.node("mock", &upstreams[0].base_url());
        for (n, upstream) in upstreams.iter().enumerate() {
            resources.connection(&format!("c{}", n + 1), "mock", |connection| {
                connection.priority = i32::try_from(n).expect("few");
                connection.base_url = upstream.base_url();
            });
        }
    });
    Proxy::start(&[("UPSTREAM_FIRST_BYTE_TIMEOUT", "2s")], snapshot).await
}

async fn good() -> Upstream {
    Upstream::answering(|_| chat_answer()).await
}

#[tokio::test]
async fn the_first_by_priority_is_used_and_the_next_takes_over_before_the_first_byte() {
    let silent = Upstream::scripted(|stream: TcpStream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    });
    for bad in [
        Upstream::answering(|_| json(500, "{}")).await,
        Upstream::answering(|_| json(401, "{}")).await,
        Upstream::answering(|_| json(429, "{}")).await,
        Upstream::answering(|_| json(404, "{}")).await,
        Upstream::answering(|_| typed(200, "text/html", "<html>")).await,
        Upstream::answering(|_| json(200, r#"{"error":{"message":"x"}}"#)).await,
        Upstream::absent().await,
        Upstream::writing("nonsense").await,
        silent.await,
    ] {
        let good = good().await;
        let proxy = over(&[&bad, &good], |_| {}).await;
        let answer = proxy.chat(CHAT).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(good.last().headers["authorization"], "Bearer sk-secret-of-c2");
        let event = proxy.event().await;
        assert_eq!((event.outcome(), event.connection_id.as_str()), (Outcome::Ok, "c2"));
        assert!(event.attempts >= 2);
        assert_eq!(proxy.inner.opened().len(), 1, "one request, one event");
    }
}

#[tokio::test]
async fn the_event_names_the_provider_that_answered() {
    let (bad, good) = (Upstream::answering(|_| json(500, "{}")).await, good().await);
    let snapshot = snapshot_with(|resources| {
        for (provider, upstream) in [("first", &bad), ("second", &good)] {
            resources.node(provider, &upstream.base_url());
            resources.connection(&format!("c-{provider}"), provider, |_| {});
            resources.model(provider, "shared", "chat");
        }
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let answer = proxy.chat(r#"{"model":"shared","messages":[{"role":"user","content":"hi"}]}"#).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-omniroute-provider")), (200, "second"));
    assert_eq!((bad.asked().len(), good.asked().len()), (1, 1));
    let event = proxy.event().await;
    assert_eq!((event.connection_id.as_str(), event.provider.as_str()), ("c-second", "second"));
    let noted = proxy.inner.noted();
    let told: Vec<_> = noted.iter().map(|noted| (noted.connection_id.as_str(), noted.attempts)).collect();
    assert_eq!(told, [("c-second", 2)], "should the process die meanwhile, the attempt under way counts");
    assert_eq!((event.requested_model.as_str(), event.model.as_str()), ("shared", "shared"));
}

#[tokio::test]
async fn the_event_names_what_was_called_and_what_was_spoken() {
    const CLAUDE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
    let (bad, good) =
        (Upstream::answering(|_| json(500, "{}")).await, Upstream::answering(|_| json(200, CLAUDE)).await);
    let snapshot = snapshot_with(|resources| {
        resources.node("first", &bad.base_url());
        resources.node_of("second", &good.base_url(), "anthropic-compatible", "");
        for provider in ["first", "second"] {
            resources.connection(&format!("c-{provider}"), provider, |_| {});
            resources.model(provider, "shared", "chat");
        }
    });
    let proxy = Proxy::start(&[], snapshot).await;
    let path = "/v1beta/models/shared:generateContent";
    let answer = proxy.post(&format!("{path}?alt=json"), r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let event = proxy.event().await;
    let spoken =
        |event: &v1::UsageEvent| (event.path.clone(), event.source_format.clone(), event.target_format.clone());
    assert_eq!(spoken(&event), (path.to_owned(), "gemini".to_owned(), "anthropic".to_owned()));
    let opened = &proxy.inner.opened()[0];
    assert_eq!(spoken(opened), (path.to_owned(), "gemini".to_owned(), "openai".to_owned()), "who was asked first");
}

#[tokio::test]
async fn the_clients_own_fault_is_not_tried_elsewhere() {
    let (picky, good) =
        (Upstream::answering(|_| json(400, r#"{"error":{"message":"bad field"}}"#)).await, good().await);
    let proxy = over(&[&picky, &good], |_| {}).await;
    assert_eq!(proxy.chat(CHAT).await.error().0, 400);
    assert!(good.asked().is_empty());
}

#[tokio::test]
async fn a_rate_limited_connection_is_left_alone_afterwards() {
    let (limited, good) = (Upstream::answering(|_| json(429, "{}")).await, good().await);
    let proxy = over(&[&limited, &good], |_| {}).await;
    for _ in 0..3 {
        assert_eq!(proxy.chat(CHAT).await.status, 200);
    }
    assert_eq!((limited.asked().len(), good.asked().len()), (1, 3));
}

/// Takes one credential and refuses all others.
fn door(request: &upstream::ReceivedRequest) -> upstream::UpstreamResponse {
    if request.headers["authorization"] == "Bearer sk-right" { chat_answer() } else { json(401, "{}") }
}

/// One connection with this credential.
fn with_secret(upstream: &Upstream, secret: &str) -> Arc<Snapshot> {
    snapshot_with(|resources| {
        resources.node("mock", &upstream.base_url());
        resources.connection("c1", "mock", |connection| connection.secret = secret.to_owned());
    })
}

#[tokio::test]
async fn a_repaired_connection_is_used_at_once() {
    let upstream = Upstream::answering(door).await;
    let proxy = Proxy::start(&[], with_secret(&upstream, "sk-wrong")).await;
    assert_eq!(proxy.chat(CHAT).await.error().2, "upstream_auth");
    let answer = proxy.chat(CHAT).await;
    assert_eq!(answer.error().2, "connections_cooling");
    // Why, and for how long, but not what the upstream said of our credential.
    let told = answer.text();
    assert!(told.contains("the provider refused the gateway's credential"), "{told}");
    assert!(told.contains("; the first can be tried again in "), "{told}");
    assert!(answer.headers.contains_key("retry-after"));
    assert_discreet(&upstream, &answer);
    let stages = &proxy.inner.stages;
    stages.snapshot.publish(with_secret(&upstream, "sk-right"), false);
    stages.health.reset(&["c1".into()]).await;
    assert_eq!(proxy.chat(CHAT).await.status, 200);
}

#[tokio::test]
async fn a_failure_that_was_under_way_during_the_repair_is_not_held_against_it() {
    let edit = Arc::new(std::sync::OnceLock::<(crate::snapshot::SnapshotHandle, Arc<Snapshot>)>::new());
    let upstream = Upstream::answering({
        let edit = Arc::clone(&edit);
        move |request| {
            let (handle, snapshot) = edit.get().expect("set");
            handle.publish(Arc::clone(snapshot), false);
            door(request)
        }
    })
    .await;
    let proxy = Proxy::start(&[], with_secret(&upstream, "sk-wrong")).await;
    let _ = edit.set((proxy.inner.stages.snapshot.clone(), with_secret(&upstream, "sk-right")));
    assert_eq!(proxy.chat(CHAT).await.error().2, "upstream_auth");
    assert_eq!(proxy.chat(CHAT).await.status, 200);
}

#[tokio::test]
async fn an_unstable_connection_is_passed_over_but_used_where_there_is_no_other() {
    let (bad, good) = (Upstream::answering(|_| json(500, "{}")).await, good().await);
    let proxy = over(&[&bad, &good], |_| {}).await;
    for _ in 0..5 {
        assert_eq!(proxy.chat(CHAT).await.status, 200);
    }
    assert_eq!(bad.asked().len(), 2, "after two failures in a row it is passed over");
    let alone = over(&[&bad], |_| {}).await;
    for _ in 0..4 {
        assert_eq!(alone.chat(CHAT).await.error().0, 502, "asked each time, though unstable");
    }
    assert_eq!(bad.asked().len(), 6);
}

#[tokio::test]
async fn attempts_are_limited() {
    let bad = Upstream::answering(|_| json(500, "{}")).await;
    let good = good().await;
    let proxy = over(&[&bad, &bad, &good], |settings| settings.max_attempts = 2).await;
    assert_eq!(proxy.chat(CHAT).await.error().0, 502);
    assert_eq!((bad.asked().len(), good.asked().len()), (2, 0));
    assert_eq!(proxy.event().await.attempts, 2);
}

#[tokio::test]
async fn a_connection_that_broke_gets_a_second_chance() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let first = Arc::new(first);
    let flaky = Upstream::scripted(move |mut stream: TcpStream| {
        let breaks = first.swap(false, std::sync::atomic::Ordering::SeqCst);
        async move {
            if !breaks {
                let body =
                    r#"{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        }
    })
    .await;
    let good = good().await;
    let proxy = over(&[&flaky, &good], |_| {}).await;
    assert_eq!(proxy.chat(CHAT).await.status, 200);
    assert_eq!((flaky.asked().len(), good.asked().len()), (2, 0));
    assert_eq!(proxy.event().await.attempts, 2);
}

#[tokio::test]
async fn once_an_answer_has_begun_there_is_no_falling_back() {
    const BEGUN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let dying = Upstream::scripted(|mut stream: TcpStream| async move {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(format!("{head}{:x}\r\n{BEGUN}\r\n", BEGUN.len()).as_bytes()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    })
    .await;
    let good = good().await;
    let proxy = over(&[&dying, &good], |_| {}).await;
    assert!(proxy.chat(STREAM).await.text().contains("\"error\""));
    assert!(good.asked().is_empty());
}

#[tokio::test]
async fn a_full_connection_hands_over_and_the_last_one_makes_wait() {
    let (sender, given) = event_stream();
    let given = std::sync::Mutex::new(Some(given));
    let upstream = Upstream::answering(move |_| given.lock().expect("a lock").take().unwrap_or_else(chat_answer)).await;
    let snapshot = snapshot_with(|resources| {
        resources.node("mock", &upstream.base_url());
        resources.connection("c1", "mock", |connection| connection.max_concurrent = 1);
    });
    let proxy = Arc::new(Proxy::start(&[], snapshot).await);
    sender.send("data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n").await.expect("sent");
    let held = tokio::spawn({
        let proxy = Arc::clone(&proxy);
        async move { proxy.chat(STREAM).await }
    });
    while upstream.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let waiting = tokio::spawn({
        let proxy = Arc::clone(&proxy);
        async move { proxy.chat(CHAT).await.status }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(upstream.asked().len(), 1, "the second waits for the place");
    drop(sender);
    assert_eq!(held.await.expect("no panic").status, 200);
    assert_eq!(waiting.await.expect("no panic"), 200, "woken: who is not, is refused in the end");
}

#[tokio::test]
async fn an_edit_counts_for_the_next_request() {
    let (one, two) = (good().await, good().await);
    let proxy = over(&[&one], |_| {}).await;
    assert_eq!(proxy.chat(CHAT).await.status, 200);
    let mut snapshot = (*in_front_of(&two, |_| {})).clone();
    assert_eq!(snapshot.revision(), 1);
    proxy.inner.stages.snapshot.publish(Arc::new(std::mem::take(&mut snapshot)), false);
    assert_eq!(proxy.chat(CHAT).await.status, 200);
    assert_eq!((one.asked().len(), two.asked().len()), (1, 1));
}

const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
const WHOLE: &[&str] = &[
    ROLE,
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"good\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
];
const PAUSE: Duration = Duration::from_millis(30);

#[tokio::test]
async fn an_error_behind_events_that_say_nothing_is_still_before_the_answer() {
    const FAILED: &str = "data: {\"error\":{\"message\":\"busy\",\"code\":\"rate_limit_exceeded\"}}\n\n";
    for frames in [&[ROLE, FAILED][..], &[": OPENROUTER PROCESSING\n\n", FAILED], &[ROLE]] {
        let bad = Upstream::answering(move |_| events(frames, PAUSE)).await;
        let good = Upstream::answering(|_| events(WHOLE, Duration::ZERO)).await;
        let proxy = over(&[&bad, &good], |_| {}).await;
        let answer = proxy.chat(STREAM).await;
        assert_eq!(answer.text(), WHOLE.concat(), "{frames:?}");
        let event = proxy.event().await;
        assert_eq!((event.connection_id.as_str(), event.attempts), ("c2", 2), "{frames:?}");
    }
}

#[tokio::test]
async fn such_an_error_keeps_its_class_its_words_and_its_wait() {
    const STARTED: &str =
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[]}}\n\n";
    const LIMITED: &str = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow down\"}}\n\n";
    const CREATED: &str =
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n";
    const FAILED: &str = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"r\",\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"slow down\"}}}\n\n";
    for (kind, api, path, body, frames) in [
        (
            "anthropic-compatible",
            "messages",
            "/v1/messages",
            r#"{"model":"n/m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#,
            &[STARTED, LIMITED],
        ),
        (
            "openai-compatible",
            "responses",
            "/v1/responses",
            r#"{"model":"n/m","stream":true,"store":false,"input":"hi"}"#,
            &[CREATED, FAILED],
        ),
    ] {
        let upstream = Upstream::answering(move |_| {
            let mut given = events(frames, PAUSE);
            given.headers_mut().insert("retry-after", http::HeaderValue::from_static("7"));
            given
        })
        .await;
        let snapshot = snapshot_with(|resources| {
            resources.node_of("n", &upstream.base_url(), kind, api);
            resources.connection("c1", "n", |_| {});
        });
        let answer = Proxy::start(&[], snapshot).await.post(path, body).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "7"), "{}", answer.text());
        assert!(answer.text().contains("slow down"), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_stream_that_has_begun_and_says_nothing_is_not_held_back_for_long() {
    let (sender, given) = event_stream();
    let given = std::sync::Mutex::new(Some(given));
    let upstream = Upstream::answering(move |_| given.lock().expect("a lock").take().expect("one request")).await;
    let proxy = over(&[&upstream], |_| {}).await;
    sender.send(ROLE).await.expect("sent");
    let asked = proxy.chat(STREAM);
    let answered = async {
        // As long as the model thinks; no other connection is tried, and the first byte counts as come.
        tokio::time::sleep(Duration::from_secs(6)).await;
        for frame in &WHOLE[1..] {
            sender.send(frame).await.expect("the stream is still read");
        }
        drop(sender);
    };
    let (answer, ()) = tokio::join!(asked, answered);
    assert_eq!(answer.text(), WHOLE.concat());
}

#[tokio::test]
async fn what_fails_in_mid_stream_counts_against_its_connection() {
    const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";
    const LIMITED: &str = "data: {\"error\":{\"message\":\"slow down\",\"code\":\"rate_limit_exceeded\"}}\n\n";
    for (frames, asked, code) in
        [(&[CONTENT, LIMITED][..], 1, "upstream_rate_limited"), (&[CONTENT, ": on\n\n"], 2, "upstream_broken")]
    {
        let bad = Upstream::answering(move |_| events(frames, PAUSE)).await;
        let good = Upstream::answering(|_| events(WHOLE, Duration::ZERO)).await;
        let proxy = over(&[&bad, &good], |_| {}).await;
        for n in 0..4 {
            let answer = proxy.chat(STREAM).await;
            assert_eq!(answer.text() == WHOLE.concat(), n >= asked, "{n}: {}", answer.text());
            let events = proxy.inner.closed_events(n + 1).await;
            assert_eq!(events[n].error_code, if n < asked { code } else { "" });
            // It is noted behind the answer.
            tokio::time::sleep(PAUSE).await;
        }
        assert_eq!(bad.asked().len(), asked);
    }
}
