use std::fmt;

use omniroute_core::hash::mac;

/// Bytes of a hash that are used: enough that no two names meet.
const LEN: usize = 16;

/// Where a value stands: hashes of its scope and of its name within the scope.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub(crate) scope: [u8; LEN],
    pub(crate) name: [u8; LEN],
}

// === impl Key ===

impl Key {
    /// `name` is a list of parts, of any text.
    pub fn new(scope: &str, name: &[&[u8]]) -> Self {
        Self {
            scope: shortened(mac(b"omniroute scope", &[scope.as_bytes()])),
            name: shortened(mac(scope.as_bytes(), name)),
        }
    }

    /// In Redis: all of a scope is in one slot of a cluster.
    pub(crate) fn in_redis(&self, store: &str) -> String {
        format!("{}{}", self.scope_in_redis(store), Hex(&self.name))
    }

    /// What the names of all values of the scope begin with.
    pub(crate) fn scope_in_redis(&self, store: &str) -> String {
        format!("omniroute:{{{store}:{}}}:v1:", Hex(&self.scope))
    }

    pub(crate) fn name_in_redis(&self) -> String {
        Hex(&self.name).to_string()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}/{})", Hex(&self.scope), Hex(&self.name))
    }
}

fn shortened(hash: [u8; 32]) -> [u8; LEN] {
    let mut short = [0; LEN];
    short.copy_from_slice(&hash[..LEN]);
    short
}

struct Hex<'h>(&'h [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_and_names_are_apart_and_unreadable() {
        let key = Key::new("key-1", &[b"resp_1"]);
        assert_eq!(key, Key::new("key-1", &[b"resp_1"]));
        assert_ne!(key.name, Key::new("key-2", &[b"resp_1"]).name);
        assert_ne!(Key::new("k", &[b"ab", b"c"]), Key::new("k", &[b"a", b"bc"]));
        let text = key.in_redis("responses");
        assert!(text.starts_with("omniroute:{responses:") && !text.contains("resp_1") && !text.contains("key-1"));
    }
}
