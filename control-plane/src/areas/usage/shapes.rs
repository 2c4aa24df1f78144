//! What usage looks like in REST.

use std::collections::BTreeMap;

use omniroute_core::time::UnixMillis;
use omniroute_proto::v1::{self, Outcome};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{ConnectionName, Selection};
use crate::{
    http::{ApiError, Body, Fields},
    ledger::{ConnectionTotals, EventFilter, History, Sums, UsageRow},
};

const ROWS: u64 = 50;
const MAX_ROWS: u64 = 1000;
const MAX_OFFSET: u64 = 10_000;

/// Sums over a time.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct HistoryView {
    total_requests: u64,
    total_prompt_tokens: u64,
    total_completion_tokens: u64,
    /// US dollars, of the requests whose price is known.
    total_cost: f64,
    total_cost_micro_usd: i64,
    /// Requests whose price is not known; `totalCost` is without them.
    unpriced_requests: u64,
    by_provider: BTreeMap<String, SumsView>,
    /// By `model (provider)`.
    by_model: BTreeMap<String, ModelView>,
    /// By `model (provider - connection)`.
    by_account: BTreeMap<String, AccountView>,
    /// By `name (id)`.
    by_api_key: BTreeMap<String, KeyUsage>,
    /// Minute by minute, the current one last.
    #[serde(rename = "last10Minutes")]
    #[schema(rename = "last10Minutes")]
    last_ten_minutes: Vec<SumsView>,
    /// Requests that proxies are working on now, as they last said.
    in_flight: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct SumsView {
    requests: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    /// US dollars.
    cost: f64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct ModelView {
    #[serde(flatten)]
    sums: SumsView,
    raw_model: String,
    provider: String,
    last_used: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct AccountView {
    #[serde(flatten)]
    sums: SumsView,
    raw_model: String,
    provider: String,
    connection_id: String,
    account_name: String,
    last_used: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct KeyUsage {
    #[serde(flatten)]
    sums: SumsView,
    api_key_id: String,
    api_key_name: Option<String>,
    last_used: String,
}

/// One request that reached a provider.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct CallLog {
    id: String,
    request_id: String,
    timestamp: String,
    method: &'static str,
    /// What the client called, without its query. Null, as the formats, in rows of proxies that are older than these fields.
    path: Option<String>,
    /// Status that the client saw; 0 when it saw none.
    status: u32,
    /// `ok`, `upstream_error`, `timeout`, `client_closed`, `drained` or `interrupted`.
    outcome: &'static str,
    model: String,
    requested_model: String,
    provider: String,
    /// Name of the connection, or its id when it is gone.
    account: String,
    connection_id: String,
    proxy_id: String,
    stream: bool,
    /// Milliseconds.
    duration: u64,
    /// Milliseconds to the first byte of the answer; null when there was none.
    first_byte_ms: Option<u64>,
    attempts: u32,
    tokens: Tokens,
    /// True when any number of tokens is our estimate and not the provider's count.
    estimated: bool,
    /// True when the proxy's clock was wrong: the time is that of the event's arrival.
    redated: bool,
    /// US dollars; null when the price is not known.
    cost: Option<f64>,
    cost_micro_usd: Option<i64>,
    /// The same by side, in micro-dollars; each is rounded for itself.
    cost_by_side: Option<CostBySide>,
    /// The service for which the provider charged: `batch`, `flex` or `priority`; null for the usual one.
    service_tier: Option<String>,
    finish_reason: Option<String>,
    /// `upstream`: a provider answered.
    cache_source: &'static str,
    request_type: Option<String>,
    /// Format that the client spoke: `openai`, `responses`, `anthropic`, `gemini` or `ollama`.
    source_format: Option<String>,
    /// Format that the provider spoke; the same, or `cohere` or `bedrock`.
    target_format: Option<String>,
    api_key_id: Option<String>,
    api_key_name: Option<String>,
    combo_name: Option<String>,
    combo_step_id: Option<String>,
    combo_execution_key: Option<String>,
    /// Stable code of the error, null when there was none.
    error: Option<String>,
    has_request_body: bool,
    has_response_body: bool,
    has_pipeline_details: bool,
}

/// Micro-dollars.
#[derive(Serialize, ToSchema)]
pub(crate) struct CostBySide {
    /// Prompt tokens that no cache served, and sound.
    input: i64,
    /// What a cache served, and what was written to it.
    cache: i64,
    /// The answer, thoughts included.
    output: i64,
}

/// Null means unknown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct Tokens {
    /// Everything that went in, cached or not.
    #[serde(rename = "in")]
    #[schema(rename = "in")]
    input: Option<u64>,
    /// Everything that came out, reasoning included.
    out: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
    compressed: Option<u64>,
}

/// A request with all its attempts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct RequestLog {
    request_id: String,
    /// Oldest first; the last one is what the client saw.
    attempts: Vec<AttemptLog>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct AttemptLog {
    #[serde(flatten)]
    call: CallLog,
    usage: UsageView,
    /// Parts of the cost in micro-dollars; null when the price is not known.
    cost_input_micro_usd: Option<i64>,
    cost_cache_micro_usd: Option<i64>,
    cost_output_micro_usd: Option<i64>,
    price_revision: Option<u64>,
}

/// Disjoint classes of tokens; null means unknown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct UsageView {
    input: Option<u64>,
    cache_read: Option<u64>,
    #[serde(rename = "cacheWrite5m")]
    #[schema(rename = "cacheWrite5m")]
    cache_write_5m: Option<u64>,
    #[serde(rename = "cacheWrite1h")]
    #[schema(rename = "cacheWrite1h")]
    cache_write_1h: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
    audio_in: Option<u64>,
    audio_out: Option<u64>,
}

