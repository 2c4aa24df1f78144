//! [`Response`] → a `GenerateContentResponse`.

use super::{
    finish::finish_word,
    grounding, logprobs,
    piece::{Media, Piece, PieceKind, object_arguments},
    signature,
    text_map::TextMap,
    usage::write_usage,
};
use crate::{
    codec::ResponseContext,
    ir::{Annotation, Choice, Family, FinishReason, Part, Response, Source},
    write::Writer,
};

/// Fields of an answer of this family that go back to a client of it.
const TOP_LEVEL: [&str; 3] = ["promptFeedback", "createTime", "modelStatus"];

/// Writes an answer for a Gemini client.
pub fn encode_response(response: &Response<'_>, exchange: &ResponseContext, out: &mut Vec<u8>) {
    let blocked = response.extensions.get("promptFeedback").is_some()
        && response
            .choices
            .iter()
            .all(|choice| choice.parts.is_empty() && choice.finish == Some(FinishReason::ContentFilter));
    Writer::new(out).object(|w| {
        if !blocked {
            w.key("candidates").array(|w| {
                for (index, choice) in response.choices.iter().enumerate() {
                    w.object(|w| write_candidate(w, index, choice, response, exchange));
                }
            });
        }
        for name in TOP_LEVEL {
            w.field_json_opt(name, response.extensions.get(name));
        }
        write_usage(w.key("usageMetadata"), &response.usage);
        w.field_str("modelVersion", &exchange.model);
        w.field_str("responseId", &exchange.id);
    });
}

fn write_candidate(
    w: &mut Writer<'_>,
    index: usize,
    choice: &Choice<'_>,
    response: &Response<'_>,
    exchange: &ResponseContext,
) {
    let (pieces, broken) = pieces(&choice.parts, exchange);
    w.key("content").object(|w| {
        w.key("parts").array(|w| pieces.iter().for_each(|piece| piece.write(w)));
        w.field_str("role", "model");
    });
    // A call whose arguments are no object cannot be said; this format has a word for exactly that.
    let reason = if broken { FinishReason::MalformedCall } else { choice.finish.unwrap_or(FinishReason::End) };
    w.field_str("finishReason", finish_word(reason));
    w.field("index", &index);
    if let Some(raw) = &choice.logprobs {
        logprobs::write(w, raw);
    }
    let prefix = format!("candidates.{index}.");
    let mut grounded = false;
    for (path, raw) in response.extensions.iter() {
        if let Some(name) = path.strip_prefix(&prefix).filter(|name| !name.contains('.')) {
            grounded |= matches!(name, "groundingMetadata" | "citationMetadata");
            w.field_raw(name, raw.as_str());
        }
    }
    if !grounded {
        write_annotations(w, &choice.parts);
    }
}

fn write_annotations(w: &mut Writer<'_>, parts: &[Part<'_>]) {
    let mut map = TextMap::default();
    let mut all: Vec<&Annotation<'_>> = Vec::new();
    for part in parts {
        if let Part::Text { text, annotations, .. } = part {
            map.push(text);
            all.extend(annotations);
        }
    }
    if !all.is_empty() {
        grounding::write_grounding(w.key("groundingMetadata"), &all, |char| map.byte_at(char));
    }
}

/// The pieces of an answer, and whether a call had to be left out.
fn pieces<'p>(parts: &'p [Part<'p>], exchange: &'p ResponseContext) -> (Vec<Piece<'p>>, bool) {
    let mut pieces: Vec<Piece<'p>> = Vec::new();
    let mut broken = false;
    for part in parts {
        match part {
            Part::Text { text, .. } | Part::Refusal { text } if !text.is_empty() => {
                pieces.push(Piece::text(text.as_ref()));
            }
            Part::Thinking { text, signature } if exchange.show_thinking => {
                let mut piece = Piece::new(PieceKind::Thought(text.as_ref().into()));
                piece.signature = signature.as_ref().map(|own| signature::write(own, exchange));
                pieces.push(piece);
            }
            Part::RedactedThinking { data } => {
                let payload = signature::write(data, exchange);
                match pieces.last_mut() {
                    // One of another family is a thought of its own, not the proof of a text.
                    Some(last) if data.family == Family::Gemini && last.takes_signature() => {
                        last.signature = Some(payload);
                    }
                    _ => {
                        let mut piece = Piece::text("");
                        piece.signature = Some(payload);
                        pieces.push(piece);
                    }
                }
            }
            Part::ToolCall { id, name, arguments, kind, signature, .. } => {
                let Some(arguments) = object_arguments(arguments, *kind) else {
                    broken = true;
                    continue;
                };
                let name = exchange.names.client_name(name);
                let mut piece = Piece::new(PieceKind::Call { id, name, arguments });
                piece.signature = signature.as_ref().map(|own| signature::write(own, exchange));
                pieces.push(piece);
            }
            Part::Image { source, .. }
            | Part::Audio { source, .. }
            | Part::Video { source }
            | Part::Document { source, .. } => pieces.extend(media(source)),
            Part::ServerTool { family: Family::Gemini, raw } => pieces.push(Piece::new(PieceKind::Raw(raw.as_str()))),
            _ => {}
        }
    }
    (pieces, broken)
}

fn media<'p>(source: &'p Source<'p>) -> Option<Piece<'p>> {
    let media = match source {
        Source::Inline { media_type, data } => Media::Inline { media_type, data },
        Source::Url(uri) | Source::File { id: uri, .. } => Media::Uri { media_type: None, uri },
        Source::Text(text) => return Some(Piece::text(text.as_ref())),
    };
    Some(Piece::new(PieceKind::Media(media)))
}
