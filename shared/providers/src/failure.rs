//! What went wrong at an upstream, and what that means for the request and for the connection.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use omniroute_core::error::{ErrorClass, GatewayError};
use omniroute_wire::codec::{OpenAiErrorFields, UpstreamError};

use crate::sanitise::sanitise;

/// Longest cooldown that an upstream may ask for.
const MAX_RESET: Duration = Duration::from_hours(24);
/// Cooldown of a rate-limited connection whose upstream names no reset.
const DEFAULT_RATE_LIMIT_COOLDOWN: Duration = Duration::from_secs(3);
/// Cooldown of a connection that a provider refuses or that has run out of money.
const CREDENTIAL_COOLDOWN: Duration = Duration::from_mins(5);

/// The classes that call for different treatment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// Connect, TLS, DNS, or a reset before the first byte.
    Connect,
    /// 5xx, HTML, an empty or malformed answer: the next request may find it well.
    Server,
    /// 503 and 529: it has too much to do.
    Overloaded,
    /// No first byte in time.
    FirstByteTimeout,
    RateLimited,
    /// Quota or credits are gone.
    Quota,
    /// Our credential was refused.
    Credential,
    /// This connection does not have the model.
    ModelUnknown,
    ContextTooLong,
    /// The provider does not take what was written, or does not say what it would have answered.
    ContentFilter,
    /// The client's own fault: it would fail anywhere.
    Client,
}

/// One failed attempt.
#[derive(Clone, Debug)]
pub struct Failure {
    pub class: FailureClass,
    /// Status of the upstream's answer, when there was one.
    pub status: Option<u16>,
    /// How the upstream asked to be left alone.
    pub retry_after: Option<Duration>,
    /// The upstream's words, raw. Show [`Self::client_message`] instead.
    message: String,
    named: OpenAiErrorFields,
}

// === impl Failure ===

