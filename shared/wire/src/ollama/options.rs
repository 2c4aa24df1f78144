//! The `options` object: one place for everything that tunes the model.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use crate::{
    codec::{EncodeTarget, WireError},
    ir::{Family, Json, Losses, Request},
    object::wire_object,
    text::{Str, TextOr},
    write::Writer,
};

wire_object! {
    pub(super) struct Options<'a> {
        num_predict: Int = "num_predict",
        temperature: f64 = "temperature",
        top_p: f64 = "top_p",
        top_k: Int = "top_k",
        min_p: f64 = "min_p",
        seed: Int = "seed",
        stop: TextOr<'a, Str<'a>> = "stop",
        repeat_penalty: f64 = "repeat_penalty",
        presence_penalty: f64 = "presence_penalty",
        frequency_penalty: f64 = "frequency_penalty",
    }
}

/// An integer, also one written as `40.0`: Ollama takes both and cuts the rest off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Int(i64);

/// Prefix of the extensions that belong into `options`.
const PREFIX: &str = "options.";

/// Reads the options into the request. Those that the IR lacks (`num_ctx`, `mirostat`…), and the special values of the
/// others ("until the context is full", "no limit"), are kept as `options.<name>`.
pub(super) fn decode_options<'a>(request: &mut Request<'a>, options: Options<'a>) -> Result<(), WireError> {
    request.max_tokens = positive(request, "num_predict", options.num_predict);
    request.stop = match options.stop {
        Some(TextOr::Text(text)) => vec![text],
        Some(TextOr::List(all)) => all.into_iter().map(Into::into).collect(),
        None => Vec::new(),
    };
    request.stop.retain(|sequence| !sequence.is_empty());
    request.sampling.top_k = positive(request, "top_k", options.top_k);
    let sampling = &mut request.sampling;
    sampling.temperature = not_negative("temperature", options.temperature)?;
    sampling.top_p = not_negative("top_p", options.top_p)?;
    sampling.min_p = not_negative("min_p", options.min_p)?;
    sampling.repeat_penalty = options.repeat_penalty;
    sampling.presence_penalty = options.presence_penalty;
    sampling.frequency_penalty = options.frequency_penalty;
    // A negative seed asks for a random one, as no seed does.
    sampling.seed = options.seed.map(|seed| seed.0).filter(|seed| *seed >= 0);
    for (name, raw) in options.rest {
        request.extensions.push(format!("{PREFIX}{name}"), raw);
    }
    Ok(())
}

fn positive(request: &mut Request<'_>, name: &str, value: Option<Int>) -> Option<u64> {
    let Int(number) = value?;
    match u64::try_from(number) {
        Ok(number) if number > 0 => Some(number),
        _ => {
            if let Some(raw) = Json::from_value(&number.into()) {
                request.extensions.push(format!("{PREFIX}{name}"), raw);
            }
            None
        }
    }
}

fn not_negative(name: &str, value: Option<f64>) -> Result<Option<f64>, WireError> {
    match value {
        Some(number) if number < 0.0 => {
            Err(WireError::field(format!("{PREFIX}{name}"), format!("`{name}` must not be negative")))
        }
        value => Ok(value),
    }
}

/// Writes the object, unless it is empty.
pub(super) fn write_options(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    let mut body = Vec::with_capacity(128);
    Writer::new(&mut body).object(|w| write_fields(w, request, target, losses));
    if let Ok(text) = std::str::from_utf8(&body)
        && text != "{}"
    {
        w.field_raw("options", text);
    }
}

fn write_fields(w: &mut Writer<'_>, request: &Request<'_>, target: &EncodeTarget<'_>, losses: &mut Losses) {
    let profile = target.profile;
    w.field_opt("num_predict", request.output_limit(profile, 0, losses).as_ref());
    if !request.stop.is_empty() {
        w.field("stop", &request.stop);
    }
    let sampling = &request.sampling;
    for (name, value) in [
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("min_p", sampling.min_p),
        ("repeat_penalty", sampling.repeat_penalty),
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
    ] {
        match value {
            Some(_) if profile.fixed_sampling => losses.drop_field(name),
            value => w.field_opt(name, value.as_ref()),
        }
    }
    w.field_opt("top_k", sampling.top_k.as_ref());
    w.field_opt("seed", sampling.seed.as_ref());
    if request.format.family() == Family::Ollama {
        for (path, raw) in request.extensions.iter() {
            if let Some(name) = path.strip_prefix(PREFIX) {
                w.field_raw(name, raw.as_str());
            }
        }
    }
}

/// Whether an extension belongs into `options`.
pub(super) fn is_option(path: &str) -> bool {
    path.starts_with(PREFIX)
}

// === impl Int ===

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntVisitor;

        impl Visitor<'_> for IntVisitor {
            type Value = Int;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Int, E> {
                Ok(Int(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Int, E> {
                i64::try_from(number).map(Int).map_err(|_| E::custom("the number is too large"))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Int, E> {
                // 2^53: beyond it a float is no longer an exact integer anyway.
                if number.abs() > 9_007_199_254_740_992.0 {
                    return Err(E::custom("the number is too large"));
                }
                #[expect(clippy::cast_possible_truncation, reason = "in range, and cutting the fraction off is meant")]
                Ok(Int(number as i64))
            }
        }

        deserializer.deserialize_any(IntVisitor)
    }
}
