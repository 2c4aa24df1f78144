//! Every metric of the product, in one place: name, kind, unit, meaning.
//!
//! Use the constants with the macros of the `metrics` crate; [`prometheus`](crate::prometheus) describes all of them.
//! Labels have few values (a provider, a class, an outcome), never a key, a connection, a model or an address.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    pub unit: Unit,
    pub help: &'static str,
}

macro_rules! metric_names {
    ($( $(#[doc = $help:literal])+ $constant:ident = $name:literal, $kind:ident, $unit:ident; )*) => {
        $( $(#[doc = $help])+ pub const $constant: &str = $name; )*

        /// All metrics, in the order of the documentation.
        pub const METRICS: &[Metric] = &[
            $( Metric {
                name: $constant,
                kind: MetricKind::$kind,
                unit: Unit::$unit,
                help: concat!($($help),+),
            } ),*
        ];
    };
}

metric_names! {
    // Every process
    /// Always 1; labels: process, version.
    BUILD_INFO = "omniroute_build_info", Gauge, Count;
    /// 1 while shared state is in reach, 0 while this process goes on alone.
    COORDINATION_CONNECTED = "omniroute_coordination_connected", Gauge, Count;
    /// Times the connection to Redis was lost.
    COORDINATION_LOST = "omniroute_coordination_lost_total", Counter, Count;
    /// Calls that were answered from this process alone because Redis was away or slow.
    COORDINATION_FALLBACKS = "omniroute_coordination_fallbacks_total", Counter, Count;

    // Proxy: requests
    /// Requests that were answered; labels: operation, status, code (empty for success).
    REQUESTS = "omniroute_requests_total", Counter, Count;
    /// Time from the head of a request to the last byte of its answer; labels: operation, stream.
    REQUEST_DURATION = "omniroute_request_duration_seconds", Histogram, Seconds;
    /// Time from the head of a request to the first byte of its answer; labels: operation, stream.
    FIRST_BYTE = "omniroute_first_byte_seconds", Histogram, Seconds;
    /// Requests that got the answer of an earlier one with the same idempotency key or request id.
    IDEMPOTENT_ANSWERS = "omniroute_idempotent_answers_total", Counter, Count;
    /// Requests that run now.
    REQUESTS_IN_FLIGHT = "omniroute_requests_in_flight", Gauge, Count;
    /// Streamed answers that run now.
    STREAMS_IN_FLIGHT = "omniroute_streams_in_flight", Gauge, Count;
    /// Client connections that are open.
    CLIENT_CONNECTIONS = "omniroute_client_connections", Gauge, Count;
    /// Tokens that went through; labels: provider, class (input, cache_read, output…).
    TOKENS = "omniroute_tokens_total", Counter, Count;
    /// Calls to providers; labels: provider, outcome (ok, or the class of the failure).
    UPSTREAM_ATTEMPTS = "omniroute_upstream_attempts_total", Counter, Count;
    /// Time until a provider's first byte; labels: provider.
    UPSTREAM_FIRST_BYTE = "omniroute_upstream_first_byte_seconds", Histogram, Seconds;
    /// Connections (credentials at providers) that cool down now.
    COOLDOWNS = "omniroute_cooldowns", Gauge, Count;
    /// Requests that were refused before any provider was asked; labels: code.
    REFUSALS = "omniroute_refusals_total", Counter, Count;
    /// Memory that request bodies take now.
    BODY_MEMORY = "omniroute_body_memory_bytes", Gauge, Bytes;

    // Proxy: configuration
    /// Revision of the configuration in force.
    SNAPSHOT_REVISION = "omniroute_snapshot_revision", Gauge, Count;
    /// 1 while the configuration comes from disk and the control plane has not confirmed it.
    SNAPSHOT_STALE = "omniroute_snapshot_stale", Gauge, Count;
    /// 1 while the configuration stream is up.
    SNAPSHOT_CONNECTED = "omniroute_snapshot_connected", Gauge, Count;
    /// Resources of a snapshot that were rejected; labels: kind.
    SNAPSHOT_REJECTIONS = "omniroute_snapshot_rejections_total", Counter, Count;
    /// Full snapshots asked for because the digests did not match.
    SNAPSHOT_RESYNCS = "omniroute_snapshot_resyncs_total", Counter, Count;
    /// Resources of a kind that this version does not know.
    SNAPSHOT_UNKNOWN = "omniroute_snapshot_unknown_resources_total", Counter, Count;
    /// Time to build and swap in the next index.
    SNAPSHOT_APPLY = "omniroute_snapshot_apply_seconds", Histogram, Seconds;

    // Proxy: journal
    /// Closed usage events that the control plane has not acknowledged.
    JOURNAL_PENDING = "omniroute_journal_pending_events", Gauge, Count;
    /// Size of the journal on disk.
    JOURNAL_BYTES = "omniroute_journal_bytes", Gauge, Bytes;
    /// Usage events that were lost because the journal was full or could not be written.
    JOURNAL_LOST = "omniroute_journal_lost_total", Counter, Count;

    // Control plane
    /// REST calls that were answered; labels: method, route, status.
    REST_REQUESTS = "omniroute_rest_requests_total", Counter, Count;
    /// Time to answer a REST call; labels: method, route.
    REST_DURATION = "omniroute_rest_duration_seconds", Histogram, Seconds;
    /// Newest revision of the configuration.
    CONFIG_REVISION = "omniroute_config_revision", Gauge, Count;
    /// Proxies that are attached.
    PROXIES = "omniroute_proxies", Gauge, Count;
    /// Snapshots sent; labels: mode (full, delta).
    SNAPSHOTS_SENT = "omniroute_snapshots_sent_total", Counter, Count;
    /// Time to build a snapshot, which all proxies that need it share; labels: mode (full, delta).
    SNAPSHOT_BUILD = "omniroute_snapshot_build_seconds", Histogram, Seconds;
    /// Resources that proxies could not take; labels: kind.
    CONFIG_REJECTIONS = "omniroute_config_rejections_total", Counter, Count;
    /// Times that two sides held different configurations at one revision; labels: side (proxy, control_plane).
    CONFIG_DRIFT = "omniroute_config_drift_total", Counter, Count;
    /// Connections that went out as inactive because their secret does not open.
    CONFIG_UNREADABLE = "omniroute_config_unreadable_total", Counter, Count;
    /// 1 while nothing is published because a master key is missing that another control plane has.
    CONFIG_WITHHELD = "omniroute_config_withheld", Gauge, Count;
    /// Settings of this process that are not the ones in force for the fleet.
    SETTINGS_DIFFER = "omniroute_settings_differ", Gauge, Count;
    /// Calls to the gRPC port that could not prove who makes them.
    GRPC_REFUSED = "omniroute_grpc_refused_total", Counter, Count;
    /// Usage events received; labels: result (inserted, duplicate, refused).
    LEDGER_EVENTS = "omniroute_ledger_events_total", Counter, Count;
    /// Time of a transaction that stores batches of usage events.
    LEDGER_COMMIT = "omniroute_ledger_commit_seconds", Histogram, Seconds;
    /// Wrong passwords and refused logins; labels: result (wrong, throttled).
    LOGIN_FAILURES = "omniroute_login_failures_total", Counter, Count;
    /// Runs of a background job; labels: job, result (ok, failed).
    JOB_RUNS = "omniroute_job_runs_total", Counter, Count;
}

/// Tells the installed recorder what each metric means.
pub(crate) fn describe() {
    for metric in METRICS {
        let help = metric.help.trim();
        match metric.kind {
            MetricKind::Counter => describe_counter!(metric.name, metric.unit, help),
            MetricKind::Gauge => describe_gauge!(metric.name, metric.unit, help),
            MetricKind::Histogram => describe_histogram!(metric.name, metric.unit, help),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_tell_their_kind() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            let total = metric.name.ends_with("_total");
            assert_eq!(total, metric.kind == MetricKind::Counter, "{}", metric.name);
            if metric.kind == MetricKind::Histogram {
                assert!(metric.name.ends_with("_seconds") && metric.unit == Unit::Seconds, "{}", metric.name);
            }
            assert!(metric.name.starts_with("omniroute_") && metric.help.trim().ends_with('.'), "{}", metric.name);
        }
    }
}
