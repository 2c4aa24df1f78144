//! What Anthropic's format has and the representation lacks, on its way back to the same family.
//!
//! An extension's path is the client's own, but for what a later step may have moved: blocks of calls and results are
//! known by id (`tool_use.toolu_1.caller`), tools by name (`tools.Bash.defer_loading`), the rest by their place.

use std::collections::HashMap;

use crate::{
    ir::{Family, Json, Losses, Request},
    write::Writer,
};

/// The extensions of a request, by the place they belong to.
#[derive(Debug, Default)]
pub(super) struct Extras<'r> {
    by_place: HashMap<&'r str, Vec<(&'r str, &'r Json<'r>)>>,
    own: bool,
}

// === impl Extras ===

impl<'r> Extras<'r> {
    /// Those of a request of the same family; another family's are lost, and listed.
    pub(super) fn new(request: &'r Request<'r>, losses: &mut Losses) -> Self {
        let own = request.format.family() == Family::Anthropic;
        let mut by_place: HashMap<&str, Vec<(&str, &Json<'_>)>> = HashMap::new();
        for (path, raw) in request.extensions.iter() {
            if own {
                let (place, field) = path.rsplit_once('.').unwrap_or(("", path));
                by_place.entry(place).or_default().push((field, raw));
            } else {
                losses.drop_field(path.to_owned());
            }
        }
        Self { by_place, own }
    }

    /// Whether the client speaks this format itself.
    pub(super) const fn own(&self) -> bool {
        self.own
    }

    /// Fields of the whole request.
    pub(super) fn top(&self) -> &[(&'r str, &'r Json<'r>)] {
        self.by_place.get("").map_or(&[], Vec::as_slice)
    }

    pub(super) fn get(&self, place: &str, field: &str) -> Option<&'r Json<'r>> {
        let fields = self.by_place.get(place)?;
        fields.iter().find(|(own, _)| *own == field).map(|(_, raw)| *raw)
    }

    /// Fields of one place.
    pub(super) fn fields(&self, place: &str) -> impl Iterator<Item = (&'r str, &'r Json<'r>)> {
        self.by_place.get(place).into_iter().flatten().copied()
    }

    /// Writes the fields of one place, but for those that replace something and are asked for by name.
    pub(super) fn write(&self, w: &mut Writer<'_>, place: &str) {
        for (field, raw) in self.fields(place) {
            if !matches!(field, "cache_control" | "source" | "search_result") {
                w.field_raw(field, raw.as_str());
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }
}
