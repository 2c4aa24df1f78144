//! A Completions body → [`Request`].

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    codec::{DecodeContext, WireError},
    fill_in::push_fill_in,
    ir::{Format, Json, Part, Request, Role, Turn},
    object::{read, wire_object},
    text::{Str, TextOr},
};

wire_object! {
    struct Body<'a> {
        model: Str<'a> = "model",
        prompt: &'a RawValue = "prompt",
        suffix: Str<'a> = "suffix",
        max_tokens: u64 = "max_tokens",
        temperature: f64 = "temperature",
        top_p: f64 = "top_p",
        top_k: u64 = "top_k",
        min_p: f64 = "min_p",
        presence_penalty: f64 = "presence_penalty",
        frequency_penalty: f64 = "frequency_penalty",
        repetition_penalty: f64 = "repetition_penalty",
        seed: i64 = "seed",
        n: u32 = "n",
        best_of: u32 = "best_of",
        logprobs: u32 = "logprobs",
        logit_bias: &'a RawValue = "logit_bias",
        echo: bool = "echo",
        stop: TextOr<'a, Str<'a>> = "stop",
        stream: bool = "stream",
        stream_options: StreamOptions<'a> = "stream_options",
        user: Str<'a> = "user",
    }
}

wire_object! {
    struct StreamOptions<'a> {
        include_usage: bool = "include_usage",
    }
}

wire_object! {
    struct EchoBody<'a> {
        prompt: &'a RawValue = "prompt",
        echo: bool = "echo",
    }
}

/// Reads a Completions request. Its extensions go to OpenAI-compatible hosts, like those of Chat.
///
/// # Errors
/// Names the field that is missing, of the wrong type or out of range, or that no chat can serve.
pub fn decode_request<'a>(body: &'a [u8], _context: &DecodeContext<'_>) -> Result<Request<'a>, WireError> {
    let mut body: Body<'a> = read(body)?;
    let Some(model) = body.model.take().filter(|model| !model.is_empty()) else {
        return Err(WireError { code: "missing_model", ..WireError::field("model", "`model` is required") });
    };
    let Some(prompt) = body.prompt else {
        return Err(WireError::field("prompt", "`prompt` is required"));
    };
    let prompt = one_prompt(prompt)?;
    let mut request = Request::new(Format::OpenAiChat, model.0);
    match body.suffix.take().filter(|text| !text.is_empty()) {
        Some(suffix) => push_fill_in(&mut request, Vec::new(), &prompt, &suffix),
        None if prompt.is_empty() => return Err(WireError::field("prompt", "`prompt` must not be empty")),
        None => request.turns.push(Turn { role: Role::User, parts: vec![Part::text(prompt)], name: None }),
    }
    decode_choices(&mut request, &body)?;
    decode_sampling(&mut request, &mut body)?;
    request.stream = body.stream.unwrap_or(false);
    request.include_usage = body.stream_options.take().and_then(|options| options.include_usage).unwrap_or(false);
    request.user = body.user.take().map(Into::into);
    for (name, raw) in body.rest {
        request.extensions.push(name, raw);
    }
    Ok(request)
}

/// What [`ResponseContext::echo`](crate::codec::ResponseContext::echo) must hold for the answer to this request: the prompt, when the
/// client wants it repeated.
pub fn echo_fields(body: &[u8]) -> Vec<(&'static str, Json<'static>)> {
    let body: EchoBody<'_> = read(body).unwrap_or_default();
    let prompt = body.prompt.filter(|_| body.echo == Some(true)).and_then(|raw| one_prompt(raw).ok());
    prompt.and_then(|text| Json::from_value(&text.into())).map(|raw| (super::ECHOED, raw)).into_iter().collect()
}

/// A text, or a list with one text in it.
fn one_prompt(raw: &RawValue) -> Result<Cow<'_, str>, WireError> {
    let wrong = || WireError::field("prompt", "`prompt` must be a string");
    if raw.get().starts_with('"') {
        return serde_json::from_str::<Str<'_>>(raw.get()).map(Into::into).map_err(|_| wrong());
    }
    let list: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| wrong())?;
    match list.as_slice() {
        [] => Err(WireError::field("prompt", "`prompt` must not be empty")),
        [first, ..] if !first.get().starts_with('"') => Err(WireError::unsupported(
            "prompt",
            "prompts of tokens cannot be translated: tokens mean something to one model only; send text",
        )),
        [only] => serde_json::from_str::<Str<'_>>(only.get()).map(Into::into).map_err(|_| wrong()),
        _ => Err(WireError::unsupported("prompt", "several prompts need several requests; send one prompt in each")),
    }
}

fn decode_choices(request: &mut Request<'_>, body: &Body<'_>) -> Result<(), WireError> {
    let n = body.n.unwrap_or(1);
    if n == 0 {
        return Err(WireError::field("n", "`n` must be at least 1"));
    }
    match body.best_of {
        Some(best_of) if best_of < n => {
            return Err(WireError::field("best_of", "`best_of` must not be less than `n`"));
        }
        Some(best_of) if best_of > n => {
            return Err(WireError::unsupported("best_of", "answers cannot be ranked here; leave `best_of` out"));
        }
        _ => {}
    }
    let echo = body.echo == Some(true);
    if echo && body.logprobs.is_some() {
        return Err(WireError::unsupported(
            "echo",
            "the prompt's own log probabilities cannot be had from a chat; leave out `echo` or `logprobs`",
        ));
    }
    if body.max_tokens == Some(0) {
        return Err(WireError::field("max_tokens", "`max_tokens` must be at least 1"));
    }
    request.sampling.n = body.n;
    Ok(())
}

fn decode_sampling<'a>(request: &mut Request<'a>, body: &mut Body<'a>) -> Result<(), WireError> {
    request.max_tokens = body.max_tokens;
    request.stop = match body.stop.take() {
        Some(TextOr::Text(text)) => vec![text],
        Some(TextOr::List(all)) => all.into_iter().map(Into::into).collect(),
        None => Vec::new(),
    };
    let in_range = |name: &str, value: Option<f64>, low: f64, high: f64| match value {
        Some(number) if !(low..=high).contains(&number) => {
            Err(WireError::field(name, format!("`{name}` must be between {low} and {high}")))
        }
        value => Ok(value),
    };
    let sampling = &mut request.sampling;
    sampling.temperature = in_range("temperature", body.temperature, 0.0, 2.0)?;
    sampling.top_p = in_range("top_p", body.top_p, 0.0, 1.0)?;
    sampling.frequency_penalty = in_range("frequency_penalty", body.frequency_penalty, -2.0, 2.0)?;
    sampling.presence_penalty = in_range("presence_penalty", body.presence_penalty, -2.0, 2.0)?;
    sampling.top_k = body.top_k;
    sampling.min_p = body.min_p;
    sampling.repeat_penalty = body.repetition_penalty;
    sampling.seed = body.seed;
    sampling.logit_bias = body.logit_bias.map(Into::into);
    if let Some(number) = body.logprobs {
        if number > 20 {
            return Err(WireError::field("logprobs", "`logprobs` must be between 0 and 20"));
        }
        sampling.logprobs = Some(true);
        // 0 asks for the chosen tokens only.
        sampling.top_logprobs = Some(number).filter(|number| *number > 0);
    }
    Ok(())
}
