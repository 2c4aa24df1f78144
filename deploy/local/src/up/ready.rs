//! Waits until a plane says that it is ready.

use std::time::{Duration, Instant};

use super::supervisor::Supervised;
use crate::{client, failure::Failure};

const POLL: Duration = Duration::from_millis(20);
const ANSWER: Duration = Duration::from_secs(2);

/// Polls `/readyz` until it answers 200. Ends early when a process gives up.
pub(super) async fn wait(url: &str, running: &mut [Supervised], deadline: Instant) -> Result<(), Failure> {
    let http = client::http(true)?;
    let probe = format!("{url}/readyz");
    let mut last = "it does not answer".to_owned();
    while Instant::now() < deadline {
        for plane in &mut *running {
            if let Some(failure) = plane.gave_up().await {
                return Err(failure);
            }
        }
        match http.get(&probe).timeout(ANSWER).send().await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => last = format!("it answers {}", response.status()),
            Err(error) => last = client::deepest(&error),
        }
        tokio::time::sleep(POLL).await;
    }
    Err(Failure::failed(format!("{probe} was not ready in time ({last}); --ready-timeout gives it longer")))
}
