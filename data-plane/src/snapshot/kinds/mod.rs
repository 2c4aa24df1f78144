//! The kinds of configuration: what becomes of each kind's messages in the index.
//!
//! A kind is a file with a struct that implements [`ConfigKind`], and a line in [`all`]. What kinds have to know of each other
//! stands in the [`Draft`].

mod api_key;
mod connection;
mod model;
mod model_alias;
mod price;
mod provider_node;
mod settings;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    time::Duration,
};

use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use omniroute_providers::Timeouts;

use super::Index;

/// Every kind, in the order of [`Kind::ALL`].
pub(super) fn all() -> Vec<Box<dyn ConfigKind>> {
    vec![
        Box::new(settings::GatewaySettings),
        Box::new(provider_node::ProviderNodes),
        Box::<connection::Connections>::default(),
        Box::<model::Models>::default(),
        Box::new(model_alias::ModelAliases),
        Box::new(price::Prices),
        Box::new(api_key::ApiKeys),
    ]
}

/// One kind of configuration.
pub(super) trait ConfigKind: fmt::Debug + Send {
    fn kind(&self) -> Kind;

    /// Whether a message may be refused, and is kept to be tried again. Of a kind that never refuses one nothing is kept,
    /// which is for the best where it holds a secret.
    fn may_refuse(&self) -> bool {
        true
    }

    /// An update is about to bring messages with these ids.
    fn begin(&mut self, _ids: &[String], _draft: &mut Draft) {}

    /// Puts what a message says in the index.
    ///
    /// # Errors
    /// With the reason why it is refused; the index is as it was.
    fn take(&mut self, id: &str, body: Body, draft: &mut Draft) -> Result<(), String>;

    /// The messages with these ids have been taken, or refused.
    fn end(&mut self, _ids: &[String], _draft: &mut Draft) {}

    /// Takes something out of the index.
    fn remove(&mut self, id: &str, draft: &mut Draft);

    /// All kinds have taken their messages: builds what depends on several of them.
    fn join(&mut self, _draft: &mut Draft) {}

    /// What was taken and cannot be used as things stand, and why.
    fn unusable(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }
}

/// The next index in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) index: Index,
    /// Nodes as they were sent: connections are compiled with them.
    nodes: HashMap<String, v1::ProviderNode>,
    /// The connections of a provider, so that a node's change finds them.
    of_provider: HashMap<String, BTreeSet<String>>,
    /// What this update has touched so far: connections that have to be compiled again, and providers whose connections have to
    /// be listed again.
    stale_connections: BTreeSet<String>,
    stale_providers: BTreeSet<String>,
    /// Connections that were known before and may now succeed where they failed.
    pub(super) repaired: BTreeSet<String>,
}

// === impl Draft ===

impl Draft {
    fn connections_of(&self, provider: &str) -> Vec<String> {
        self.of_provider.get(provider).into_iter().flatten().cloned().collect()
    }
}

/// A message of another kind than its resource says.
fn mismatched() -> String {
    "its body is of another kind".to_owned()
}

fn timeouts(timeouts: Option<&v1::Timeouts>) -> Timeouts {
    let Some(timeouts) = timeouts else { return Timeouts::default() };
    let span = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
    Timeouts {
        connect: span(timeouts.connect_ms),
        first_byte: span(timeouts.first_byte_ms),
        idle: span(timeouts.idle_ms),
        total: span(timeouts.total_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_protocol_is_listed_in_its_order() {
        let listed: Vec<Kind> = all().iter().map(|kind| kind.kind()).collect();
        assert_eq!(listed, Kind::ALL);
    }
}
