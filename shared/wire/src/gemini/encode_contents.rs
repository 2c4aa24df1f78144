//! Turns → `contents`.
//!
//! The rules of this format are about neighbours: roles alternate, a turn with calls is followed at once by one turn with
//! all its results, and on Gemini 3 the first call of each step carries a signature. So contents are planned before they
//! are written.

use std::borrow::Cow;

use super::{
    encode_parts,
    extras::Extras,
    path::major_version,
    piece::{Media, Piece, PieceKind, object_arguments, wrapped},
    signature::SENTINEL,
};
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{Family, Format, Losses, Part, Request, Role, SystemPart, Turn},
    system_text::split_billing_line,
};

/// One content to be written.
pub(super) struct Planned<'p> {
    pub(super) is_model: bool,
    pub(super) pieces: Vec<Piece<'p>>,
}

/// What goes where.
pub(super) struct Plan<'p> {
    pub(super) system: Vec<&'p str>,
    pub(super) contents: Vec<Planned<'p>>,
}

pub(super) struct Planner<'p, 'l> {
    target: &'p EncodeTarget<'p>,
    format: Format,
    losses: &'l mut Losses,
    extras: Extras<'p>,
    contents: Vec<Planned<'p>>,
    /// Calls of the round that is open: id and name, in their order.
    awaited: Vec<(&'p str, &'p str)>,
    /// Their results so far, by the call's number.
    results: Vec<(usize, Piece<'p>)>,
    /// What the user says after the results.
    after: Vec<Piece<'p>>,
    /// Images in results and the like are shown inside the result.
    media_in_results: bool,
    signed_calls: bool,
}

// === impl Planner ===

impl<'p, 'l> Planner<'p, 'l> {
    pub(super) fn new(request: &'p Request<'p>, target: &'p EncodeTarget<'p>, losses: &'l mut Losses) -> Self {
        let newer = major_version(target.model).is_some_and(|version| version >= 3);
        Self {
            target,
            format: request.format,
            losses,
            extras: Extras::of(request),
            contents: Vec::new(),
            awaited: Vec::new(),
            results: Vec::new(),
            after: Vec::new(),
            media_in_results: newer,
            signed_calls: newer,
        }
    }

    pub(super) fn plan(mut self, request: &'p Request<'p>) -> Result<Plan<'p>, WireError> {
        let (front, mid): (Vec<_>, Vec<_>) = request.system.iter().partition(|system| system.position == 0);
        let mut system: Vec<&str> = front.into_iter().filter_map(|part| self.system_text(part)).collect();
        let mut mid = mid.into_iter().peekable();
        for (position, turn) in request.turns.iter().enumerate() {
            while let Some(part) = mid.next_if(|part| part.position <= position) {
                self.mid_system(part);
            }
            self.turn(position, turn)?;
        }
        mid.for_each(|part| self.mid_system(part));
        self.close_round();
        if self.contents.is_empty() {
            // Someone has to ask something: a request of system texts alone asks them.
            let pieces: Vec<_> = std::mem::take(&mut system).into_iter().map(Piece::text).collect();
            if pieces.is_empty() {
                return Err(WireError::field("messages", "the request has no content that this model could read"));
            }
            self.contents.push(Planned { is_model: false, pieces });
        }
        if !self.target.profile.system_text && !system.is_empty() {
            self.begin_with(std::mem::take(&mut system));
        }
        self.fix_ends();
        self.extras.finish(self.losses);
        Ok(Plan { system, contents: self.contents })
    }

    /// A model without system texts reads them at the beginning of what the user says first.
    fn begin_with(&mut self, texts: Vec<&'p str>) {
        if self.contents.first().is_none_or(|first| first.is_model) {
            self.contents.insert(0, Planned { is_model: false, pieces: Vec::new() });
        }
        if let Some(first) = self.contents.first_mut() {
            first.pieces.splice(0..0, texts.into_iter().map(Piece::text));
        }
    }

