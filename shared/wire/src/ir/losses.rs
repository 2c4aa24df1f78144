//! What did not cross from one format to another. Nothing is dropped silently: every loss is named here, and the
//! gateway lists them in the `X-OmniRoute-Dropped` response header.

use std::borrow::Cow;

use super::Format;

/// Most names that the header lists; the rest are counted.
pub const MAX_LISTED: usize = 32;

/// Names of fields that were left out. Encoders name them in Chat's words; a client gets them in its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    names: Vec<Cow<'static, str>>,
    more: usize,
}

// === impl Losses ===

impl Losses {
    pub fn drop_field(&mut self, name: impl Into<Cow<'static, str>>) {
        let name = name.into();
        if self.names.contains(&name) {
            return;
        }
        if self.names.len() < MAX_LISTED {
            self.names.push(name);
        } else {
            self.more += 1;
        }
    }

    /// The same losses in the words of a client's format; two that have one word there become one.
    pub fn in_words_of(self, format: Format) -> Self {
        let mut own = Self { names: Vec::with_capacity(self.names.len()), more: self.more };
        for name in self.names {
            own.drop_field(super::loss_names::in_words_of(format, name));
        }
        own
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// Value of `X-OmniRoute-Dropped`.
    pub fn header(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let clean = |name: &Cow<'static, str>| -> String {
            name.chars().map(|c| if c.is_ascii_graphic() && c != ',' { c } else { '_' }).take(64).collect()
        };
        let mut header = self.names.iter().map(clean).collect::<Vec<_>>().join(", ");
        if self.more > 0 {
            header.push_str(&format!(", +{} more", self.more));
        }
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_listed_once_and_the_list_is_bounded() {
        let mut losses = Losses::default();
        assert_eq!(losses.header(), None);
        losses.drop_field("seed");
        losses.drop_field("seed");
        losses.drop_field("bad\r\nname");
        assert_eq!(losses.header().as_deref(), Some("seed, bad__name"));
        for index in 0..40 {
            losses.drop_field(format!("f{index}"));
        }
        assert!(losses.header().is_some_and(|header| header.ends_with("+10 more")));
    }
}
