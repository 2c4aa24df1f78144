//! `generationConfig`, for an upstream.

use super::{extras, schema, thinking};
use crate::{
    codec::{EncodeTarget, WireError},
    ir::{Format, Json, Losses, Modality, OutputFormat, Request},
    write::Writer,
};

/// Most stop sequences that are taken.
const MAX_STOPS: usize = 5;
/// Most answers at once.
const MAX_CANDIDATES: u32 = 8;
/// Most alternatives a token.
const MAX_LOGPROBS: u32 = 20;

/// A schema in the form that the target takes: name of the field, and its value.
type Schema = (&'static str, String);

/// Everything of `generationConfig`, checked.
pub(super) struct Plan<'p> {
    max_tokens: Option<u64>,
    stops: &'p [std::borrow::Cow<'p, str>],
    numbers: Vec<(&'static str, f64)>,
    top_k: Option<u64>,
    seed: Option<i32>,
    candidates: Option<u32>,
    logprobs: Option<(bool, Option<u32>)>,
    thinking: thinking::Plan,
    json: bool,
    schema: Option<Schema>,
    modalities: Vec<&'static str>,
}

// === impl Plan ===

impl<'p> Plan<'p> {
    /// `no_format`: the format of the answer is asked for in another way, or not at all.
    pub(super) fn of(
        request: &'p Request<'p>,
        target: &EncodeTarget<'_>,
        no_format: bool,
        losses: &mut Losses,
    ) -> Result<Self, WireError> {
        let sampling = &request.sampling;
        if request.stop.len() > MAX_STOPS {
            losses.drop_field(format!("stop.{MAX_STOPS}"));
        }
        for (name, given) in [
            ("min_p", sampling.min_p.is_some()),
            ("repetition_penalty", sampling.repeat_penalty.is_some()),
            ("logit_bias", sampling.logit_bias.is_some()),
        ] {
            if given {
                losses.drop_field(name);
            }
        }
        if sampling.n.is_some_and(|n| n > MAX_CANDIDATES) {
            return Err(WireError::unsupported(
                "n",
                format!("this upstream gives at most {MAX_CANDIDATES} answers at once"),
            ));
        }
        if sampling.top_logprobs.is_some_and(|count| count > MAX_LOGPROBS) {
            let message = format!("this upstream gives at most {MAX_LOGPROBS} alternatives a token");
            return Err(WireError::unsupported("top_logprobs", message));
        }
        let seed = sampling.seed.and_then(|seed| {
            let small = i32::try_from(seed).ok();
            if small.is_none() {
                losses.drop_field("seed");
            }
            small
        });
        let (json, schema) = if no_format { (false, None) } else { output(request, target, losses)? };
        Ok(Self {
            max_tokens: request.output_limit(target.profile, 0, losses),
            stops: &request.stop[..request.stop.len().min(MAX_STOPS)],
            numbers: numbers(request, target, losses),
            top_k: sampling.top_k,
            seed,
            candidates: sampling.n.filter(|n| *n > 1),
            logprobs: logprobs(request),
            thinking: thinking::Plan::of(request, target, losses),
            json,
            schema,
            modalities: modalities(request)?,
        })
    }

    pub(super) fn write(&self, w: &mut Writer<'_>, request: &Request<'_>) {
        let extensions = extras::below(request, "generationConfig");
        if self.is_empty() && extensions.is_empty() {
            return;
        }
        w.key("generationConfig").object(|w| {
            w.field_opt("maxOutputTokens", self.max_tokens.as_ref());
            if !self.stops.is_empty() {
                w.field("stopSequences", self.stops);
            }
            for (name, number) in &self.numbers {
                w.field(name, number);
            }
            w.field_opt("topK", self.top_k.as_ref());
            w.field_opt("seed", self.seed.as_ref());
            w.field_opt("candidateCount", self.candidates.as_ref());
            if let Some((wanted, alternatives)) = self.logprobs {
                w.field("responseLogprobs", &wanted);
                w.field_opt("logprobs", alternatives.as_ref());
            }
            if !self.thinking.is_empty() {
                self.thinking.write(w);
            }
            if self.json {
                w.field_str("responseMimeType", "application/json");
            }
            if let Some((name, schema)) = &self.schema {
                w.field_raw(name, schema);
            }
            if !self.modalities.is_empty() {
                w.field("responseModalities", &self.modalities);
            }
            for (name, raw) in extensions {
                w.field_raw(name, raw);
            }
        });
    }

    fn is_empty(&self) -> bool {
        self.max_tokens.is_none()
            && self.stops.is_empty()
            && self.numbers.is_empty()
            && self.top_k.is_none()
            && self.seed.is_none()
            && self.candidates.is_none()
            && self.logprobs.is_none()
            && self.thinking.is_empty()
            && !self.json
            && self.modalities.is_empty()
    }
}

fn numbers(request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) -> Vec<(&'static str, f64)> {
    let sampling = &request.sampling;
    let all = [
        ("temperature", "temperature", sampling.temperature),
        ("topP", "top_p", sampling.top_p),
        ("presencePenalty", "presence_penalty", sampling.presence_penalty),
        ("frequencyPenalty", "frequency_penalty", sampling.frequency_penalty),
    ];
    let mut numbers = Vec::new();
    for (name, field, value) in all {
        match value {
            Some(_) if target.profile.fixed_sampling => losses.drop_field(field),
            Some(value) => numbers.push((name, value)),
            None => {}
        }
    }
    numbers
}

fn logprobs(request: &Request<'_>) -> Option<(bool, Option<u32>)> {
    match (request.sampling.logprobs, request.sampling.top_logprobs) {
        (None | Some(false), None) => None,
        (wanted, alternatives) => Some((wanted.unwrap_or(true), alternatives.filter(|count| *count > 0))),
    }
}

/// Whether the answer is JSON, and its schema.
fn output(
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<(bool, Option<Schema>), WireError> {
    match &request.output {
        OutputFormat::Text => Ok((false, None)),
        OutputFormat::Json => Ok((true, None)),
        OutputFormat::Schema { description, schema, .. } => {
            if description.is_some() {
                losses.drop_field("response_format.json_schema.description");
            }
            if !target.profile.json_schema {
                losses.drop_field("response_format.json_schema");
                return Ok((true, None));
            }
            response_schema(schema, target, losses).map(|schema| (true, Some(schema)))
        }
    }
}

fn modalities(request: &Request<'_>) -> Result<Vec<&'static str>, WireError> {
    if request.format != Format::Gemini && request.modalities.contains(&Modality::Audio) {
        // Voices and containers have no common names: an answer would not be what was asked for.
        return Err(WireError::unsupported("modalities", "this upstream speaks only to clients of its own format"));
    }
    // Text alone is what it answers anyway.
    if request.modalities.as_slice() == [Modality::Text] && request.format != Format::Gemini {
        return Ok(Vec::new());
    }
    Ok(request
        .modalities
        .iter()
        .map(|modality| match modality {
            Modality::Text => "TEXT",
            Modality::Audio => "AUDIO",
            Modality::Image => "IMAGE",
        })
        .collect())
}

/// The schema of the answer, in the form that the target takes: field name and text.
fn response_schema(
    schema: &Json<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<(&'static str, String), WireError> {
    const PARAM: &str = "response_format.json_schema.schema";
    if !schema.as_str().starts_with('{') {
        return Err(WireError::field(PARAM, "the schema of an answer must be an object"));
    }
    if target.profile.full_json_schema {
        return Ok(("responseJsonSchema", schema.as_str().to_owned()));
    }
    schema::lower(schema, PARAM, true, losses).map(|text| ("responseSchema", text))
}