impl Failure {
    /// A failure without an answer.
    pub fn without_answer(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, status: None, retry_after: None, message: message.into(), named: OpenAiErrorFields::default() }
    }

    /// A 2xx that is no answer: HTML, an error object, nothing.
    pub fn malformed_answer(message: impl Into<String>) -> Self {
        Self::without_answer(FailureClass::Server, message)
    }

    /// From a failed answer and what its format's decoder made of its body.
    pub fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], error: UpstreamError) -> Self {
        let html = body.trim_ascii_start().starts_with(b"<");
        let class = match error.class {
            _ if html && status.is_server_error() => FailureClass::Server,
            // No fault of the request: a path that is not there, a lock, an upstream that hung up.
            ErrorClass::BadRequest if matches!(status.as_u16(), 405 | 409 | 425 | 499) => FailureClass::Server,
            ErrorClass::ContextTooLong => FailureClass::ContextTooLong,
            ErrorClass::Unauthenticated | ErrorClass::Forbidden => FailureClass::Credential,
            ErrorClass::Payment => FailureClass::Quota,
            ErrorClass::RateLimited => FailureClass::RateLimited,
            ErrorClass::NotFound => FailureClass::ModelUnknown,
            ErrorClass::BadRequest if is_filter(&error) => FailureClass::ContentFilter,
            ErrorClass::BadRequest
            | ErrorClass::TooLarge
            | ErrorClass::UnsupportedMedia
            | ErrorClass::MethodNotAllowed
            | ErrorClass::Conflict => FailureClass::Client,
            ErrorClass::RequestTimeout | ErrorClass::UpstreamTimeout | ErrorClass::Upstream | ErrorClass::Internal => {
                FailureClass::Server
            }
            ErrorClass::Overloaded => FailureClass::Overloaded,
        };
        // Words count where they tell of a limit; elsewhere they may be quoted from the request.
        let limited = matches!(class, FailureClass::RateLimited | FailureClass::Quota);
        let told = error.retry_after.filter(|_| limited);
        let reset = || reset(headers).filter(|_| class == FailureClass::RateLimited);
        let retry_after = retry_after(headers).or(told).or_else(reset).map(|wait| wait.min(MAX_RESET));
        let message =
            if html { String::from_utf8_lossy(&body[..body.len().min(16)]).into_owned() } else { error.message };
        Self { class, status: Some(status.as_u16()), retry_after, message, named: error.named }
    }

    /// Whether another connection may do better.
    pub const fn retryable(&self) -> bool {
        !matches!(self.class, FailureClass::Client | FailureClass::ContentFilter | FailureClass::ContextTooLong)
    }

    /// Whether the upstream did not take a signature of earlier thinking: made by another account or model, or missing.
    pub fn names_signature(&self) -> bool {
        let words = self.message.to_ascii_lowercase();
        let named = ["signature", "encrypted content", "encrypted_content", "redacted_thinking"];
        self.class == FailureClass::Client && named.iter().any(|word| words.contains(word))
    }

    /// Whether the upstream wants the text of an earlier thought, which the request does not have.
    pub fn misses_thought(&self) -> bool {
        // Some say it where the name of a field should stand (MiMo).
        let param = self.named.param.as_deref().unwrap_or_default();
        let words = format!("{} {param}", self.message).to_ascii_lowercase();
        let any = |named: &[&str]| named.iter().any(|word| words.contains(word));
        self.class == FailureClass::Client
            && any(&["reasoning_content", "content[].thinking"])
            && any(&["passed back", "missing", "must include"])
    }

    /// How long the connection should be left alone, and why. Transient faults of a server are no reason: the next request
    /// may find it well.
    pub fn cooldown(&self) -> Option<(Duration, &'static str)> {
        match self.class {
            FailureClass::RateLimited => {
                Some((self.retry_after.unwrap_or(DEFAULT_RATE_LIMIT_COOLDOWN), "rate_limited"))
            }
            FailureClass::Quota => Some((self.retry_after.unwrap_or(CREDENTIAL_COOLDOWN), "quota_exhausted")),
            FailureClass::Credential => Some((CREDENTIAL_COOLDOWN, "credential_refused")),
            _ => self.retry_after.map(|wait| (wait, "upstream_asked")),
        }
    }

    /// Stable code of the class.
    pub const fn code(&self) -> &'static str {
        match self.class {
            FailureClass::Connect => "upstream_unreachable",
            FailureClass::Server | FailureClass::Overloaded => "upstream_error",
            FailureClass::FirstByteTimeout => "upstream_timeout",
            FailureClass::RateLimited => "upstream_rate_limited",
            FailureClass::Quota => "upstream_quota",
            FailureClass::Credential => "upstream_auth",
            FailureClass::ModelUnknown => "upstream_model_unknown",
            FailureClass::ContextTooLong => "context_length_exceeded",
            FailureClass::ContentFilter | FailureClass::Client => "upstream_rejected",
        }
    }

    /// The upstream's words as a client may see them. `secret` is the credential that was used.
    pub fn client_message(&self, secret: &str) -> String {
        sanitise(&self.message, secret)
    }

    /// What the client is told. An upstream's refusal of *our* credential is never shown as the client's own.
    pub fn to_gateway_error(&self, secret: &str) -> GatewayError {
        let code = self.code();
        let words = self.client_message(secret);
        let error = match self.class {
            FailureClass::Connect => {
                GatewayError::new(ErrorClass::Upstream, code, "The provider could not be reached.")
            }
            FailureClass::FirstByteTimeout => {
                GatewayError::new(ErrorClass::UpstreamTimeout, code, "The provider did not answer in time.")
            }
            FailureClass::Server | FailureClass::Overloaded => GatewayError::new(
                match self.status {
                    Some(503 | 529) => ErrorClass::Overloaded,
                    Some(408 | 504 | 524) => ErrorClass::UpstreamTimeout,
                    _ => ErrorClass::Upstream,
                },
                code,
                format!("The provider failed: {words}"),
            ),
            FailureClass::RateLimited => GatewayError::new(
                ErrorClass::RateLimited,
                code,
                format!("The provider's rate limit is reached: {words}"),
            ),
            FailureClass::Quota => {
                GatewayError::new(ErrorClass::Payment, code, format!("The provider's quota is used up: {words}"))
            }
            FailureClass::Credential => {
                GatewayError::new(ErrorClass::Upstream, code, "The provider refused the gateway's credential.")
                    .with_hint("An operator has to check this connection's credential.")
            }
            FailureClass::ModelUnknown => GatewayError::new(ErrorClass::NotFound, code, words).with_param("model"),
            FailureClass::ContextTooLong => GatewayError::new(ErrorClass::ContextTooLong, code, words),
            FailureClass::ContentFilter | FailureClass::Client => {
                let class = if self.status == Some(413) { ErrorClass::TooLarge } else { ErrorClass::BadRequest };
                let mut error = GatewayError::new(class, code, words);
                let OpenAiErrorFields { code, param } = &self.named;
                error.upstream_code = code.clone().filter(|code| is_name(code));
                error.param = param.as_deref().filter(|param| is_name(param)).map(str::to_owned);
                error
            }
        };
        match self.retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }
}

/// A code or the path of a field, and nothing that would have to be sanitised.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']');
    (1..=100).contains(&text.len()) && text.bytes().all(plain) && sanitise(text, "") == text
}

