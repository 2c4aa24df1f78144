//! What a client asks for.

use std::borrow::Cow;

use super::{CacheMark, Effort, Extensions, Family, Format, Json, Losses, Part, Profile, SystemPart, Turn};

/// A chat request of any format.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The format it came in: its extensions go back to that family only.
    pub format: Format,
    pub model: Cow<'a, str>,
    pub system: Vec<SystemPart<'a>>,
    pub turns: Vec<Turn<'a>>,
    pub tools: Vec<Tool<'a>>,
    /// Tools that a vendor runs (web search, code execution…).
    pub vendor_tools: Vec<VendorTool<'a>>,
    pub tool_choice: Option<ToolChoice<'a>>,
    pub parallel_tool_calls: Option<bool>,
    pub max_tokens: Option<u64>,
    /// Chat has two names for it: the one that the client used.
    pub max_tokens_name: &'static str,
    pub stop: Vec<Cow<'a, str>>,
    pub sampling: Sampling<'a>,
    pub reasoning: Option<Reasoning>,
    pub output: OutputFormat<'a>,
    /// What the answer may be made of; empty means text.
    pub modalities: Vec<Modality>,
    pub stream: bool,
    /// Whether a Chat client asked for the usage chunk.
    pub include_usage: bool,
    /// The end user, for abuse detection upstream.
    pub user: Option<Cow<'a, str>>,
    pub metadata: Option<Json<'a>>,
    pub service_tier: Option<Cow<'a, str>>,
    /// A hint that groups requests with the same prefix.
    pub cache_key: Option<Cow<'a, str>>,
    /// Whether the vendor may keep the answer (Responses, Chat).
    pub store: Option<bool>,
    /// The client wants no answer but the conversation made shorter (Responses); its last turn asks for a summary.
    pub compacts: bool,
    pub extensions: Extensions<'a>,
}

/// A tool that the client runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool<'a> {
    pub name: Cow<'a, str>,
    pub description: Option<Cow<'a, str>>,
    pub kind: ToolKind<'a>,
    /// Group that it was declared in (Responses namespaces). `name` is then `group__name`.
    pub namespace: Option<Cow<'a, str>>,
    pub cache: Option<CacheMark>,
}

/// How the tool's input is described.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolKind<'a> {
    Function {
        /// JSON Schema; absent means no parameters.
        schema: Option<Json<'a>>,
        strict: Option<bool>,
    },
    /// Free text; the grammar, if any, as its format gave it.
    Custom { grammar: Option<Json<'a>> },
}

/// A tool that a vendor runs.
#[derive(Clone, Debug, PartialEq)]
pub struct VendorTool<'a> {
    pub family: Family,
    /// The vendor's type name, e.g. `web_search_20250305`.
    pub name: Cow<'a, str>,
    pub raw: Json<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    Auto,
    None,
    /// Some tool, the model chooses which.
    Required,
    Named(Cow<'a, str>),
    /// Only these; `required` says whether one must be called.
    Allowed {
        names: Vec<Cow<'a, str>>,
        required: bool,
    },
    /// A tool of the vendor's, by type.
    Vendor(Cow<'a, str>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling<'a> {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u64>,
    pub min_p: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub repeat_penalty: Option<f64>,
    pub seed: Option<i64>,
    /// Answers wanted; absent means 1.
    pub n: Option<u32>,
    /// Log probabilities wanted, and how many alternatives.
    pub logprobs: Option<bool>,
    pub top_logprobs: Option<u32>,
    pub logit_bias: Option<Json<'a>>,
}

/// How hard to think.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// `Some(false)`: switched off explicitly.
    pub enabled: Option<bool>,
    pub effort: Option<Effort>,
    /// Tokens; `None` with `enabled` means the model decides.
    pub budget: Option<u64>,
    /// The model decides how much (adaptive, dynamic).
    pub adaptive: bool,
    /// Whether the client wants to see the thoughts.
    pub visible: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum OutputFormat<'a> {
    #[default]
    Text,
    /// Any JSON object.
    Json,
    Schema {
        name: Option<Cow<'a, str>>,
        description: Option<Cow<'a, str>>,
        schema: Json<'a>,
        strict: Option<bool>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Modality {
    Text,
    Audio,
    Image,
}

// === impl Request ===

impl<'a> Request<'a> {
    pub fn new(format: Format, model: impl Into<Cow<'a, str>>) -> Self {
        Self {
            format,
            model: model.into(),
            system: Vec::new(),
            turns: Vec::new(),
            tools: Vec::new(),
            vendor_tools: Vec::new(),
            tool_choice: None,
            parallel_tool_calls: None,
            max_tokens: None,
            max_tokens_name: "max_tokens",
            stop: Vec::new(),
            sampling: Sampling::default(),
            reasoning: None,
            output: OutputFormat::Text,
            modalities: Vec::new(),
            stream: false,
            include_usage: false,
            user: None,
            metadata: None,
            service_tier: None,
            cache_key: None,
            store: None,
            compacts: false,
            extensions: Extensions::default(),
        }
    }

    /// The output limit that the target gets: the client's, or the nearest to it that the model and the format take, which
    /// is then listed. A limit that the client did not name is no loss.
    pub(crate) fn output_limit(&self, profile: &Profile, least: u64, losses: &mut Losses) -> Option<u64> {
        let wanted = self.max_tokens?;
        let limit = profile.max_output_tokens.map_or(wanted, |most| wanted.min(most)).max(least);
        if limit != wanted {
            losses.drop_field(self.max_tokens_name);
        }
        Some(limit)
    }

    /// Bytes of it in any format, about.
    pub(crate) fn size_hint(&self) -> usize {
        let system: usize = self.system.iter().map(|part| part.text.len()).sum();
        let tools: usize = self.tools.iter().map(Tool::size_hint).sum();
        let turns: usize = self.turns.iter().flat_map(|turn| &turn.parts).map(|part| part.size_hint() + 64).sum();
        let text = system + tools + turns;
        // Escapes and names of fields come on top.
        4096 + text + text / 8
    }

    /// Whether there is anything in it to answer.
    pub(crate) fn says_something(&self) -> bool {
        self.system.iter().any(|part| !part.text.trim().is_empty())
            || self.turns.iter().flat_map(|turn| &turn.parts).any(Part::says_something)
    }

    /// Whether the client marked anything as worth a cache.
    pub(crate) fn has_cache_marks(&self) -> bool {
        self.system.iter().any(|part| part.cache.is_some())
            || self.tools.iter().any(|tool| tool.cache.is_some())
            || self.turns.iter().flat_map(|turn| &turn.parts).any(Part::is_marked)
    }
}

// === impl Tool ===

impl Tool<'_> {
    fn size_hint(&self) -> usize {
        let schema = match &self.kind {
            ToolKind::Function { schema: Some(schema), .. } => schema.as_str().len(),
            ToolKind::Function { .. } | ToolKind::Custom { .. } => 64,
        };
        128 + schema + self.description.as_ref().map_or(0, |text| text.len())
    }
}

// === impl Reasoning ===

impl Reasoning {
    /// Lists that the target is given another effort than the one that the client named.
    pub(crate) fn list_moved(&self, given: Option<Effort>, losses: &mut Losses) {
        if self.effort.zip(given).is_some_and(|(named, given)| named != given) {
            losses.drop_field("reasoning_effort");
        }
    }
}
