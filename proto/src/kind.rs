//! The kinds of resource this build knows.

use crate::v1::{Resource, resource::Body};

/// Makes [`Kind`] out of the list: each kind has the name of its field in `Resource.body`, and its name on the wire.
macro_rules! kinds {
    ($($kind:ident => $name:literal),* $(,)?) => {
        /// Kind of a [`Resource`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($kind),*
        }

        impl Kind {
            /// Every kind, in the order in which a full snapshot sends them: parents before children.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$kind),*];

            /// Name on the wire, in the configuration log and in REST.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name),*
                }
            }

            /// The kind of a resource: by its body, else (a deletion) by its name.
            pub fn of(resource: &Resource) -> Option<Self> {
                match &resource.body {
                    $(Some(Body::$kind(_)) => Some(Self::$kind),)*
                    None => Self::from_name(&resource.kind),
                }
            }
        }
    };
}

kinds! {
    Settings => "settings",
    ProviderNode => "provider_node",
    Connection => "connection",
    Model => "model",
    ModelAlias => "model_alias",
    Price => "price",
    ApiKey => "api_key",
}

impl Kind {
    /// The kind of that name, if this build knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}
