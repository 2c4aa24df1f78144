//! Picks the halves of a format: the one place that knows all of them.
//!
//! A [`Dialect`] is what a client speaks (a format and how it wants its answer framed), a [`Format`] what an upstream
//! speaks. Everything between is the IR's.

use crate::{
    answer_tool::{self, Unwrapping},
    anthropic, bedrock,
    codec::{
        DecodeContext, EncodeTarget, Encoded, NameTable, ResponseContext, StreamDecoder, StreamEncoder, WireError,
    },
    cohere, completions, gemini,
    ir::{Format, Losses, Request, Response, StreamError},
    ollama, openai, responses, tool_call_pairing,
};
use omniroute_core::error::{ErrorClass, GatewayError};

/// What a client speaks.
#[derive(Clone, Debug)]
pub enum Dialect {
    Chat,
    /// OpenAI's legacy text completions.
    Completions,
    Responses,
    Messages,
    /// The model and the wish to stream are in the path.
    Gemini {
        model: String,
        stream: bool,
        framing: gemini::Framing,
    },
    Ollama {
        shape: ollama::Shape,
        timing: ollama::Timing,
    },
}

// === impl Dialect ===

impl Dialect {
    pub const fn format(&self) -> Format {
        match self {
            Self::Chat | Self::Completions => Format::OpenAiChat,
            Self::Responses => Format::OpenAiResponses,
            Self::Messages => Format::Anthropic,
            Self::Gemini { .. } => Format::Gemini,
            Self::Ollama { .. } => Format::Ollama,
        }
    }

    /// Reads a client's request.
    ///
    /// # Errors
    /// When the body is not what the dialect asks for; with the field at fault.
    pub fn decode_request<'a>(&'a self, body: &'a [u8], context: &DecodeContext<'_>) -> Result<Request<'a>, WireError> {
        match self {
            Self::Chat => openai::decode_request(body, context),
            Self::Completions => completions::decode_request(body, context),
            Self::Responses => responses::decode_request(body, context),
            Self::Messages => anthropic::decode_request(body, context),
            Self::Gemini { model, stream, .. } => gemini::decode_request(body, model, *stream, context),
            Self::Ollama { shape: ollama::Shape::Chat, .. } => ollama::decode_request(body, context),
            Self::Ollama { shape: ollama::Shape::Generate, .. } => ollama::decode_generate_request(body, context),
        }
    }

    /// What of the request the answer repeats.
    pub fn echo(&self, body: &[u8]) -> Vec<(&'static str, crate::ir::Json<'static>)> {
        match self {
            Self::Responses => responses::echo(body),
            Self::Completions => completions::echo_fields(body),
            _ => Vec::new(),
        }
    }

    /// Writes a whole answer.
    pub fn encode_response(&self, response: &Response<'_>, exchange: &ResponseContext, out: &mut Vec<u8>) {
        match self {
            Self::Chat => openai::encode_response(response, exchange, out),
            Self::Completions => completions::encode_response(response, exchange, out),
            Self::Responses => responses::encode_response(response, exchange, out),
            Self::Messages => anthropic::encode_response(response, exchange, out),
            Self::Gemini { .. } => gemini::encode_response(response, exchange, out),
            Self::Ollama { shape, timing } => ollama::encode_response(response, exchange, *shape, timing, out),
        }
    }

    /// Writes a streamed answer.
    pub fn encoder(&self, exchange: ResponseContext) -> Box<dyn StreamEncoder> {
        match self {
            Self::Chat => Box::new(openai::Encoder::new(exchange)),
            Self::Completions => Box::new(completions::Encoder::new(exchange)),
            Self::Responses => Box::new(responses::Encoder::new(exchange)),
            Self::Messages => Box::new(anthropic::Encoder::new(exchange)),
            Self::Gemini { framing, .. } => Box::new(gemini::Encoder::new(exchange, *framing)),
            Self::Ollama { shape, timing } => Box::new(ollama::Encoder::new(exchange, *shape, timing.clone())),
        }
    }

    /// Status and body of an error.
    pub fn encode_error(&self, error: &GatewayError, request_id: &str) -> (u16, Vec<u8>) {
        match self {
            Self::Chat | Self::Completions => openai::encode_error(error, request_id),
            Self::Responses => responses::encode_error(error, request_id),
            Self::Messages => anthropic::encode_error(error, request_id),
            Self::Gemini { .. } => gemini::encode_error(error, request_id),
            Self::Ollama { .. } => ollama::encode_error(error, request_id),
        }
    }

    /// Media type of a streamed answer.
    pub const fn stream_type(&self) -> &'static str {
        match self {
            Self::Gemini { framing: gemini::Framing::JsonArray, .. } => "application/json",
            Self::Ollama { .. } => "application/x-ndjson",
            _ => "text/event-stream",
        }
    }
}

/// Names that the target takes for the request's tools.
pub fn name_table(target: Format, request: &Request<'_>) -> NameTable {
    let plain = |_, c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match target {
        Format::Gemini => gemini::name_table(request),
        Format::Cohere => NameTable::build(request, cohere::MAX_NAME_LEN, cohere::is_name_char),
        Format::Bedrock => NameTable::build(request, bedrock::MAX_NAME_LEN, bedrock::is_name_char),
        Format::Anthropic => NameTable::build(request, 128, plain),
        Format::OpenAiChat | Format::OpenAiResponses => NameTable::build(request, 64, plain),
        Format::Ollama => NameTable::build(request, 128, |_, c| !c.is_control()),
    }
}

