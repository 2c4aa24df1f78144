//! The disk under a control plane on SQLite fills up, and has room again.
//!
//! The disk is a limit on the size of the program's files (`RLIMIT_FSIZE`), which needs no privilege, holds for root
//! too, and can be lifted while the program runs.

#![cfg(test)]

use std::cell::RefCell;

use omniroute_tests::harness::{Engine, Process, Setup, eventually};
use reqwest::Method;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};

/// Above what the program logs, below what the test writes.
const ROOM: u64 = 1024 * 1024;

fn limit_files(process: &Process, room: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(process.pid()).expect("a pid")).expect("a pid");
    let limit = Rlimit { current: room, maximum: getrlimit(Resource::Fsize).maximum };
    prlimit(Some(pid), Resource::Fsize, limit).expect("a limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_seen_by_every_probe_and_passes_without_a_restart() {
    let stack = Setup::on(Engine::Sqlite).start().await;
    let new_key = json!({ "name": "one more" });
    limit_files(&stack.control_plane, Some(ROOM));

    let refused = RefCell::new(Vec::new());
    eventually("the control plane is not ready", || async {
        let (status, text) = stack.rest.call(Method::POST, "/api/keys", Some(&new_key)).await;
        if status != 201 {
            refused.borrow_mut().push((status, text));
        }
        let ready = stack.rest.call(Method::GET, "/readyz", None).await;
        ready == (503, r#"{"status":"the database cannot be written"}"#.to_owned())
    })
    .await;
    let refused = refused.into_inner();
    assert!(!refused.is_empty());
    for (status, text) in refused {
        let error: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((status, &error["error"]["code"]), (503, &json!("INTERNAL_003")), "{text}");
    }
    let health = stack.rest.get("/api/monitoring/health").await;
    assert_eq!((&health["status"], &health["database"]["status"]), (&json!("unhealthy"), &json!("unwritable")));
    assert!(health["database"]["error"].is_string() && health["database"]["since"].is_string(), "{health}");
    assert_eq!(health["setupComplete"], true);
    let asked = stack.client.chat("mock/gpt-mock", "while the disk is full").await;
    assert_eq!(asked.status, 200, "requests go on: {}", asked.body);

    limit_files(&stack.control_plane, None);
    eventually("the control plane is ready again", || async {
        stack.rest.call(Method::GET, "/readyz", None).await.0 == 200
    })
    .await;
    stack.rest.post("/api/keys", &new_key).await;
    eventually("usage from that time is in the ledger", || async {
        stack.ledger.answered().await.requests >= stack.provider.total().requests
    })
    .await;
    assert_eq!(stack.ledger.answered().await, stack.provider.total());
    assert_eq!(stack.rest.get("/api/monitoring/health").await["database"]["status"], "healthy");
}
