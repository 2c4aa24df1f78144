//! The numbers of the request path. Handles are made once, so that counting formats and looks up nothing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use metrics::{Counter, Histogram, counter, gauge, histogram};
use omniroute_core::{error::GatewayError, id::ProviderId};
use omniroute_providers::{FailureClass, Operation};
use omniroute_telemetry::names;
use omniroute_wire::usage::Usage;

/// Label of an attempt that brought an answer.
const OK: &str = "ok";

/// All handles.
pub(crate) struct Metrics {
    chat: OperationMetrics,
    embeddings: OperationMetrics,
    images: OperationMetrics,
    providers: ArcSwap<HashMap<ProviderId, Arc<ProviderMetrics>>>,
}

/// What is counted per operation.
pub(crate) struct OperationMetrics {
    name: &'static str,
    succeeded: Counter,
    /// Plain answers and streams.
    duration: [Histogram; 2],
    first_byte: [Histogram; 2],
}

/// What is counted per provider.
pub(crate) struct ProviderMetrics {
    provider: ProviderId,
    answered: Counter,
    first_byte: Histogram,
    input: Counter,
    cache_read: Counter,
    cache_write: Counter,
    output: Counter,
    reasoning: Counter,
}

/// Figures that are only looked at when somebody asks.
pub(crate) struct Levels {
    pub(crate) requests: u64,
    pub(crate) streams: u64,
    pub(crate) connections: u64,
    pub(crate) body_memory: u64,
    pub(crate) cooldowns: u64,
}

// === impl Metrics ===

impl Metrics {
    /// Takes handles of the recorder that is installed at this moment.
    pub(crate) fn new() -> Self {
        Self {
            chat: OperationMetrics::new(Operation::Chat.as_str()),
            embeddings: OperationMetrics::new(Operation::Embeddings.as_str()),
            images: OperationMetrics::new(Operation::Images.as_str()),
            providers: ArcSwap::default(),
        }
    }

    pub(crate) fn operation(&self, operation: Operation) -> &OperationMetrics {
        match operation {
            Operation::Embeddings => &self.embeddings,
            Operation::Images => &self.images,
            _ => &self.chat,
        }
    }

    pub(crate) fn provider(&self, provider: &ProviderId) -> Arc<ProviderMetrics> {
        if let Some(known) = self.providers.load().get(provider) {
            return Arc::clone(known);
        }
        let new = Arc::new(ProviderMetrics::new(provider));
        self.providers.rcu(|providers| {
            let mut providers = HashMap::clone(providers);
            providers.insert(provider.clone(), Arc::clone(&new));
            providers
        });
        new
    }
}

/// A request that was refused before any provider was asked.
pub(crate) fn refused(code: &'static str) {
    counter!(names::REFUSALS, "code" => code).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "no level comes near 2^53")]
pub(crate) fn report(levels: &Levels) {
    gauge!(names::REQUESTS_IN_FLIGHT).set(levels.requests as f64);
    gauge!(names::STREAMS_IN_FLIGHT).set(levels.streams as f64);
    gauge!(names::CLIENT_CONNECTIONS).set(levels.connections as f64);
    gauge!(names::BODY_MEMORY).set(levels.body_memory as f64);
    gauge!(names::COOLDOWNS).set(levels.cooldowns as f64);
}

// === impl OperationMetrics ===

impl OperationMetrics {
    fn new(name: &'static str) -> Self {
        let both = |metric: &'static str| {
            [
                histogram!(metric, "operation" => name, "stream" => "false"),
                histogram!(metric, "operation" => name, "stream" => "true"),
            ]
        };
        Self {
            name,
            succeeded: counter!(names::REQUESTS, "operation" => name, "status" => "200", "code" => ""),
            duration: both(names::REQUEST_DURATION),
            first_byte: both(names::FIRST_BYTE),
        }
    }

    pub(crate) fn first_byte(&self, stream: bool, after: Duration) {
        self.first_byte[usize::from(stream)].record(after);
    }

    /// A request is over.
    pub(crate) fn finished(&self, stream: bool, after: Duration, status: u16, code: &'static str) {
        self.duration[usize::from(stream)].record(after);
        if status == 200 && code.is_empty() {
            self.succeeded.increment(1);
        } else {
            self.other(status, code);
        }
    }

    /// A request was refused before any provider was asked.
    pub(crate) fn refused(&self, error: &GatewayError) {
        refused(error.code);
        self.other(error.class.status(), error.code);
    }

    fn other(&self, status: u16, code: &'static str) {
        let status = itoa::Buffer::new().format(status).to_owned();
        counter!(names::REQUESTS, "operation" => self.name, "status" => status, "code" => code).increment(1);
    }
}

// === impl ProviderMetrics ===

impl ProviderMetrics {
    fn new(provider: &ProviderId) -> Self {
        let name = provider.as_str();
        let tokens = |class: &'static str| counter!(names::TOKENS, "provider" => name.to_owned(), "class" => class);
        Self {
            provider: provider.clone(),
            answered: counter!(names::UPSTREAM_ATTEMPTS, "provider" => name.to_owned(), "outcome" => OK),
            first_byte: histogram!(names::UPSTREAM_FIRST_BYTE, "provider" => name.to_owned()),
            input: tokens("input"),
            cache_read: tokens("cache_read"),
            cache_write: tokens("cache_write"),
            output: tokens("output"),
            reasoning: tokens("reasoning"),
        }
    }

    pub(crate) fn answered(&self, after: Duration) {
        self.answered.increment(1);
        self.first_byte.record(after);
    }

    pub(crate) fn failed(&self, class: FailureClass) {
        let provider = self.provider.as_str().to_owned();
        counter!(names::UPSTREAM_ATTEMPTS, "provider" => provider, "outcome" => class_name(class)).increment(1);
    }

    pub(crate) fn tokens(&self, usage: &Usage) {
        let count = |counter: &Counter, tokens: Option<u64>| {
            if let Some(tokens) = tokens
                && tokens > 0
            {
                counter.increment(tokens);
            }
        };
        count(&self.input, usage.input);
        count(&self.cache_read, usage.cache_read);
        count(&self.cache_write, usage.cache_write_5m);
        count(&self.cache_write, usage.cache_write_1h);
        count(&self.output, usage.output);
        count(&self.reasoning, usage.reasoning);
    }
}

const fn class_name(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Connect => "connect",
        FailureClass::Server => "server",
        FailureClass::Overloaded => "overloaded",
        FailureClass::FirstByteTimeout => "first_byte_timeout",
        FailureClass::RateLimited => "rate_limited",
        FailureClass::Quota => "quota",
        FailureClass::Credential => "credential",
        FailureClass::ModelUnknown => "model_unknown",
        FailureClass::ContextTooLong => "context_too_long",
        FailureClass::ContentFilter => "content_filter",
        FailureClass::Client => "client",
    }
}