/// Writes a request for an upstream.
///
/// # Errors
/// When it asks for something that the target cannot do and that must not be dropped.
pub fn encode_request(
    format: Format,
    request: &Request<'_>,
    target: &EncodeTarget<'_>,
    losses: &mut Losses,
) -> Result<Encoded, WireError> {
    responses::check_portable(request, format)?;
    // OpenAI's own servers take an empty message; the others refuse one, and a placeholder would be an invention.
    if !matches!(format, Format::OpenAiChat | Format::OpenAiResponses) && !request.says_something() {
        return Err(WireError::field(
            prompt_field(request.format),
            "the request has nothing in it that a model could answer",
        ));
    }
    let paired;
    let request = match format {
        Format::OpenAiChat | Format::OpenAiResponses | Format::Ollama | Format::Cohere | Format::Bedrock => {
            paired = tool_call_pairing::paired(request, format, losses);
            &*paired
        }
        // They plan their turns themselves.
        Format::Anthropic | Format::Gemini => request,
    };
    let encoded = match format {
        Format::OpenAiChat => openai::encode_request(request, target, losses),
        Format::OpenAiResponses => responses::encode_request(request, target, losses),
        Format::Anthropic => anthropic::encode_request(request, target, losses),
        Format::Gemini => gemini::encode_request(request, target, losses),
        Format::Ollama => ollama::encode_request(request, target, losses),
        Format::Cohere => cohere::encode_request(request, target, losses),
        Format::Bedrock => bedrock::encode_request(request, target, losses),
    }?;
    *losses = std::mem::take(losses).in_words_of(request.format);
    Ok(encoded)
}

/// Where a client's format has the conversation.
const fn prompt_field(format: Format) -> &'static str {
    match format {
        Format::OpenAiResponses => "input",
        Format::Gemini => "contents",
        _ => "messages",
    }
}

/// Reads an upstream's whole answer.
///
/// # Errors
/// When it is no answer of that format.
pub fn decode_response<'a>(
    format: Format,
    body: &'a [u8],
    context: &DecodeContext<'_>,
) -> Result<Response<'a>, WireError> {
    match format {
        Format::OpenAiChat => openai::decode_response(body, context),
        Format::OpenAiResponses => responses::decode_response(body, context),
        Format::Anthropic => anthropic::decode_response(body, context),
        Format::Gemini => gemini::decode_response(body, context),
        Format::Ollama => ollama::decode_response(body, context),
        Format::Cohere => cohere::decode_response(body, context),
        Format::Bedrock => bedrock::decode_response(body, context),
    }
}

/// Reads an upstream's whole answer to a request that was written for it.
///
/// # Errors
/// As [`decode_response`].
pub fn decode_answer<'a>(
    format: Format,
    body: &'a [u8],
    exchange: &ResponseContext,
) -> Result<Response<'a>, WireError> {
    let context = DecodeContext { sealer: &*exchange.sealer, answer: &exchange.id };
    let mut response = decode_response(format, body, &context)?;
    if exchange.answer_tool {
        answer_tool::unwrap(&mut response);
    }
    Ok(response)
}

/// What an answer says that is whole, and says that it failed; `error` is what [`decode_response`] made of it.
pub fn failure_in(format: Format, body: &[u8], error: &WireError) -> Option<StreamError> {
    let failed = |class, message: String, retry_after| StreamError {
        class,
        code: "upstream_error",
        message,
        retry_after,
        request_id: None,
    };
    match (format, error.code) {
        (Format::OpenAiResponses, "upstream_failed") => {
            let told = responses::decode_error(500, body);
            Some(failed(told.class, told.message, told.retry_after))
        }
        (Format::OpenAiChat, "upstream_error") => {
            let told = openai::decode_error(500, body);
            let message = if told.code.is_none() && told.message == "the upstream answered 500" {
                error.message.clone()
            } else {
                told.message
            };
            Some(failed(told.class, message, told.retry_after))
        }
        (Format::Cohere, "upstream_timeout") => Some(failed(ErrorClass::UpstreamTimeout, error.message.clone(), None)),
        (Format::Cohere, "upstream_error") => Some(failed(ErrorClass::Upstream, error.message.clone(), None)),
        _ => None,
    }
}

/// Reads an upstream's streamed answer to a request that was written for it.
pub fn answer_decoder(format: Format, exchange: &ResponseContext) -> Box<dyn StreamDecoder> {
    let mut decoder = decoder(format);
    decoder.of_answer(&exchange.id);
    if exchange.answer_tool { Box::new(Unwrapping::new(decoder)) } else { decoder }
}

/// Reads an upstream's stream, whatever it answers.
pub fn decoder(format: Format) -> Box<dyn StreamDecoder> {
    match format {
        Format::OpenAiChat => Box::new(openai::Decoder::default()),
        Format::OpenAiResponses => Box::new(responses::Decoder::default()),
        Format::Anthropic => Box::new(anthropic::Decoder::default()),
        Format::Gemini => Box::new(gemini::Decoder::default()),
        Format::Ollama => Box::new(ollama::Decoder::default()),
        Format::Cohere => Box::new(cohere::Decoder::default()),
        Format::Bedrock => Box::new(bedrock::Decoder::default()),
    }
}

#[cfg(test)]
mod tests;
