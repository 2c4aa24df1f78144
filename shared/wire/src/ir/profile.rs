//! What the target model can take. The catalog fills it in; the defaults are what an unknown model most likely takes.

use super::Effort;

/// Facts about one target model that change how a request is written for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Output limit, used where a format demands one and the client gave none.
    pub max_output_tokens: Option<u64>,
    pub thinking: ThinkingStyle,
    /// Efforts that it has a word for, lowest first.
    pub efforts: EffortScale,
    /// Refuses temperature, top_p and penalties (OpenAI's reasoning models).
    pub fixed_sampling: bool,
    /// Takes penalties, where it takes the rest (xAI's reasoning models do not).
    pub penalties: bool,
    /// Takes stop sequences (OpenAI's and xAI's reasoning models do not).
    pub stop: bool,
    /// Tells log probabilities and takes a bias (Chat, Responses).
    pub logprobs: bool,
    /// Wants `max_completion_tokens` instead of `max_tokens` (Chat).
    pub max_completion_tokens: bool,
    /// Takes a `developer` message (Chat).
    pub developer_role: bool,
    /// Takes JSON-schema output natively.
    pub json_schema: bool,
    /// Takes full JSON Schema for tools and output (Gemini: `parametersJsonSchema`), not only the OpenAPI subset.
    pub full_json_schema: bool,
    /// Takes alternatives (`anyOf`, `oneOf`, `allOf`) at the top of a tool's schema (Chat, Responses). OpenAI does not.
    pub alternatives_at_top: bool,
    pub tools: bool,
    /// Takes tools and a format of the answer in one request (Gemini does not before 3).
    pub tools_with_format: bool,
    /// Can be made to call a tool, or a certain one (DeepSeek's thinking models refuse that).
    pub forced_tools: bool,
    /// Can be made to call a certain one, where it can be made to call any (Kimi K3 cannot).
    pub named_tool: bool,
    /// Goes on from the beginning of an answer (Claude does not since 4.6).
    pub prefill: bool,
    /// Has a place for system texts (Gemma 3 has none at the Gemini API).
    pub system_text: bool,
    /// Takes system texts at any place, and several in front (OpenAI's own models: templates of open ones take one, in front).
    pub system_anywhere: bool,
    /// Takes system turns in mid-conversation (Anthropic beta).
    pub mid_conversation_system: bool,
    /// Wants the text of its own thoughts back with the calls that came of them (`reasoning_content` in Chat).
    pub reasoning_content_back: bool,
    /// And which of its turns it refuses without.
    pub reasoning_content_demanded: ThoughtDemand,
    /// Wants `reasoning_details` back as it gave them (Chat).
    pub reasoning_details_back: bool,
    /// Makes a conversation shorter when an item of it asks for that (Responses).
    pub compaction_trigger: bool,
    pub tool_ids: ToolIds,
    /// Fetches media URLs itself.
    pub media_urls: bool,
    /// Set automatic cache marks on requests from other dialects (Anthropic, Bedrock).
    pub automatic_cache_marks: bool,
}

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingStyle {
    /// It does not think, or cannot be told.
    None,
    /// By a word: `reasoning_effort`, `thinkingLevel`, `think`.
    Effort,
    /// By a number of tokens.
    Budget { min: u64, max: u64, can_disable: bool },
    /// It decides itself, guided by an effort (Anthropic's adaptive thinking).
    Adaptive,
}

/// Which of its own turns a model refuses without the thought that came before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ThoughtDemand {
    #[default]
    None,
    /// Those with calls.
    Calls,
    /// In a request with tools all of them, also those that call nothing.
    Tools,
}

/// Which ids of calls a host takes (Chat).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolIds {
    #[default]
    Any,
    /// Nine letters or digits (Mistral).
    NineCharacters,
}

/// The efforts that a model has a word for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffortScale(pub Vec<Effort>);

// === impl Profile ===

impl Default for Profile {
    fn default() -> Self {
        Self {
            max_output_tokens: None,
            thinking: ThinkingStyle::Effort,
            efforts: EffortScale(vec![Effort::Low, Effort::Medium, Effort::High]),
            fixed_sampling: false,
            penalties: true,
            stop: true,
            logprobs: true,
            max_completion_tokens: false,
            developer_role: false,
            json_schema: true,
            full_json_schema: true,
            alternatives_at_top: true,
            tools: true,
            tools_with_format: true,
            forced_tools: true,
            named_tool: true,
            prefill: true,
            system_text: true,
            system_anywhere: false,
            mid_conversation_system: false,
            reasoning_content_back: false,
            reasoning_content_demanded: ThoughtDemand::None,
            reasoning_details_back: false,
            compaction_trigger: false,
            tool_ids: ToolIds::Any,
            media_urls: true,
            automatic_cache_marks: true,
        }
    }
}

impl Profile {
    /// The word for an effort in formats that have one (Chat, Responses). A model that has no word for "do not think" is
    /// told to think as little as it can only if it is known to think always: others do not think unless told to.
    pub fn effort(&self, wanted: Effort) -> Option<Effort> {
        if wanted == Effort::None && !self.fixed_sampling && !self.efforts.0.contains(&Effort::None) {
            return None;
        }
        self.efforts.clamp(wanted)
    }
}

// === impl EffortScale ===

impl EffortScale {
    /// The nearest effort that the model has; of two equally near the lower.
    pub fn clamp(&self, wanted: Effort) -> Option<Effort> {
        let rank = |effort: Effort| Effort::ALL.iter().position(|own| *own == effort).unwrap_or(0);
        self.0.iter().copied().min_by_key(|own| (rank(*own).abs_diff(rank(wanted)), rank(*own)))
    }
}
