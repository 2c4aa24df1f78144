//! Tokens of accounts, which providers take back and the control planes renew.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use omniroute_core::hash::token_fingerprint;
use omniroute_proto::v1::Outcome;
use parking_lot::Mutex;

use super::{
    upstream::{ReceivedRequest, chat_answer, json},
    *,
};

/// A provider that takes a token until each client has had an answer with it. So no request can meet two that are over.
#[derive(Clone)]
struct Bank(Arc<Mutex<Counting>>);

struct Counting {
    number: usize,
    served: HashSet<String>,
    /// Numbers of requests without any token.
    without: usize,
}

const CLIENTS: usize = 8;
const ROTATIONS: usize = 50;

// === impl Bank ===

impl Bank {
    fn open() -> Self {
        Self(Arc::new(Mutex::new(Counting { number: 0, served: HashSet::new(), without: 0 })))
    }

    fn token(number: usize) -> String {
        format!("token-{number}-0123456789")
    }

    async fn serve(&self) -> Upstream {
        let bank = self.clone();
        Upstream::answering(move |asked: &ReceivedRequest| {
            let mut counting = bank.0.lock();
            let given = asked.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
            if given.is_empty() {
                counting.without += 1;
            }
            if given != format!("Bearer {}", Self::token(counting.number)) || counting.served.len() == CLIENTS {
                return json(401, r#"{"error":{"message":"the token is over"}}"#);
            }
            counting.served.insert(String::from_utf8_lossy(&asked.body).into_owned());
            chat_answer()
        })
        .await
    }

    /// As the control plane does with a refused token: the next one, unless there is one already.
    fn renew(&self, refused: [u8; 16]) -> Option<String> {
        let mut counting = self.0.lock();
        if token_fingerprint(&Self::token(counting.number)) != refused {
            return None;
        }
        counting.number += 1;
        counting.served.clear();
        Some(Self::token(counting.number))
    }

    fn number(&self) -> usize {
        self.0.lock().number
    }
}

fn snapshot(upstream: &Upstream, token: &str, change: impl Fn(&mut v1::Connection)) -> Arc<Snapshot> {
    snapshot_with(|resources| {
        resources.node("mock", &upstream.base_url());
        resources.connection("c1", "mock", |connection| {
            connection.auth_type = "oauth".to_owned();
            connection.refreshes = true;
            connection.secret = token.to_owned();
            change(connection);
        });
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_tokens_rotate_fifty_times_under_load() {
    let bank = Bank::open();
    let upstream = bank.serve().await;
    let proxy = Arc::new(Proxy::start(&[], snapshot(&upstream, &Bank::token(0), |_| {})).await);
    let renewals = Arc::clone(&proxy.inner.stages.renewals);
    let (control, asked_for) = (bank.clone(), Arc::new(Mutex::new(HashSet::new())));
    let (gateway, provider, seen) = (Arc::clone(&proxy), upstream.clone(), Arc::clone(&asked_for));
    let control = tokio::spawn(async move {
        loop {
            renewals.urgent().notified().await;
            for (id, fingerprint) in renewals.wanted() {
                assert_eq!(id.as_str(), "c1");
                seen.lock().insert(fingerprint);
                if let Some(token) = control.renew(fingerprint) {
                    gateway.inner.stages.snapshot.publish(snapshot(&provider, &token, |_| {}), false);
                }
            }
        }
    });
    let answered = Arc::new(AtomicUsize::new(0));
    let clients = (0..CLIENTS).map(|client| {
        let (proxy, bank, answered) = (Arc::clone(&proxy), bank.clone(), Arc::clone(&answered));
        tokio::spawn(async move {
            while bank.number() < ROTATIONS {
                let answer = proxy.chat(CHAT.replace("hi", &format!("I am {client}"))).await;
                assert_eq!(answer.status, 200, "after {} rotations: {}", bank.number(), answer.text());
                answered.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("every request was answered");
    }
    control.abort();
    assert!(answered.load(Ordering::Relaxed) >= ROTATIONS * CLIENTS);
    assert_eq!(asked_for.lock().len(), ROTATIONS, "each token was asked for once it was refused");
    assert_eq!(bank.0.lock().without, 0, "nothing went out without a token");
    let events = proxy.inner.closed_events(answered.load(Ordering::Relaxed)).await;
    assert!(events.iter().all(|event| event.outcome() == Outcome::Ok));
}

#[tokio::test]
async fn where_there_is_no_other_token_the_refusal_counts_at_once() {
    let upstream = Upstream::answering(|_| json(401, r#"{"error":{"message":"no"}}"#)).await;
    // Nobody renews it.
    let proxy = Proxy::start(&[], snapshot(&upstream, "token-a", |connection| connection.refreshes = false)).await;
    assert_ne!(proxy.chat(CHAT).await.status, 200);
    assert_eq!(upstream.asked().len(), 1);
    assert!(proxy.inner.stages.renewals.wanted().is_empty());

    // The control planes find that only signing in helps, and say so.
    let proxy = Arc::new(Proxy::start(&[], snapshot(&upstream, "token-a", |_| {})).await);
    let renewals = Arc::clone(&proxy.inner.stages.renewals);
    let (gateway, provider) = (Arc::clone(&proxy), upstream.clone());
    let control = tokio::spawn(async move {
        renewals.urgent().notified().await;
        let given_up = snapshot(&provider, "token-a", |connection| connection.refreshes = false);
        gateway.inner.stages.snapshot.publish(given_up, false);
    });
    let answer = proxy.chat(CHAT).await;
    assert_ne!(answer.status, 200);
    control.await.expect("told");
    assert!(proxy.inner.stages.renewals.wanted().is_empty(), "nobody waits any more");

    // A new token that is refused too is not waited for again by the same request.
    let proxy = Arc::new(Proxy::start(&[], snapshot(&upstream, "token-a", |_| {})).await);
    let renewals = Arc::clone(&proxy.inner.stages.renewals);
    let (gateway, provider) = (Arc::clone(&proxy), upstream.clone());
    let before = upstream.asked().len();
    let control = tokio::spawn(async move {
        renewals.urgent().notified().await;
        gateway.inner.stages.snapshot.publish(snapshot(&provider, "token-b", |_| {}), false);
    });
    let asking = tokio::time::timeout(Duration::from_secs(60), proxy.chat(CHAT)).await;
    assert_ne!(asking.expect("an answer").status, 200);
    control.await.expect("told");
    assert_eq!(upstream.asked().len() - before, 2);
    let event = proxy.inner.closed_events(1).await.remove(0);
    assert_eq!(event.attempts, 2);
}
