//! What the gateway says it was used for.

use serde_json::Value;

use super::{Rest, eventually};
use crate::mock_provider::Totals;

/// Rows that one page may have.
const PAGE: usize = 1000;

/// The ledger, read through REST.
#[derive(Clone, Debug)]
pub struct Ledger(pub Rest);

/// One row.
#[derive(Clone, Debug)]
pub struct Call(pub Value);

// === impl Ledger ===

impl Ledger {
    /// All rows, newest first.
    pub async fn calls(&self) -> Vec<Call> {
        let mut all = Vec::new();
        let mut path = format!("/api/usage/call-logs?limit={PAGE}");
        loop {
            let (page, next) = self.0.page(&path).await;
            all.extend(page.as_array().expect("a list").iter().cloned().map(Call));
            match next {
                Some(cursor) => path = format!("/api/usage/call-logs?limit={PAGE}&cursor={cursor}"),
                None => return all,
            }
        }
    }

    /// The row of a request, once it is there.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn call(&self, request_id: &str) -> Call {
        eventually(&format!("{request_id} is in the ledger"), || async {
            self.calls().await.iter().any(|call| call.request_id() == request_id)
        })
        .await;
        let mut found = self.calls().await.into_iter().filter(|call| call.request_id() == request_id);
        let call = found.next().expect("it was there");
        assert!(found.next().is_none(), "{request_id} is in the ledger more than once");
        call
    }

    /// Sums over the rows of requests that ended well.
    pub async fn answered(&self) -> Totals {
        let calls = self.calls().await;
        calls.iter().filter(|call| call.outcome() == "ok").fold(Totals::default(), |sum, call| Totals {
            requests: sum.requests + 1,
            prompt_tokens: sum.prompt_tokens + call.input(),
            completion_tokens: sum.completion_tokens + call.output(),
        })
    }
}

// === impl Call ===

impl Call {
    pub fn request_id(&self) -> &str {
        self.0["requestId"].as_str().expect("a request id")
    }

    pub fn outcome(&self) -> &str {
        self.0["outcome"].as_str().expect("an outcome")
    }

    pub fn input(&self) -> u64 {
        self.0["tokens"]["in"].as_u64().unwrap_or(0)
    }

    pub fn output(&self) -> u64 {
        self.0["tokens"]["out"].as_u64().unwrap_or(0)
    }

    pub fn is_estimated(&self) -> bool {
        self.0["estimated"].as_bool().expect("a boolean")
    }
}
