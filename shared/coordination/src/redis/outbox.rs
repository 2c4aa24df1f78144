//! Changes of cooldowns that Redis has not been told.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use omniroute_core::time::UnixMillis;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Cooldown;

/// Ids with untold changes at most. More than that only this process knows, until they end.
const MAX_CHANGES: usize = 65_536;

/// At most one entry an id: later changes are folded into it.
pub(super) struct Outbox {
    changes: Mutex<HashMap<Arc<str>, Change>>,
    filled: Notify,
}

/// What happened to one id since Redis was told last: it was warmed, then it was cooled, or one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) warmed_at: Option<UnixMillis>,
    pub(super) cooled: Option<Cooldown>,
}

// === impl Outbox ===

impl Outbox {
    pub(super) fn new() -> Self {
        Self { changes: Mutex::new(HashMap::new()), filled: Notify::new() }
    }

    pub(super) fn cool(&self, id: Arc<str>, cooldown: Cooldown) {
        self.add(id, Change { warmed_at: None, cooled: Some(cooldown) });
    }

    pub(super) fn warm(&self, id: Arc<str>, now: UnixMillis) {
        self.add(id, Change { warmed_at: Some(now), cooled: None });
    }

    fn add(&self, id: Arc<str>, change: Change) {
        let mut changes = self.changes.lock();
        if changes.len() < MAX_CHANGES || changes.contains_key(&id) {
            changes.entry(id).or_default().then(change);
        }
        drop(changes);
        self.filled.notify_one();
    }

    /// Waits until there may be something to send.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    pub(super) fn take(&self) -> Vec<(Arc<str>, Change)> {
        std::mem::take(&mut *self.changes.lock()).into_iter().collect()
    }

    /// Gives back what could not be sent; changes that came meanwhile happened after it.
    pub(super) fn put_back(&self, unsent: Vec<(Arc<str>, Change)>) {
        let mut changes = self.changes.lock();
        for (id, mut older) in unsent {
            if let Some(newer) = changes.remove(&id) {
                older.then(newer);
            }
            if changes.len() < MAX_CHANGES {
                changes.insert(id, older);
            }
        }
    }

    pub(super) fn ids(&self) -> HashSet<Arc<str>> {
        self.changes.lock().keys().cloned().collect()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.changes.lock().contains_key(id)
    }

    pub(super) fn len(&self) -> usize {
        self.changes.lock().len()
    }
}

// === impl Change ===

impl Change {
    /// This change, and after it another one.
    fn then(&mut self, later: Self) {
        if later.warmed_at.is_some() {
            *self = later;
            return;
        }
        if let Some(cooldown) = later.cooled
            && self.cooled.as_ref().is_none_or(|held| cooldown.until > held.until)
        {
            self.cooled = Some(cooldown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cooldowns::cooldown;

    fn taken(outbox: &Outbox) -> HashMap<String, Change> {
        outbox.take().into_iter().map(|(id, change)| (id.to_string(), change)).collect()
    }

    fn until(ms: u64) -> Cooldown {
        cooldown(UnixMillis(ms), "x")
    }

    #[test]
    fn changes_of_one_id_fold_into_what_redis_needs_to_know() {
        let outbox = Outbox::new();
        outbox.cool("a".into(), until(900));
        outbox.cool("a".into(), until(500));
        outbox.cool("b".into(), until(900));
        outbox.warm("b".into(), UnixMillis(10));
        outbox.warm("c".into(), UnixMillis(20));
        outbox.cool("c".into(), until(300));
        let changes = taken(&outbox);
        assert_eq!(changes["a"], Change { warmed_at: None, cooled: Some(until(900)) });
        assert_eq!(changes["b"], Change { warmed_at: Some(UnixMillis(10)), cooled: None });
        assert_eq!(changes["c"], Change { warmed_at: Some(UnixMillis(20)), cooled: Some(until(300)) });
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn what_could_not_be_sent_comes_before_what_happened_meanwhile() {
        let outbox = Outbox::new();
        outbox.cool("a".into(), until(900));
        outbox.cool("b".into(), until(900));
        let unsent = outbox.take();
        outbox.warm("a".into(), UnixMillis(10));
        outbox.put_back(unsent);
        let changes = taken(&outbox);
        assert_eq!(changes["a"], Change { warmed_at: Some(UnixMillis(10)), cooled: None });
        assert_eq!(changes["b"].cooled, Some(until(900)));
    }

    #[test]
    fn it_holds_so_many_and_no_more() {
        let outbox = Outbox::new();
        for n in 0..=MAX_CHANGES {
            outbox.warm(n.to_string().into(), UnixMillis(1));
        }
        assert_eq!(outbox.len(), MAX_CHANGES);
    }
}
