//! What an API key may do with the management API.
//!
//! Each area of the API has two scopes: `<area>:read` for `GET` and `HEAD`, `<area>:write` for every method. `manage` and
//! `admin` cover all areas. A key that has none of them is for clients of the proxies and may manage nothing. The
//! administrator, the CLI and, with login turned off, whoever sits at this machine may do everything.

use http::Method;

/// Scopes that cover everything.
pub const EVERYTHING: [&str; 2] = ["manage", "admin"];

/// Areas of the API, each with scopes of its own.
pub const AREAS: [&str; 6] = ["access", "providers", "egress", "settings", "usage", "operations"];

/// What one may do with an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    Read,
    Write,
}

/// The scopes of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scopes {
    Everything,
    /// As the key lists them.
    These(Vec<String>),
}

// === impl Permission ===

impl Permission {
    /// What a method needs.
    pub fn of(method: &Method) -> Self {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) { Self::Read } else { Self::Write }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

// === impl Scopes ===

impl Scopes {
    /// Of an API key.
    pub fn of_key(scopes: &[String]) -> Self {
        if scopes.iter().any(|scope| EVERYTHING.contains(&scope.as_str())) {
            return Self::Everything;
        }
        Self::These(scopes.iter().filter(|scope| is_known(scope)).cloned().collect())
    }

    /// Whether they allow anything at all.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::These(scopes) if scopes.is_empty())
    }

    pub fn allow(&self, area: &str, permission: Permission) -> bool {
        let Self::These(scopes) = self else { return true };
        let write = name(area, Permission::Write);
        scopes
            .iter()
            .any(|scope| *scope == write || (permission == Permission::Read && *scope == name(area, permission)))
    }

    /// Whether a caller that has these may give a key this scope: nobody gives more than they have.
    pub fn cover(&self, scope: &str) -> bool {
        match (self, scope.split_once(':')) {
            (Self::Everything, _) => true,
            (Self::These(_), Some((area, "read"))) => self.allow(area, Permission::Read),
            (Self::These(_), Some((area, "write"))) => self.allow(area, Permission::Write),
            // A scope that counts for nothing here gives nothing.
            (Self::These(_), _) => !EVERYTHING.contains(&scope),
        }
    }
}

/// `<area>:read`, `<area>:write`.
pub fn name(area: &str, permission: Permission) -> String {
    format!("{area}:{}", permission.as_str())
}

/// Whether there is such a scope.
pub fn is_known(scope: &str) -> bool {
    EVERYTHING.contains(&scope)
        || matches!(scope.split_once(':'), Some((area, "read" | "write")) if AREAS.contains(&area))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(list: &[&str]) -> Scopes {
        Scopes::of_key(&list.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_scope_is_for_its_area_and_writing_is_more_than_reading() {
        let key = scopes(&["providers:read", "settings:write", "chat"]);
        assert!(key.allow("providers", Permission::Read) && !key.allow("providers", Permission::Write));
        assert!(key.allow("settings", Permission::Read) && key.allow("settings", Permission::Write));
        assert!(!key.allow("access", Permission::Read));
        assert_eq!(
            (Permission::of(&Method::HEAD), Permission::of(&Method::PUT)),
            (Permission::Read, Permission::Write)
        );
        for all in EVERYTHING {
            assert!(scopes(&[all]).allow("access", Permission::Write), "{all}");
        }
        assert!(scopes(&[]).is_empty() && scopes(&["chat"]).is_empty() && !key.is_empty());
    }

    #[test]
    fn nobody_gives_more_than_they_have() {
        let key = scopes(&["access:write", "usage:read"]);
        for (scope, may) in [
            ("access:write", true),
            ("access:read", true),
            ("usage:read", true),
            ("usage:write", false),
            ("providers:read", false),
            ("manage", false),
            ("admin", false),
        ] {
            assert_eq!(key.cover(scope), may, "{scope}");
            assert!(Scopes::Everything.cover(scope));
        }
    }

    #[test]
    fn only_scopes_that_exist_are_known() {
        for known in ["manage", "admin", "access:read", "operations:write"] {
            assert!(is_known(known), "{known}");
        }
        for unknown in ["", "chat", "access", "access:delete", "nothing:read", ":read", "access:read:more"] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }
}
