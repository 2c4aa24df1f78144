//! Start and end of telemetry in a process.

use std::time::Duration;

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tracing_subscriber::{Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{logs, span};

/// How long the last spans may take to be sent when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// How long one batch of spans may take to be sent.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a process wants of its telemetry; the settings of the same names.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Name of the process, `omniroute-data-plane`.
    pub process: &'static str,
    pub log_level: &'a str,
    pub log_format: &'a str,
    /// Empty means that no spans are exported.
    pub otlp_endpoint: &'a str,
    pub sample_ratio: f64,
}

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("setting `log_level`: {0}")]
    LogLevel(String),
    #[error("setting `log_format`: expected `text` or `json`, not `{0}`")]
    LogFormat(String),
    #[error("setting `otlp_endpoint`: {0}")]
    Endpoint(String),
    #[error("setting `trace_sample_ratio`: expected a number from 0 to 1")]
    SampleRatio,
    #[error("logging was set up already")]
    Twice,
}

/// Sends what is left when it is dropped. Keep it until the end of `main`.
#[derive(Debug)]
#[must_use = "dropping it ends the export of spans"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

/// Sets up logs and traces for this process. With an endpoint it must be called within a tokio runtime.
///
/// # Errors
/// Names the setting that is wrong. A collector that does not answer is no error: spans are dropped.
pub fn init(options: Options<'_>) -> Result<Guard, TelemetryError> {
    if !(0.0..=1.0).contains(&options.sample_ratio) {
        return Err(TelemetryError::SampleRatio);
    }
    let lines = logs::layer(options.log_level, options.log_format)?;
    let subscriber = tracing_subscriber::registry().with(lines);
    if options.otlp_endpoint.is_empty() {
        subscriber.try_init().map_err(|_| TelemetryError::Twice)?;
        return Ok(Guard { provider: None });
    }
    let provider = tracer_provider(&options)?;
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("omniroute"))
        .with_location(false)
        .with_threads(false)
        .with_filter(Targets::new().with_target(span::TARGET, tracing::Level::INFO));
    subscriber.with(spans).try_init().map_err(|_| TelemetryError::Twice)?;
    span::enable(options.sample_ratio);
    Ok(Guard { provider: Some(provider) })
}

fn tracer_provider(options: &Options<'_>) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(options.otlp_endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| TelemetryError::Endpoint(error.to_string()))?;
    let resource = Resource::builder()
        .with_service_name(options.process)
        .with_attribute(KeyValue::new("service.version", omniroute_core::VERSION))
        .build();
    // Whether a request is sampled is decided before its span is made.
    Ok(SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}

// === impl Guard ===

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(provider) = self.provider.take() else { return };
        if let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options<'_> =
        Options { process: "test", log_level: "info", log_format: "text", otlp_endpoint: "", sample_ratio: 0.1 };

    #[test]
    fn a_wrong_setting_is_named() {
        let text = |options| init(options).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text(Options { sample_ratio: 1.5, ..OPTIONS }).contains("trace_sample_ratio"));
        assert!(text(Options { log_format: "xml", ..OPTIONS }).contains("log_format"));
        assert!(text(Options { otlp_endpoint: "not a url", ..OPTIONS }).contains("otlp_endpoint"));
    }
}