/// What one connection was used for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(rename_all = "camelCase")]
pub(crate) struct ConnectionUsage {
    connection_id: String,
    /// Null when the connection is gone.
    name: Option<String>,
    provider: Option<String>,
    total: SumsView,
    last_used: Option<String>,
    by_outcome: BTreeMap<&'static str, SumsView>,
    by_model: BTreeMap<String, SumsView>,
}

/// Which time.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TimeRange {
    /// RFC 3339 or Unix milliseconds; whole hours count.
    #[param(value_type = Option<String>)]
    pub(super) since: Option<UnixMillis>,
    #[param(value_type = Option<String>)]
    pub(super) until: Option<UnixMillis>,
}

/// Which requests.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ListQuery {
    /// Rows at most.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    limit: u64,
    /// Rows to skip. `cursor` is faster.
    #[param(value_type = Option<u64>, maximum = 10_000)]
    offset: u64,
    /// `x-omniroute-next-cursor` of the page before.
    cursor: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    connection_id: Option<String>,
    /// Id of a key.
    api_key: Option<String>,
    /// `ok`, `upstream_error`, `timeout`, `client_closed`, `drained` or `interrupted`.
    outcome: Option<String>,
    #[param(value_type = Option<String>)]
    since: Option<UnixMillis>,
    #[param(value_type = Option<String>)]
    until: Option<UnixMillis>,
}

const OUTCOMES: [(&str, Outcome); 6] = [
    ("ok", Outcome::Ok),
    ("upstream_error", Outcome::UpstreamError),
    ("timeout", Outcome::Timeout),
    ("client_closed", Outcome::ClientClosed),
    ("drained", Outcome::Drained),
    ("interrupted", Outcome::Interrupted),
];

// === impl TimeRange ===

impl Body for TimeRange {
    fn read(fields: &mut Fields) -> Self {
        Self { since: fields.nullable_time("since").set(), until: fields.nullable_time("until").set() }
    }
}

// === impl ListQuery ===

impl Body for ListQuery {
    fn read(fields: &mut Fields) -> Self {
        let named = OUTCOMES.map(|(name, _)| name);
        let mut text = |name| fields.text(name, 0..=400).filter(|text: &String| !text.is_empty());
        Self {
            cursor: text("cursor"),
            model: text("model"),
            provider: text("provider"),
            connection_id: text("connectionId"),
            api_key: text("apiKey"),
            outcome: fields.choice("outcome", &named),
            limit: fields.whole("limit", 1..=MAX_ROWS).unwrap_or(ROWS),
            offset: fields.whole("offset", 0..=MAX_OFFSET).unwrap_or(0),
            since: fields.nullable_time("since").set(),
            until: fields.nullable_time("until").set(),
        }
    }
}

