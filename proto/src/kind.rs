//! The kinds of resource this build knows.

use crate::v1::{Resource, resource::Body};

/// Kind of a [`Resource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    ApiKey,
    ProviderNode,
    Connection,
    Model,
    Settings,
}

impl Kind {
    /// Every kind, in the order in which a full snapshot sends them: parents before children.
    pub const ALL: [Self; 5] = [Self::Settings, Self::ProviderNode, Self::Connection, Self::Model, Self::ApiKey];

    /// Name on the wire, in the configuration log and in REST.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::ProviderNode => "provider_node",
            Self::Connection => "connection",
            Self::Model => "model",
            Self::Settings => "settings",
        }
    }

    /// The kind of that name, if this build knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind of a resource: by its body, else (a deletion) by its name.
    pub fn of(resource: &Resource) -> Option<Self> {
        match &resource.body {
            Some(Body::ApiKey(_)) => Some(Self::ApiKey),
            Some(Body::ProviderNode(_)) => Some(Self::ProviderNode),
            Some(Body::Connection(_)) => Some(Self::Connection),
            Some(Body::Model(_)) => Some(Self::Model),
            Some(Body::Settings(_)) => Some(Self::Settings),
            None => Self::from_name(&resource.kind),
        }
    }
}
