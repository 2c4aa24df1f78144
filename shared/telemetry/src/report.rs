//! The metrics of this process as text.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::{
    histogram::{Histograms, WithHistograms},
    names, process,
};

static REPORT: OnceLock<MetricsReport> = OnceLock::new();

/// Renders the metrics of this process in the Prometheus text format. Cheap to clone.
#[derive(Clone)]
pub struct MetricsReport {
    handle: PrometheusHandle,
    histograms: Histograms,
    started: Arc<process::Started>,
}

/// Installs the recorder of this process and describes every metric. Called again, it returns the same report.
pub fn prometheus() -> MetricsReport {
    REPORT.get_or_init(install).clone()
}

fn install() -> MetricsReport {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let histograms = Histograms::default();
    if metrics::set_global_recorder(WithHistograms::new(recorder, histograms.clone())).is_err() {
        tracing::error!("another metrics recorder is installed; /metrics shows only the process");
    }
    names::describe();
    MetricsReport { handle, histograms, started: Arc::new(process::Started::now()) }
}

// === impl MetricsReport ===

impl MetricsReport {
    /// Content type of [`Self::render`].
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Says which process and version this is, in `omniroute_build_info`.
    #[must_use]
    pub fn with_build_info(self, process: &'static str) -> Self {
        metrics::gauge!(names::BUILD_INFO, "process" => process, "version" => omniroute_core::VERSION).set(1.0);
        self
    }

    /// All metrics, with those of the process (memory, CPU time, open files) as they are now.
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        self.histograms.write_to(&mut text);
        process::Process::read(&self.started).write_to(&mut text);
        text
    }

    /// Since [`prometheus`] was called first.
    pub fn uptime(&self) -> Duration {
        Instant::now().saturating_duration_since(self.started.instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_what_was_counted_what_it_means_and_the_process() {
        let report = prometheus().with_build_info("test");
        metrics::counter!(names::REQUESTS, "operation" => "chat", "status" => "200", "code" => "").increment(3);
        metrics::histogram!(names::REQUEST_DURATION, "operation" => "chat", "stream" => "false").record(0.02);
        let text = prometheus().render();
        for line in [
            "# TYPE omniroute_requests_total counter",
            "omniroute_requests_total{operation=\"chat\",status=\"200\",code=\"\"} 3",
            "omniroute_request_duration_seconds_bucket{operation=\"chat\",stream=\"false\",le=\"0.025\"} 1",
            "omniroute_request_duration_seconds_bucket{operation=\"chat\",stream=\"false\",le=\"0.01\"} 0",
            "# TYPE process_resident_memory_bytes gauge",
            "# TYPE process_cpu_seconds_total counter",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.contains("omniroute_build_info{process=\"test\""), "{text}");
        assert_eq!(report.render().matches("# TYPE omniroute_requests_total").count(), 1);
    }
}