/// Whether the refusal is about what was said. Each vendor has a word of its own: OpenAI and Azure, Alibaba, Zhipu, Baidu,
/// Volcengine, Tencent.
fn is_filter(error: &UpstreamError) -> bool {
    const WORDS: [&str; 10] = [
        "content_filter",
        "content_policy_violation",
        "content_policy",
        "moderation_blocked",
        "responsibleaipolicyviolation",
        "data_inspection_failed",
        "datainspectionfailed",
        "1301",
        "sensitive_words_detected",
        "sensitivecontentdetected",
    ];
    let code = error.code.as_deref().or(error.named.code.as_deref()).unwrap_or_default().to_ascii_lowercase();
    WORDS.contains(&code.as_str())
}

/// When the limit that is reached begins anew, where hosts say so in headers of their own: OpenAI and Groq as "6m0s", Together
/// in seconds, OpenRouter as the time of day.
fn reset(headers: &HeaderMap) -> Option<Duration> {
    const PAIRS: [(&str, &str); 3] = [
        ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
        ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
        ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ];
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let waits = PAIRS.into_iter().filter(|(remaining, _)| text(remaining) == Some("0"));
    waits.filter_map(|(_, reset)| wait_of(text(reset)?)).max()
}

/// "1h2m3.5s", "120ms", seconds, or the time since 1970 in seconds or milliseconds.
fn wait_of(text: &str) -> Option<Duration> {
    const YEAR_2001: f64 = 1e9;
    if let Ok(number) = text.parse::<f64>() {
        if number < YEAR_2001 {
            return Duration::try_from_secs_f64(number).ok();
        }
        let seconds = if number < YEAR_2001 * 1000.0 { number } else { number / 1000.0 };
        let at = std::time::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        return at.duration_since(std::time::SystemTime::now()).ok();
    }
    let mut rest = text;
    let mut whole = Duration::ZERO;
    if text.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let unit = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let seconds = match &behind[..unit] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        whole = whole.checked_add(part)?;
        rest = &behind[unit..];
    }
    Some(whole)
}