    fn system_text(&mut self, part: &'p SystemPart<'p>) -> Option<&'p str> {
        let mut text = part.text.as_ref();
        if let Some((_, behind)) = split_billing_line(text) {
            self.losses.drop_field("system.billing_header");
            text = behind.trim_start();
        }
        if part.cache.is_some() {
            self.losses.drop_field("cache_control");
        }
        (!text.is_empty()).then_some(text)
    }

    /// This format has no system turns but the first. A later one keeps its place, as a marked text of the user's: in front
    /// it would change what every turn before it answers.
    fn mid_system(&mut self, part: &'p SystemPart<'p>) {
        if let Some(text) = self.system_text(part) {
            self.after.push(Piece::text(format!("<system>\n{text}\n</system>")));
        }
    }

    fn turn(&mut self, number: usize, turn: &'p Turn<'p>) -> Result<(), WireError> {
        if turn.name.is_some() {
            self.losses.drop_field("messages.name");
        }
        if turn.role == Role::Assistant {
            return self.model_turn(number, turn);
        }
        for (index, part) in turn.parts.iter().enumerate() {
            match part {
                Part::ToolResult { call_id, name, parts, is_error, cache } => {
                    if cache.is_some() {
                        self.losses.drop_field("cache_control");
                    }
                    self.result((number, index), call_id, name.as_deref(), parts, *is_error)?;
                }
                part => {
                    let pieces = encode_parts::pieces(part, self.target, self.losses)?;
                    self.push_with_extras((number, index), pieces);
                }
            }
        }
        Ok(())
    }

    fn push_with_extras(&mut self, place: (usize, usize), mut pieces: Vec<Piece<'p>>) {
        if let Some(last) = pieces.last_mut() {
            let is_media = matches!(last.kind, PieceKind::Media(_));
            last.extras = self.extras.beside(place, is_media);
        }
        self.after.append(&mut pieces);
    }

    fn result(
        &mut self,
        place: (usize, usize),
        call_id: &'p str,
        name: Option<&'p str>,
        parts: &'p [Part<'p>],
        is_error: bool,
    ) -> Result<(), WireError> {
        let (text, media) = self.result_parts(parts)?;
        let answered = |results: &[(usize, Piece<'p>)], at: usize| results.iter().any(|(own, _)| *own == at);
        let call =
            self.awaited.iter().enumerate().find(|(at, (id, _))| *id == call_id && !answered(&self.results, *at));
        let Some((at, (_, name))) = call.map(|(at, call)| (at, *call)) else {
            // No call before it: the upstream refuses such a result, the model can still read it.
            self.losses.drop_field("tool_result.tool_use_id");
            let name = name.unwrap_or(call_id);
            self.after.push(Piece::text(format!("[Result of the tool `{name}`]\n{text}")));
            self.after.extend(media.into_iter().map(|media| Piece::new(PieceKind::Media(media))));
            return Ok(());
        };
        let response = match is_error {
            true => wrapped(&text, "error"),
            false if super::piece::is_object(&text) => text,
            false => wrapped(&text, "result"),
        };
        let (inside, behind) = if self.media_in_results { (media, Vec::new()) } else { (Vec::new(), media) };
        let kind = PieceKind::Response {
            id: call_id,
            name: self.target.names.upstream(name).into(),
            response,
            media: inside,
            extras: self.extras.of_response(place),
        };
        self.results.push((at, Piece::new(kind)));
        self.after.extend(behind.into_iter().map(|media| Piece::new(PieceKind::Media(media))));
        Ok(())
    }

    /// The text of a result, and its media, which old models get behind the results.
    fn result_parts(&mut self, parts: &'p [Part<'p>]) -> Result<(String, Vec<Media<'p>>), WireError> {
        let (mut text, mut media) = (String::new(), Vec::new());
        for part in parts {
            if let Part::Text { text: piece, .. } = part {
                text.push_str(piece);
                continue;
            }
            for piece in encode_parts::pieces(part, self.target, self.losses)? {
                match piece.kind {
                    PieceKind::Text(piece) => text.push_str(&piece),
                    PieceKind::Media(piece) => media.push(piece),
                    _ => self.losses.drop_field("tool_result.content"),
                }
            }
        }
        if text.is_empty() && !media.is_empty() {
            text.push_str("[see the attached media]");
        }
        Ok((text, media))
    }

    fn model_turn(&mut self, number: usize, turn: &'p Turn<'p>) -> Result<(), WireError> {
        if !self.after.is_empty() || !self.results.is_empty() {
            self.close_round();
        }
        let mut pieces: Vec<Piece<'p>> = Vec::new();
        for (index, part) in turn.parts.iter().enumerate() {
            let place = (number, index);
            match part {
                Part::Thinking { text, signature } => match signature {
                    Some(signature) if signature.family == Family::Gemini => {
                        let mut piece = Piece::new(PieceKind::Thought(text.as_ref().into()));
                        piece.signature = Some(signature.payload.as_ref().into());
                        pieces.push(piece);
                    }
                    // A thought of another family proves nothing here, and an unsigned one only to who sent it.
                    None if self.format == Format::Gemini => {
                        pieces.push(Piece::new(PieceKind::Thought(text.as_ref().into())));
                    }
                    _ => self.losses.drop_field("thinking"),
                },
                Part::RedactedThinking { data } if data.family == Family::Gemini => match pieces.last_mut() {
                    Some(last) if last.takes_signature() => last.signature = Some(data.payload.as_ref().into()),
                    _ => {
                        let mut piece = Piece::text("");
                        piece.signature = Some(data.payload.as_ref().into());
                        pieces.push(piece);
                    }
                },
                Part::RedactedThinking { .. } => self.losses.drop_field("redacted_thinking"),
                Part::ToolCall { id, name, arguments, kind, signature, cache } => {
                    if cache.is_some() {
                        self.losses.drop_field("cache_control");
                    }
                    // What the model once wrote, however broken, must not stop the conversation for good.
                    let arguments =
                        object_arguments(arguments, *kind).unwrap_or_else(|| wrapped(arguments, "input").into());
                    let own = signature.as_ref().filter(|signature| signature.family == Family::Gemini);
                    let name = name.as_ref();
                    self.awaited.push((id, name));
                    let kind = PieceKind::Call { id, name: self.target.names.upstream(name), arguments };
                    let mut piece = Piece::new(kind);
                    piece.signature = own.map(|signature| Cow::Borrowed(signature.payload.as_ref()));
                    piece.extras = self.extras.beside(place, false);
                    pieces.push(piece);
                }
                Part::ToolResult { .. } => self.losses.drop_field("assistant.tool_result"),
                part => {
                    let mut more = encode_parts::pieces(part, self.target, self.losses)?;
                    if let Some(last) = more.last_mut() {
                        let is_media = matches!(last.kind, PieceKind::Media(_));
                        last.extras = self.extras.beside(place, is_media);
                    }
                    pieces.append(&mut more);
                }
            }
        }
        if pieces.is_empty() {
            return Ok(());
        }
        match self.contents.last_mut() {
            Some(last) if last.is_model => last.pieces.append(&mut pieces),
            _ => self.contents.push(Planned { is_model: true, pieces }),
        }
        Ok(())
    }

    /// The user's content is complete: results first, in the order of their calls, one for each.
    fn close_round(&mut self) {
        let mut results = std::mem::take(&mut self.results);
        for (at, (id, name)) in std::mem::take(&mut self.awaited).into_iter().enumerate() {
            if results.iter().any(|(own, _)| *own == at) {
                continue;
            }
            // The client gave up on the call. Without a result the upstream refuses the whole history.
            self.losses.drop_field("tool_calls.result");
            let kind = PieceKind::Response {
                id,
                name: self.target.names.upstream(name).into(),
                response: r#"{"error":"The call was interrupted before it had a result."}"#.to_owned(),
                media: Vec::new(),
                extras: Vec::new(),
            };
            results.push((at, Piece::new(kind)));
        }
        results.sort_by_key(|(at, _)| *at);
        let mut pieces: Vec<Piece<'p>> = results.into_iter().map(|(_, piece)| piece).collect();
        pieces.append(&mut self.after);
        if !pieces.is_empty() {
            self.contents.push(Planned { is_model: false, pieces });
        }
    }

    /// What holds for the whole: signatures of steps, how a conversation begins and how it ends.
    fn fix_ends(&mut self) {
        for content in self.contents.iter_mut().filter(|content| content.is_model) {
            let signed = self.signed_calls;
            settle_signatures(&mut content.pieces, signed);
        }
        let begins_with_call = self.contents.first().is_some_and(|content| {
            content.is_model && content.pieces.iter().any(|piece| matches!(piece.kind, PieceKind::Call { .. }))
        });
        if begins_with_call {
            // A call must follow something of the user's.
            self.contents.insert(0, Planned { is_model: false, pieces: vec![Piece::text("(continued)")] });
        }
        // Gemini 3 refuses to go on from a text of its own.
        if self.signed_calls && self.contents.len() > 1 && self.contents.last().is_some_and(|last| last.is_model) {
            self.contents.pop();
            self.losses.drop_field("assistant_prefill");
        }
    }
}

/// The first call of a step carries its signature, or the word that excuses it; none is made up for the others. A signature
/// that stands alone right before the first call is that call's.
fn settle_signatures(pieces: &mut Vec<Piece<'_>>, excuse: bool) {
    let Some(first) = pieces.iter().position(|piece| matches!(piece.kind, PieceKind::Call { .. })) else { return };
    if pieces[first].signature.is_some() {
        return;
    }
    let alone = first.checked_sub(1).filter(|before| {
        pieces[*before].signature.is_some() && matches!(&pieces[*before].kind, PieceKind::Text(text) if text.is_empty())
    });
    if let Some(before) = alone {
        pieces[first].signature = pieces[before].signature.take();
        pieces.remove(before);
    } else if excuse {
        pieces[first].signature = Some(SENTINEL.into());
    }
}