impl ListQuery {
    pub(super) fn into_selection(self) -> Result<Selection, ApiError> {
        let outcome = self.outcome.and_then(|name| OUTCOMES.iter().find(|(known, _)| *known == name));
        Ok(Selection {
            filter: EventFilter {
                api_key_id: self.api_key.unwrap_or_default(),
                connection_id: self.connection_id.unwrap_or_default(),
                provider: self.provider.unwrap_or_default(),
                model: self.model.unwrap_or_default(),
                outcome: outcome.map(|(_, outcome)| *outcome),
                since: self.since,
                until: self.until,
            },
            cursor: self.cursor.map(|cursor| cursor.parse()).transpose()?,
            offset: u32::try_from(self.offset).unwrap_or(u32::MAX),
            limit: u32::try_from(self.limit).unwrap_or(u32::MAX),
        })
    }
}

// === impl SumsView ===

impl From<&Sums> for SumsView {
    fn from(sums: &Sums) -> Self {
        Self {
            requests: sums.requests,
            prompt_tokens: sums.prompt_tokens,
            completion_tokens: sums.completion_tokens,
            cost: sums.cost.as_dollars(),
        }
    }
}

// === impl HistoryView ===

impl HistoryView {
    pub(super) fn new(history: History, in_flight: u64) -> Self {
        let by_model = history.by_model.into_iter().map(|row| {
            let view = ModelView {
                sums: SumsView::from(&row.sums),
                last_used: row.sums.last_used_at.to_rfc3339(),
                raw_model: row.model,
                provider: row.provider,
            };
            (format!("{} ({})", view.raw_model, view.provider), view)
        });
        let mut by_account = BTreeMap::new();
        for row in history.by_account {
            let view = AccountView {
                sums: SumsView::from(&row.sums),
                last_used: row.sums.last_used_at.to_rfc3339(),
                account_name: row.connection_name.unwrap_or_else(|| row.connection_id.clone()),
                raw_model: row.model,
                provider: row.provider,
                connection_id: row.connection_id,
            };
            let name = format!("{} ({} - {})", view.raw_model, view.provider, view.account_name);
            // Two connections may have one name.
            let name = if by_account.contains_key(&name) { format!("{name} {}", view.connection_id) } else { name };
            by_account.insert(name, view);
        }
        let by_api_key = history.by_key.into_iter().map(|row| {
            let view = KeyUsage {
                sums: SumsView::from(&row.sums),
                last_used: row.sums.last_used_at.to_rfc3339(),
                api_key_name: row.api_key_name,
                api_key_id: row.api_key_id,
            };
            (format!("{} ({})", view.api_key_name.as_deref().unwrap_or("-"), view.api_key_id), view)
        });
        Self {
            total_requests: history.total.requests,
            total_prompt_tokens: history.total.prompt_tokens,
            total_completion_tokens: history.total.completion_tokens,
            total_cost: history.total.cost.as_dollars(),
            total_cost_micro_usd: history.total.cost.0,
            unpriced_requests: history.total.unpriced,
            by_provider: history.by_provider.iter().map(|(name, sums)| (name.clone(), SumsView::from(sums))).collect(),
            by_model: by_model.collect(),
            by_account,
            by_api_key: by_api_key.collect(),
            last_ten_minutes: history.last_ten_minutes.iter().map(|minute| SumsView::from(&minute.sums)).collect(),
            in_flight,
        }
    }
}

// === impl ConnectionUsage ===

impl ConnectionUsage {
    pub(super) fn new(connection_id: String, name: Option<ConnectionName>, totals: &ConnectionTotals) -> Self {
        let by_outcome = totals.by_outcome.iter().map(|(outcome, sums)| (outcome_name(*outcome), SumsView::from(sums)));
        Self {
            connection_id,
            provider: name.as_ref().map(|name| name.provider.clone()),
            name: name.map(|name| name.name),
            total: SumsView::from(&totals.total),
            last_used: Some(totals.total.last_used_at).filter(|at| at.0 > 0).map(UnixMillis::to_rfc3339),
            by_outcome: by_outcome.collect(),
            by_model: totals.by_model.iter().map(|(model, sums)| (model.clone(), SumsView::from(sums))).collect(),
        }
    }
}

// === impl CallLog ===

