//! Fields of parts that the representation has no place for, on their way back to where they stood.

use crate::ir::{Format, Losses, Request};

/// The extensions below `contents.`, by turn and part.
pub(super) struct Extras<'p>(Vec<Extra<'p>>);

struct Extra<'p> {
    path: &'p str,
    turn: usize,
    part: usize,
    field: &'p str,
    raw: &'p str,
    written: bool,
}

const RESPONSE: &str = "functionResponse.";

// === impl Extras ===

impl<'p> Extras<'p> {
    pub(super) fn of(request: &'p Request<'p>) -> Self {
        if request.format != Format::Gemini {
            return Self(Vec::new());
        }
        Self(request.extensions.iter().filter_map(|(path, raw)| extra(path, raw.as_str())).collect())
    }

    /// Fields that stand beside the data of a part. Those of media only beside media: the turns may have changed since.
    pub(super) fn beside(&mut self, place: (usize, usize), is_media: bool) -> Vec<(&'p str, &'p str)> {
        self.take(place, |field| {
            let of_media = matches!(field, "videoMetadata" | "mediaResolution");
            (!field.contains('.') && (is_media || !of_media)).then_some(field)
        })
    }

    pub(super) fn of_response(&mut self, place: (usize, usize)) -> Vec<(&'p str, &'p str)> {
        self.take(place, |field| field.strip_prefix(RESPONSE).filter(|field| !field.contains('.')))
    }

    fn take(
        &mut self,
        (turn, part): (usize, usize),
        choose: impl Fn(&'p str) -> Option<&'p str>,
    ) -> Vec<(&'p str, &'p str)> {
        let here = self.0.iter_mut().filter(|extra| (extra.turn, extra.part) == (turn, part) && !extra.written);
        here.filter_map(|extra| {
            let field = choose(extra.field)?;
            extra.written = true;
            Some((field, extra.raw))
        })
        .collect()
    }

    /// Whatever found no place is lost.
    pub(super) fn finish(&self, losses: &mut Losses) {
        for extra in self.0.iter().filter(|extra| !extra.written) {
            losses.drop_field(extra.path.to_owned());
        }
    }
}

/// Whether an extension is one of a part's.
pub(super) fn is_of_part(path: &str) -> bool {
    extra(path, "").is_some()
}

/// `contents.3.parts.1.videoMetadata`.
fn extra<'p>(path: &'p str, raw: &'p str) -> Option<Extra<'p>> {
    let (turn, rest) = path.strip_prefix("contents.")?.split_once('.')?;
    let (part, field) = rest.strip_prefix("parts.")?.split_once('.')?;
    Some(Extra { path, turn: turn.parse().ok()?, part: part.parse().ok()?, field, raw, written: false })
}

/// The extensions that this family put aside, below a path and without deeper ones.
pub(super) fn below<'p>(request: &'p Request<'_>, prefix: &str) -> Vec<(&'p str, &'p str)> {
    if request.format != Format::Gemini {
        return Vec::new();
    }
    let own = |path: &'p str| path.strip_prefix(prefix)?.strip_prefix('.').filter(|field| !field.contains('.'));
    request.extensions.iter().filter_map(|(path, raw)| Some((own(path)?, raw.as_str()))).collect()
}
