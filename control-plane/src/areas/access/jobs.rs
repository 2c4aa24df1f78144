//! What is forgotten in time: sessions that have expired, and when keys were used that are gone.

use std::time::Duration;

use super::{keys::rows::Keys, login::Sessions};
use crate::{jobs::Job, store::Store};

const EVERY: Duration = Duration::from_hours(1);

/// The jobs of logins and API keys.
pub fn jobs(store: &Store) -> Vec<Job> {
    let (sessions, keys) = (store.clone(), store.clone());
    vec![
        Job::new("sessions", EVERY, move |_| {
            let store = sessions.clone();
            async move { Sessions::of(&store).purge_expired().await }
        }),
        Job::new("key-use", EVERY, move |_| {
            let store = keys.clone();
            async move { Keys::of(&store).forget_use_of_deleted().await }
        }),
    ]
}
