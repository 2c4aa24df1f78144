//! Attribute names of the OpenTelemetry semantic conventions for generative AI, and the general ones beside them.

/// What is done: [`OPERATION_CHAT`], [`OPERATION_EMBEDDINGS`].
pub const OPERATION_NAME: &str = "gen_ai.operation.name";
pub const OPERATION_CHAT: &str = "chat";
pub const OPERATION_EMBEDDINGS: &str = "embeddings";

/// Who serves the model, as the catalog names it.
pub const PROVIDER_NAME: &str = "gen_ai.provider.name";
/// The model as the client asked for it.
pub const REQUEST_MODEL: &str = "gen_ai.request.model";
pub const REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
/// The model as the provider was asked for it.
pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
pub const RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";

/// All input tokens, those from a cache included.
pub const USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// All output tokens, reasoning included.
pub const USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
pub const USAGE_CACHE_READ_INPUT_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
pub const USAGE_CACHE_CREATION_INPUT_TOKENS: &str = "gen_ai.usage.cache_creation.input_tokens";
pub const USAGE_REASONING_OUTPUT_TOKENS: &str = "gen_ai.usage.reasoning.output_tokens";

/// The stable code of the error that the client got.
pub const ERROR_TYPE: &str = "error.type";
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";

/// Ours: the id that the client sees in its response and in errors.
pub const REQUEST_ID: &str = "omniroute.request_id";
/// Ours: targets that were tried.
pub const ATTEMPTS: &str = "omniroute.attempts";
/// Ours: whether the answer was streamed.
pub const STREAM: &str = "omniroute.stream";