impl From<&UsageRow> for CallLog {
    fn from(row: &UsageRow) -> Self {
        let named = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let is_answered = row.first_byte_us > 0;
        Self {
            id: row.id.to_string(),
            request_id: row.request_id.clone(),
            timestamp: row.at.to_rfc3339(),
            method: "POST",
            path: named(&row.path),
            status: row.status,
            outcome: outcome_name(row.outcome),
            model: row.model.clone(),
            requested_model: row.requested_model.clone(),
            provider: row.provider.clone(),
            account: account(row),
            connection_id: row.connection_id.clone(),
            proxy_id: row.proxy_id.clone(),
            stream: row.stream,
            duration: row.duration_us / 1000,
            first_byte_ms: is_answered.then_some(row.first_byte_us / 1000),
            attempts: row.attempts,
            tokens: Tokens::from(&row.usage),
            estimated: row.estimated,
            redated: row.redated,
            cost: row.cost.map(|cost| cost.as_dollars()),
            cost_micro_usd: row.cost.map(|cost| cost.0),
            cost_by_side: CostBySide::of(row),
            service_tier: named(&row.service_tier),
            finish_reason: named(&row.finish_reason),
            cache_source: "upstream",
            request_type: None,
            source_format: named(&row.source_format),
            target_format: named(&row.target_format),
            api_key_id: named(&row.api_key_id),
            api_key_name: row.api_key_name.clone(),
            combo_name: None,
            combo_step_id: None,
            combo_execution_key: None,
            error: named(&row.error_code),
            has_request_body: false,
            has_response_body: false,
            has_pipeline_details: false,
        }
    }
}

// === impl CostBySide ===

impl CostBySide {
    fn of(row: &UsageRow) -> Option<Self> {
        Some(Self { input: row.cost_input?.0, cache: row.cost_cache?.0, output: row.cost_output?.0 })
    }
}

// === impl Tokens ===

impl From<&v1::Usage> for Tokens {
    fn from(usage: &v1::Usage) -> Self {
        Self {
            input: prompt_tokens(usage),
            out: completion_tokens(usage),
            cache_read: usage.cache_read,
            cache_write: sum(&[usage.cache_write_5m, usage.cache_write_1h]),
            reasoning: usage.reasoning,
            compressed: None,
        }
    }
}

fn prompt_tokens(usage: &v1::Usage) -> Option<u64> {
    sum(&[usage.input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h, usage.audio_in])
}

fn completion_tokens(usage: &v1::Usage) -> Option<u64> {
    sum(&[usage.output, usage.reasoning, usage.audio_out])
}

/// Of what is known; unknown when nothing is.
fn sum(classes: &[Option<u64>]) -> Option<u64> {
    classes.iter().flatten().copied().reduce(u64::saturating_add)
}

// === impl RequestLog ===

impl RequestLog {
    pub(super) fn new(attempts: Vec<UsageRow>) -> Self {
        let request_id = attempts.first().map(|row| row.request_id.clone()).unwrap_or_default();
        Self { request_id, attempts: attempts.into_iter().map(AttemptLog::from).collect() }
    }
}

// === impl AttemptLog ===

impl From<UsageRow> for AttemptLog {
    fn from(row: UsageRow) -> Self {
        Self {
            call: CallLog::from(&row),
            usage: UsageView {
                input: row.usage.input,
                cache_read: row.usage.cache_read,
                cache_write_5m: row.usage.cache_write_5m,
                cache_write_1h: row.usage.cache_write_1h,
                output: row.usage.output,
                reasoning: row.usage.reasoning,
                audio_in: row.usage.audio_in,
                audio_out: row.usage.audio_out,
            },
            cost_input_micro_usd: row.cost_input.map(|cost| cost.0),
            cost_cache_micro_usd: row.cost_cache.map(|cost| cost.0),
            cost_output_micro_usd: row.cost_output.map(|cost| cost.0),
            price_revision: row.price_revision,
        }
    }
}

fn account(row: &UsageRow) -> String {
    row.connection_name.clone().unwrap_or_else(|| row.connection_id.clone())
}

fn outcome_name(outcome: Outcome) -> &'static str {
    OUTCOMES.iter().find(|(_, known)| *known == outcome).map_or("unknown", |(name, _)| name)
}

/// `time | model | PROVIDER | account | in | out | status`
pub(super) fn line(row: &UsageRow) -> String {
    let count = |tokens: Option<u64>| tokens.map_or_else(|| "?".to_owned(), |tokens| tokens.to_string());
    let status = if row.status == 0 { outcome_name(row.outcome).to_uppercase() } else { row.status.to_string() };
    [
        row.at.to_rfc3339(),
        row.model.clone(),
        row.provider.to_uppercase(),
        account(row),
        count(prompt_tokens(&row.usage)),
        count(completion_tokens(&row.usage)),
        status,
    ]
    .join(" | ")
}
