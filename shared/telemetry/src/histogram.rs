//! Histograms of durations, counted where they are recorded.
//!
//! The Prometheus exporter's own keep every value until somebody folds them into buckets: memory that grows with the load,
//! and a few times the cost of a request's record. These know their buckets, so that a record is two additions.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;
use parking_lot::Mutex;

/// Bounds of every duration, in seconds: from an apply of microseconds to an answer of minutes.
const BOUNDS: [f64; 20] = [
    0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
    300.0, 600.0,
];
const NANOS: f64 = 1e9;

/// Records everything else as the exporter does.
pub(crate) struct WithHistograms {
    exporter: PrometheusRecorder,
    histograms: Histograms,
}

/// All histograms of this process; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Histograms(Arc<Mutex<BTreeMap<String, Family>>>);

#[derive(Default)]
struct Family {
    help: Option<SharedString>,
    /// By their labels, as they are written.
    series: BTreeMap<String, Arc<Buckets>>,
}

#[derive(Default)]
struct Buckets {
    /// Values up to each bound and above the one before; the last is for those above all.
    counts: [AtomicU64; BOUNDS.len() + 1],
    /// In nanoseconds: 584 years of them.
    sum: AtomicU64,
}

// === impl WithHistograms ===

impl WithHistograms {
    pub(crate) fn new(exporter: PrometheusRecorder, histograms: Histograms) -> Self {
        Self { exporter, histograms }
    }
}

impl Recorder for WithHistograms {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.exporter.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.exporter.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.histograms.0.lock().entry(key.as_str().to_owned()).or_default().help = Some(description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.exporter.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.exporter.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut all = self.histograms.0.lock();
        let family = all.entry(key.name().to_owned()).or_default();
        Histogram::from_arc(Arc::clone(family.series.entry(labels(key)).or_default()))
    }
}

fn labels(key: &Key) -> String {
    let mut text = String::new();
    for label in key.labels() {
        let value = label.value().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        // Writing to a string never fails.
        let _ = write!(text, "{}=\"{value}\",", label.key());
    }
    text
}

// === impl Histograms ===

impl Histograms {
    /// All that have been recorded, in the text format.
    pub(crate) fn write_to(&self, text: &mut String) {
        for (name, family) in &*self.0.lock() {
            if family.series.is_empty() {
                continue;
            }
            if let Some(help) = &family.help {
                let _ = writeln!(text, "# HELP {name} {help}");
            }
            let _ = writeln!(text, "# TYPE {name} histogram");
            for (labels, buckets) in &family.series {
                buckets.write_to(text, name, labels);
            }
            text.push('\n');
        }
    }
}

// === impl Buckets ===

impl Buckets {
    fn write_to(&self, text: &mut String, name: &str, labels: &str) {
        let mut count = 0;
        for (bound, own) in BOUNDS.iter().zip(&self.counts) {
            count += own.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}_bucket{{{labels}le=\"{bound}\"}} {count}");
        }
        count += self.counts[BOUNDS.len()].load(Ordering::Relaxed);
        let _ = writeln!(text, "{name}_bucket{{{labels}le=\"+Inf\"}} {count}");
        let labels = labels.trim_end_matches(',');
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        #[expect(clippy::cast_precision_loss, reason = "a sum of durations")]
        let sum = self.sum.load(Ordering::Relaxed) as f64 / NANOS;
        let _ = writeln!(text, "{name}_sum{labels} {sum}");
        let _ = writeln!(text, "{name}_count{labels} {count}");
    }
}

impl HistogramFn for Buckets {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is no duration counts as none")]
    fn record(&self, value: f64) {
        let at = BOUNDS.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value * NANOS).round() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_its_bucket_and_in_all_above() {
        let buckets = Buckets::default();
        for value in [0.000_1, 0.000_11, 7.0, 10_000.0] {
            buckets.record(value);
        }
        let mut text = String::new();
        buckets.write_to(&mut text, "d_seconds", "a=\"x\",");
        for line in [
            "d_seconds_bucket{a=\"x\",le=\"0.0001\"} 1",
            "d_seconds_bucket{a=\"x\",le=\"0.0005\"} 2",
            "d_seconds_bucket{a=\"x\",le=\"5\"} 2",
            "d_seconds_bucket{a=\"x\",le=\"10\"} 3",
            "d_seconds_bucket{a=\"x\",le=\"+Inf\"} 4",
            "d_seconds_sum{a=\"x\"} 10007.00021",
            "d_seconds_count{a=\"x\"} 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        text.clear();
        buckets.write_to(&mut text, "d_seconds", "");
        assert!(text.contains("d_seconds_bucket{le=\"0.0001\"} 1\n") && text.contains("d_seconds_count 4\n"), "{text}");
    }
}
