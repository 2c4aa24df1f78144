//! Log lines on stdout, as text or JSON.

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, registry::LookupSpan};

use crate::TelemetryError;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// The layer that writes log lines.
pub(crate) fn layer<S>(level: &str, format: &str) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = EnvFilter::try_new(level).map_err(|error| TelemetryError::LogLevel(error.to_string()))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stdout);
    Ok(match parse_format(format)? {
        Format::Text => lines.with_ansi(std::io::stdout().is_terminal()).with_filter(filter).boxed(),
        Format::Json => lines.json().flatten_event(true).with_span_list(false).with_filter(filter).boxed(),
    })
}

fn parse_format(format: &str) -> Result<Format, TelemetryError> {
    match format.trim().to_ascii_lowercase().as_str() {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err(TelemetryError::LogFormat(format.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(level: &str, format: &str) -> Option<String> {
        layer::<tracing_subscriber::Registry>(level, format).err().map(|error| error.to_string())
    }

    #[test]
    fn levels_and_directives_are_taken_and_nonsense_is_named() {
        assert_eq!(error_of("info", "text"), None);
        assert_eq!(error_of("info,omniroute=debug", "JSON"), None);
        assert!(error_of("omniroute=loudly", "text").is_some_and(|text| text.contains("log_level")));
        assert!(error_of("info", "xml").is_some_and(|text| text.contains("`xml`")));
    }
}