/// `retry-after-ms`, or `retry-after` in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|value| value.parse::<u64>().ok()) {
        return Some(Duration::from_millis(ms));
    }
    let value = text(header::RETRY_AFTER.as_str())?;
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = httpdate::parse_http_date(value).ok()?;
    at.duration_since(std::time::SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Adapter, OpenAiCompatible};

    fn classify(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Failure {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, http::HeaderValue::from_static(value));
        }
        OpenAiCompatible::Chat.classify(StatusCode::from_u16(status).expect("a status"), &map, body.as_bytes())
    }

    #[test]
    fn each_class_becomes_what_the_client_should_see() {
        for (status, body, class, shown) in [
            (401, r#"{"error":{"message":"Incorrect API key sk-abcdefghijk"}}"#, FailureClass::Credential, 502),
            (403, "{}", FailureClass::Credential, 502),
            (429, r#"{"error":{"message":"slow down"}}"#, FailureClass::RateLimited, 429),
            (429, r#"{"error":{"code":"insufficient_quota"}}"#, FailureClass::Quota, 429),
            (404, r#"{"error":{"message":"no model x"}}"#, FailureClass::ModelUnknown, 404),
            (400, r#"{"error":{"message":"maximum context length"}}"#, FailureClass::ContextTooLong, 400),
            (400, r#"{"error":{"message":"bad field"}}"#, FailureClass::Client, 400),
            (422, "{}", FailureClass::Client, 400),
            (500, "<html>", FailureClass::Server, 502),
            (503, "{}", FailureClass::Overloaded, 503),
            (529, "{}", FailureClass::Overloaded, 503),
            (400, r#"{"error":{"code":"content_filter","message":"no"}}"#, FailureClass::ContentFilter, 400),
            (400, r#"{"error":{"code":"data_inspection_failed","message":"no"}}"#, FailureClass::ContentFilter, 400),
            (400, r#"{"error":{"code":"1301","message":"no"}}"#, FailureClass::ContentFilter, 400),
            (408, "{}", FailureClass::Server, 504),
            (504, "<html>", FailureClass::Server, 504),
            (405, "{}", FailureClass::Server, 502),
            (409, "{}", FailureClass::Server, 502),
            (451, "{}", FailureClass::Client, 400),
        ] {
            let failure = classify(status, &[], body);
            assert_eq!(failure.class, class, "{status} {body}");
            let error = failure.to_gateway_error("sk-abcdefghijk");
            assert_eq!(error.class.status(), shown, "{status} {body}");
            assert!(!error.message.contains("sk-abc"), "{}", error.message);
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_is_told_as_the_upstream_names_it() {
        let body = r#"{"error":{"message":"no","type":"invalid_request_error","param":"input[0].x","code":"unsupported_value"}}"#;
        let error = classify(400, &[], body).to_gateway_error("");
        assert_eq!(
            (error.upstream_code.as_deref(), error.param.as_deref()),
            (Some("unsupported_value"), Some("input[0].x"))
        );
        for (body, status) in [
            (r#"{"error":{"message":"no","param":"see http://10.0.0.1","code":"sk-proj-abcdef123456"}}"#, 400),
            (r#"{"error":{"message":"no","param":"x","code":"y"}}"#, 500),
        ] {
            let error = classify(status, &[], body).to_gateway_error("");
            assert_eq!((error.upstream_code, error.param), (None, None), "{body}");
        }
    }

    #[test]
    fn the_true_wait_is_kept_and_bounded() {
        let wait = |headers: &[(&'static str, &'static str)]| classify(429, headers, "{}").retry_after;
        assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(wait(&[("retry-after", "7"), ("retry-after-ms", "250")]), Some(Duration::from_millis(250)));
        assert_eq!(wait(&[("retry-after", "99999999")]), Some(MAX_RESET));
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        let error = classify(429, &[("retry-after", "7")], "{}").to_gateway_error("");
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn the_time_of_a_reset_is_read_in_every_hosts_form() {
        let wait = |status, headers: &[(&'static str, &'static str)]| classify(status, headers, "{}").retry_after;
        let requests = "x-ratelimit-remaining-requests";
        let reset = "x-ratelimit-reset-requests";
        for (value, seconds) in
            [("6m0s", 360.0), ("1h2m3.5s", 3723.5), ("120ms", 0.12), ("7.66s", 7.66), ("12", 12.0), ("1d", 86_400.0)]
        {
            assert_eq!(
                wait(429, &[(requests, "0"), (reset, value)]),
                Some(Duration::from_secs_f64(seconds)),
                "{value}"
            );
        }
        for odd in ["soon", "5x", "m", "1..2s", ""] {
            assert_eq!(wait(429, &[(requests, "0"), (reset, odd)]), None, "{odd}");
        }
        assert_eq!(wait(429, &[(requests, "3"), (reset, "6m0s")]), None, "another limit is reached");
        assert_eq!(wait(500, &[(requests, "0"), (reset, "6m0s")]), None);
        assert_eq!(wait(429, &[(requests, "0"), (reset, "6m0s"), ("retry-after", "2")]), Some(Duration::from_secs(2)));
        let tokens = [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "9s")];
        assert_eq!(wait(429, &[(requests, "0"), (reset, "1s"), tokens[0], tokens[1]]), Some(Duration::from_secs(9)));
        let far = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "99999999999999")];
        assert_eq!(wait(429, &far), Some(MAX_RESET));
        assert_eq!(wait(429, &[far[0], ("x-ratelimit-reset", "1700000000000")]), None, "it is over");
    }

    #[test]
    fn words_set_no_wait_but_of_a_limit() {
        let told = |status, body: &str| classify(status, &[], body).retry_after;
        assert_eq!(told(500, r#"{"error":{"message":"could not read 'try again in 9h'"}}"#), None);
        assert_eq!(told(429, r#"{"error":{"message":"try again in 2s"}}"#), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_missing_thought_is_told_in_many_words() {
        for (words, misses) in [
            ("The `reasoning_content` in the thinking mode must be passed back to the API.", true),
            ("The `content[].thinking` in the thinking mode must be passed back to the API.", true),
            ("Missing `reasoning_content` field in the assistant message at message index 2.", true),
            ("thinking is enabled but reasoning_content is missing in assistant tool call message at index 3", true),
            ("property 'reasoning_content' is unsupported", false),
            ("Missing field `model`", false),
        ] {
            let body = format!(r#"{{"error":{{"message":"{words}"}}}}"#);
            assert_eq!(classify(400, &[], &body).misses_thought(), misses, "{words}");
            assert!(!classify(500, &[], &body).misses_thought(), "{words}");
        }
        let mimo = r#"{"error":{"code":"400","message":"Param Incorrect","param":"The reasoning_content in the thinking mode must be passed back to the API.","type":""}}"#;
        assert!(classify(400, &[], mimo).misses_thought());
        assert!(classify(400, &[], &format!("data:{mimo}")).misses_thought(), "to who asked for a stream");
    }

    #[test]
    fn only_the_clients_own_faults_end_the_search() {
        assert!(!classify(400, &[], "{}").retryable());
        assert!(classify(500, &[], "{}").retryable());
        assert!(classify(401, &[], "{}").retryable());
        assert!(Failure::without_answer(FailureClass::Connect, "refused").retryable());
        assert_eq!(classify(500, &[], "{}").cooldown(), None);
        assert!(classify(401, &[], "{}").cooldown().is_some());
    }
}
