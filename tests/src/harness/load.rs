//! Many clients at once, each of which looks at every byte it gets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;

use super::{Client, eventually};

/// Clients that ask until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    finished: Arc<AtomicU64>,
    workers: JoinSet<Vec<Outcome>>,
}

/// How one request ended, as its client saw it.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Every byte came, and they were right.
    Answered { request_id: String, text: String },
    /// Anything else.
    Failed { text: String, why: String },
}

/// How the clients of a load behave.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    pub model: &'a str,
    pub clients: usize,
    /// Between two requests of one client.
    pub pause: Duration,
    /// Whether a client goes on after a request of its failed.
    pub goes_on: bool,
}

// === impl Load ===

impl Load {
    /// Starts the clients, in turn at each of these. Every second request is streamed.
    pub fn start(clients: &[Client], shape: Shape<'_>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let finished = Arc::new(AtomicU64::new(0));
        let mut workers = JoinSet::new();
        for (number, client) in (0..shape.clients).zip(clients.iter().cycle()) {
            let (stop, finished, client) = (Arc::clone(&stop), Arc::clone(&finished), client.clone());
            let (model, pause, goes_on) = (shape.model.to_owned(), shape.pause, shape.goes_on);
            workers.spawn(async move {
                let mut outcomes = Vec::new();
                for round in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let text = format!("client {number} round {round}");
                    let outcome = ask(&client, &model, text, round % 2 == 0).await;
                    let failed = matches!(outcome, Outcome::Failed { .. });
                    outcomes.push(outcome);
                    finished.fetch_add(1, Ordering::Relaxed);
                    if failed && !goes_on {
                        break;
                    }
                    tokio::time::sleep(pause).await;
                }
                outcomes
            });
        }
        Self { stop, finished, workers }
    }

    /// Waits until so many more requests have come to an end.
    pub async fn more(&self, requests: u64) {
        let goal = self.finished.load(Ordering::Relaxed) + requests;
        eventually("enough requests have come to an end", || async { self.finished.load(Ordering::Relaxed) >= goal })
            .await;
    }

    /// Lets every client finish its request, and gives what all of them saw.
    pub async fn stop(self) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        self.workers.join_all().await.concat()
    }
}

async fn ask(client: &Client, model: &str, text: String, stream: bool) -> Outcome {
    let failed = |why: String| Outcome::Failed { text: text.clone(), why };
    let answer = match client.try_post("/v1/chat/completions", &Client::chat_body(model, &text, stream)).await {
        Ok(answer) => answer,
        Err(error) => return failed(format!("{error:?}")),
    };
    if answer.status != 200 {
        return failed(format!("{} {}", answer.status, answer.body));
    }
    if stream && !answer.is_done() {
        return failed(format!("a stream without its end: {}", answer.body));
    }
    let said = answer.text();
    if !said.contains(&text) {
        return failed(format!("an answer to something else: {said}"));
    }
    Outcome::Answered { request_id: answer.request_id().to_owned(), text }
}
