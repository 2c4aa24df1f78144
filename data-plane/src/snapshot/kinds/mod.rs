//! The kinds of configuration: what becomes of each kind's messages in the snapshot.
//!
//! A kind is a file with a struct that implements [`ConfigKind`], and a line in [`all`]. What kinds have to know of each other
//! stands in the [`SnapshotBuilder`].

mod api_key;
mod connection;
mod model;
mod model_alias;
mod outbound_proxy;
mod price;
mod provider_node;
mod proxy_assignment;
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

use self::proxy_assignment::Egress;
use super::Snapshot;

/// Every kind, in the order of [`Kind::ALL`].
pub(super) fn all() -> Vec<Box<dyn ConfigKind>> {
    vec![
        Box::new(settings::GatewaySettings),
        Box::new(outbound_proxy::OutboundProxies),
        Box::new(provider_node::ProviderNodes),
        Box::<connection::Connections>::default(),
        Box::new(proxy_assignment::ProxyAssignments),
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
    fn begin(&mut self, _ids: &[String], _builder: &mut SnapshotBuilder) {}

    /// Puts what a message says in the snapshot.
    ///
    /// # Errors
    /// With the reason why it is refused; the snapshot is as it was.
    fn take(&mut self, id: &str, body: Body, builder: &mut SnapshotBuilder) -> Result<(), String>;

    /// The messages with these ids have been taken, or refused.
    fn end(&mut self, _ids: &[String], _builder: &mut SnapshotBuilder) {}

    /// Takes something out of the snapshot.
    fn remove(&mut self, id: &str, builder: &mut SnapshotBuilder);

    /// All kinds have taken their messages: builds what depends on several of them.
    fn join(&mut self, _builder: &mut SnapshotBuilder) {}

    /// What was taken and cannot be used as things stand, and why.
    fn unusable(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }
}

/// The next snapshot in the making.
#[derive(Debug, Default)]
pub(super) struct SnapshotBuilder {
    pub(super) snapshot: Snapshot,
    /// Nodes as they were sent: connections are compiled with them.
    nodes: HashMap<String, v1::ProviderNode>,
    /// The connections of a provider, so that a node's change finds them.
    of_provider: HashMap<String, BTreeSet<String>>,
    egress: Egress,
    /// What this update has touched so far: connections that have to be compiled again, and providers whose connections have to
    /// be listed again.
    stale_connections: BTreeSet<String>,
    stale_providers: BTreeSet<String>,
    /// Connections that were known before and may now succeed where they failed.
    pub(super) repaired: BTreeSet<String>,
}

// === impl SnapshotBuilder ===

impl SnapshotBuilder {
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
