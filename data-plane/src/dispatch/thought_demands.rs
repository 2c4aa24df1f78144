//! Which models turned out to refuse their own answers without the thoughts behind them, where nothing else tells that.
//!
//! A client that drops thoughts would have each of its requests refused once, and mended. What is kept here spares all but the
//! first. It holds for a connection as it is: an edited one may lead elsewhere.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use omniroute_core::id::ConnectionId;
use parking_lot::RwLock;

use crate::snapshot::ConnectionEntry;

/// Connections, and models of one, that are kept. Where one more would be, what there is is forgotten: that costs a refused
/// request each.
const MOST_CONNECTIONS: usize = 1024;
const MOST_MODELS: usize = 256;

/// What is known of the models of all connections.
#[derive(Debug, Default)]
pub(crate) struct ThoughtDemands {
    /// Hardly any fleet has such a model; the others do not look further.
    any: AtomicBool,
    known: RwLock<HashMap<ConnectionId, Demanding>>,
}

#[derive(Debug, Default)]
struct Demanding {
    entry: Weak<ConnectionEntry>,
    models: HashSet<String>,
}

// === impl ThoughtDemands ===

impl ThoughtDemands {
    /// The model refused a request without a thought, and took it with one.
    pub(super) fn note(&self, entry: &Arc<ConnectionEntry>, model: &str) {
        let mut known = self.known.write();
        if known.len() >= MOST_CONNECTIONS && !known.contains_key(entry.id.as_str()) {
            known.clear();
        }
        let demanding = known.entry(entry.id.clone()).or_default();
        if !demanding.is_of(entry) || demanding.models.len() >= MOST_MODELS {
            *demanding = Demanding { entry: Arc::downgrade(entry), models: HashSet::new() };
        }
        demanding.models.insert(model.to_owned());
        self.any.store(true, Ordering::Relaxed);
    }

    pub(super) fn has(&self, entry: &Arc<ConnectionEntry>, model: &str) -> bool {
        self.any.load(Ordering::Relaxed)
            && self
                .known
                .read()
                .get(entry.id.as_str())
                .is_some_and(|demanding| demanding.is_of(entry) && demanding.models.contains(model))
    }
}

// === impl Demanding ===

impl Demanding {
    fn is_of(&self, entry: &Arc<ConnectionEntry>) -> bool {
        std::ptr::eq(self.entry.as_ptr(), Arc::as_ptr(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing::snapshot_with;

    fn entry() -> Arc<ConnectionEntry> {
        let snapshot = snapshot_with(|resources| {
            resources.node("mock", "http://127.0.0.1:9/v1");
            resources.connection("c1", "mock", |_| {});
        });
        Arc::clone(snapshot.connection("c1").expect("there"))
    }

    #[test]
    fn what_is_known_holds_for_a_model_of_a_connection_as_it_is() {
        let (demands, one, edited) = (ThoughtDemands::default(), entry(), entry());
        assert!(!demands.has(&one, "m"));
        demands.note(&one, "m");
        assert!(demands.has(&one, "m") && !demands.has(&one, "n") && !demands.has(&edited, "m"));
        demands.note(&edited, "n");
        assert!(demands.has(&edited, "n") && !demands.has(&one, "m"));
    }

    #[test]
    fn it_is_bounded() {
        let (demands, one) = (ThoughtDemands::default(), entry());
        for model in 0..2 * MOST_MODELS {
            demands.note(&one, &model.to_string());
            assert!(demands.has(&one, &model.to_string()));
        }
        let mut other = ConnectionEntry::clone(&one);
        let mut kept = Vec::new();
        for number in 0..2 * MOST_CONNECTIONS {
            other.id = number.to_string().as_str().into();
            let entry = Arc::new(other.clone());
            demands.note(&entry, "m");
            assert!(demands.has(&entry, "m"));
            kept.push(entry);
        }
        let known = demands.known.read();
        assert!(known.len() <= MOST_CONNECTIONS && known.values().all(|own| own.models.len() <= MOST_MODELS));
    }
}
