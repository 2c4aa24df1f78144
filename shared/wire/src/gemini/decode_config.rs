//! `generationConfig`.

use serde_json::value::RawValue;

use super::{
    message::WholeNumber,
    schema,
    thinking::{ThinkingConfig, decode_thinking},
};
use crate::{
    codec::WireError,
    ir::{Json, Modality, OutputFormat, Request},
    object::wire_object,
    text::{Str, TextOr},
};

wire_object! {
    pub(super) struct GenerationConfig<'a> {
        temperature: f64 = "temperature",
        top_p: f64 = "topP" | "top_p",
        top_k: WholeNumber = "topK" | "top_k",
        candidate_count: WholeNumber = "candidateCount" | "candidate_count",
        max_output_tokens: WholeNumber = "maxOutputTokens" | "max_output_tokens",
        stop_sequences: TextOr<'a, Str<'a>> = "stopSequences" | "stop_sequences",
        response_logprobs: bool = "responseLogprobs" | "response_logprobs",
        logprobs: WholeNumber = "logprobs",
        presence_penalty: f64 = "presencePenalty" | "presence_penalty",
        frequency_penalty: f64 = "frequencyPenalty" | "frequency_penalty",
        seed: WholeNumber = "seed",
        response_mime_type: Str<'a> = "responseMimeType" | "response_mime_type",
        response_schema: &'a RawValue = "responseSchema" | "response_schema",
        response_json_schema: &'a RawValue =
            "responseJsonSchema" | "response_json_schema" | "_responseJsonSchema",
        response_modalities: Vec<Str<'a>> = "responseModalities" | "response_modalities",
        thinking_config: ThinkingConfig<'a> = "thinkingConfig" | "thinking_config",
        // These have no place in the representation; both spellings become one.
        media_resolution: &'a RawValue = "mediaResolution" | "media_resolution",
        speech_config: &'a RawValue = "speechConfig" | "speech_config",
        image_config: &'a RawValue = "imageConfig" | "image_config",
        audio_timestamp: &'a RawValue = "audioTimestamp" | "audio_timestamp",
    }
}

const PREFIX: &str = "generationConfig";

pub(super) fn decode_config<'a>(request: &mut Request<'a>, mut config: GenerationConfig<'a>) -> Result<(), WireError> {
    decode_sampling(request, &config)?;
    request.max_tokens = config.max_output_tokens.and_then(WholeNumber::count);
    request.stop = match config.stop_sequences.take() {
        Some(TextOr::Text(text)) => vec![text],
        Some(TextOr::List(all)) => all.into_iter().map(Into::into).collect(),
        None => Vec::new(),
    };
    request.reasoning = config.thinking_config.take().map(decode_thinking).transpose()?;
    decode_output(request, &mut config)?;
    for word in config.response_modalities.take().into_iter().flatten() {
        request.modalities.push(match word.to_ascii_uppercase().as_str() {
            "TEXT" => Modality::Text,
            "IMAGE" => Modality::Image,
            "AUDIO" => Modality::Audio,
            other => {
                let message = format!("`{other}` is no modality; use TEXT, IMAGE or AUDIO");
                return Err(WireError::field(format!("{PREFIX}.responseModalities"), message));
            }
        });
    }
    let named = [
        ("mediaResolution", config.media_resolution),
        ("speechConfig", config.speech_config),
        ("imageConfig", config.image_config),
        ("audioTimestamp", config.audio_timestamp),
    ];
    for (name, raw) in named {
        if let Some(raw) = raw {
            request.extensions.push(format!("{PREFIX}.{name}"), raw);
        }
    }
    for (name, raw) in config.rest {
        request.extensions.push(format!("{PREFIX}.{name}"), raw);
    }
    Ok(())
}

fn decode_sampling(request: &mut Request<'_>, config: &GenerationConfig<'_>) -> Result<(), WireError> {
    let in_range = |name: &str, value: Option<f64>, low: f64, high: f64| match value {
        Some(number) if !(low..=high).contains(&number) => {
            Err(WireError::field(format!("{PREFIX}.{name}"), format!("`{name}` must be between {low} and {high}")))
        }
        value => Ok(value),
    };
    let sampling = &mut request.sampling;
    sampling.temperature = in_range("temperature", config.temperature, 0.0, 2.0)?;
    sampling.top_p = in_range("topP", config.top_p, 0.0, 1.0)?;
    sampling.presence_penalty = in_range("presencePenalty", config.presence_penalty, -2.0, 2.0)?;
    sampling.frequency_penalty = in_range("frequencyPenalty", config.frequency_penalty, -2.0, 2.0)?;
    sampling.top_k = config.top_k.and_then(WholeNumber::count);
    sampling.seed = config.seed.map(|seed| seed.0);
    sampling.logprobs = config.response_logprobs;
    sampling.top_logprobs = config.logprobs.and_then(|count| u32::try_from(count.0).ok());
    sampling.n = match config.candidate_count {
        None => None,
        Some(WholeNumber(count)) => match u32::try_from(count) {
            Ok(count) if count > 0 => Some(count),
            _ => {
                return Err(WireError::field(
                    format!("{PREFIX}.candidateCount"),
                    "`candidateCount` must be at least 1",
                ));
            }
        },
    };
    Ok(())
}

fn decode_output<'a>(request: &mut Request<'a>, config: &mut GenerationConfig<'a>) -> Result<(), WireError> {
    let kind = config.response_mime_type.take();
    let kind = kind.as_deref().unwrap_or_default();
    if kind == "text/x.enum" {
        // One bare word of a list: no other format has it, so it stays as it came.
        let word = Json::from_string("\"text/x.enum\"".to_owned());
        request.extensions.0.extend(word.map(|raw| (format!("{PREFIX}.responseMimeType").into(), raw)));
        let schemas = [("responseSchema", config.response_schema), ("responseJsonSchema", config.response_json_schema)];
        for (name, raw) in schemas {
            if let Some(raw) = raw {
                request.extensions.push(format!("{PREFIX}.{name}"), raw);
            }
        }
        return Ok(());
    }
    let schema = match (config.response_json_schema, config.response_schema) {
        (Some(raw), _) if raw.get().starts_with('{') => Some(raw.into()),
        (Some(_), _) => {
            return Err(WireError::field(format!("{PREFIX}.responseJsonSchema"), "a schema must be an object"));
        }
        (None, Some(raw)) => Some(schema::raise(raw, &format!("{PREFIX}.responseSchema"))?),
        (None, None) => None,
    };
    request.output = match (schema, kind) {
        (Some(schema), _) => OutputFormat::Schema { name: None, description: None, schema, strict: None },
        (None, "application/json") => OutputFormat::Json,
        (None, "" | "text/plain") => OutputFormat::Text,
        (None, other) => {
            let message = format!("`{other}` is no response type; use text/plain or application/json");
            return Err(WireError::field(format!("{PREFIX}.responseMimeType"), message));
        }
    };
    Ok(())
}
