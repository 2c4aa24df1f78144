//! The one span of a request: created only for requests that are sampled.

use std::sync::OnceLock;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::genai;

/// Target of request spans; only these are exported.
pub(crate) const TARGET: &str = "omniroute::request";

/// Set once, when an exporter is installed: of 2^32 requests, how many are sampled.
static SAMPLED_OF_2_32: OnceLock<u64> = OnceLock::new();

/// What is known when a request comes in.
#[derive(Clone, Copy, Debug)]
pub struct RequestSpan<'a> {
    /// [`genai::OPERATION_CHAT`] or another operation name.
    pub operation: &'static str,
    pub request_id: &'a str,
    /// The client's `traceparent` header. A caller that samples has its request sampled here, in its own trace.
    pub traceparent: Option<&'a str>,
}

/// A span for a request, or [`Span::none`] when it is not sampled or nobody takes spans.
///
/// What is known later is added with [`Span::record`] and the names of [`genai`]. `random` decides about sampling;
/// any cheap source will do.
#[inline]
pub fn request_span(request: RequestSpan<'_>, random: impl FnOnce() -> u32) -> Span {
    let Some(threshold) = SAMPLED_OF_2_32.get() else { return Span::none() };
    sampled_span(request, *threshold, random)
}

pub(crate) fn enable(sample_ratio: f64) {
    SAMPLED_OF_2_32.get_or_init(|| threshold(sample_ratio));
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ratio is clamped to 0..=1")]
fn threshold(sample_ratio: f64) -> u64 {
    (sample_ratio.clamp(0.0, 1.0) * 4_294_967_296.0) as u64
}

fn sampled_span(request: RequestSpan<'_>, threshold: u64, random: impl FnOnce() -> u32) -> Span {
    let parent = request.traceparent.and_then(parent_of);
    let sampled = match &parent {
        Some(parent) => parent.is_sampled() || u64::from(random()) < threshold,
        None => u64::from(random()) < threshold,
    };
    if !sampled {
        return Span::none();
    }
    // The fields are those of `genai`; a test holds the two together.
    let span = tracing::info_span!(
        target: TARGET,
        "request",
        otel.name = request.operation,
        otel.kind = "server",
        otel.status_code = Empty,
        gen_ai.operation.name = request.operation,
        gen_ai.provider.name = Empty,
        gen_ai.request.model = Empty,
        gen_ai.request.max_tokens = Empty,
        gen_ai.response.model = Empty,
        gen_ai.response.finish_reasons = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        gen_ai.usage.cache_creation.input_tokens = Empty,
        gen_ai.usage.reasoning.output_tokens = Empty,
        error.r#type = Empty,
        http.response.status_code = Empty,
        omniroute.request_id = request.request_id,
        omniroute.attempts = Empty,
        omniroute.stream = Empty,
    );
    if let Some(parent) = parent {
        // Only fails when no OpenTelemetry layer listens; then there is no trace to join either.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    span
}

/// The caller's place in its trace, from a `traceparent` header of version 00 (or a later one that begins like it).
fn parent_of(header: &str) -> Option<SpanContext> {
    let mut parts = header.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let shaped = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
    if !shaped || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    if ![version, trace, span, flags].into_iter().all(lower_hex) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let parent =
        SpanContext::new(TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?, flags, true, TraceState::NONE);
    parent.is_valid().then_some(parent)
}

/// Names of attributes that a request span takes after its creation.
pub const RECORDED: [&str; 14] = [
    genai::PROVIDER_NAME,
    genai::REQUEST_MODEL,
    genai::REQUEST_MAX_TOKENS,
    genai::RESPONSE_MODEL,
    genai::RESPONSE_FINISH_REASONS,
    genai::USAGE_INPUT_TOKENS,
    genai::USAGE_OUTPUT_TOKENS,
    genai::USAGE_CACHE_READ_INPUT_TOKENS,
    genai::USAGE_CACHE_CREATION_INPUT_TOKENS,
    genai::USAGE_REASONING_OUTPUT_TOKENS,
    genai::ERROR_TYPE,
    genai::HTTP_RESPONSE_STATUS_CODE,
    genai::ATTEMPTS,
    genai::STREAM,
];

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn request(traceparent: Option<&str>) -> RequestSpan<'_> {
        RequestSpan { operation: genai::OPERATION_CHAT, request_id: "req_1", traceparent }
    }

    #[test]
    fn the_span_has_a_field_for_every_name() {
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry());
        let span = sampled_span(request(None), threshold(1.0), || u32::MAX);
        let metadata = span.metadata().expect("enabled");
        for name in RECORDED.into_iter().chain([genai::OPERATION_NAME, genai::REQUEST_ID]) {
            assert!(metadata.fields().field(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_ratio_decides_unless_the_caller_samples() {
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry());
        let sampled =
            |header: Option<&str>, ratio, random| !sampled_span(request(header), threshold(ratio), || random).is_none();
        assert!(sampled(None, 1.0, u32::MAX) && !sampled(None, 0.0, 0));
        assert!(sampled(None, 0.5, u32::MAX / 2) && !sampled(None, 0.5, u32::MAX / 2 + 1));
        let (yes, no) = (format!("00-{TRACE}-b7ad6b7169203331-01"), format!("00-{TRACE}-b7ad6b7169203331-00"));
        assert!(sampled(Some(&yes), 0.0, 0) && !sampled(Some(&no), 0.0, 0));
    }

    #[test]
    fn a_broken_traceparent_is_no_parent() {
        let good = format!("00-{TRACE}-b7ad6b7169203331-01");
        assert_eq!(parent_of(&good).expect("a parent").trace_id().to_string(), TRACE);
        assert!(parent_of(&format!("01-{TRACE}-b7ad6b7169203331-01-more")).is_some(), "a later version");
        for bad in [
            "",
            "00",
            &format!("00-{TRACE}-b7ad6b7169203331-01-more"),
            &format!("ff-{TRACE}-b7ad6b7169203331-01"),
            &format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            &format!("00-{TRACE}-0000000000000000-01"),
            &format!("00-{TRACE}-b7ad6b716920333-01"),
        ] {
            assert!(parent_of(bad).is_none(), "{bad}");
        }
    }
}
