//! How a host departs from the API that it speaks.

use std::collections::BTreeMap;

use omniroute_wire::{
    ir::{Profile, ThinkingStyle, ToolIds},
    openai::BodyRules,
};
use serde::Deserialize;

/// Where a host departs from OpenAI's API. Models have their own ways besides ([`crate::profile()`]).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quirks {
    /// Parameters that it refuses. Without `stream_options` it tells the usage of a stream unasked.
    #[serde(borrow, default)]
    pub drop: Vec<&'static str>,
    /// Parameters that it calls otherwise.
    #[serde(borrow, default)]
    pub rename: BTreeMap<&'static str, &'static str>,
    /// What it lacks of what models of its kind have elsewhere.
    #[serde(default)]
    pub without: Vec<Lack>,
    /// Ids of calls have nine letters or digits (Mistral).
    #[serde(default)]
    pub nine_character_ids: bool,
}

/// What a host may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    JsonSchema,
    Logprobs,
    MediaUrls,
    NamedTool,
    Penalties,
    ReasoningEffort,
    Stop,
    Tools,
}

// === impl Quirks ===

impl Quirks {
    pub fn is_empty(&self) -> bool {
        self.drop.is_empty() && self.rename.is_empty() && self.without.is_empty() && !self.nine_character_ids
    }

    /// What of it concerns the parameters of a body.
    pub fn body_rules(&'static self) -> BodyRules<'static> {
        BodyRules { drop: &self.drop, rename: &self.rename }
    }

    /// What a model takes, as this host serves it.
    pub(crate) fn apply(&self, profile: &mut Profile) {
        for lack in &self.without {
            match lack {
                Lack::JsonSchema => profile.json_schema = false,
                Lack::Logprobs => profile.logprobs = false,
                Lack::MediaUrls => profile.media_urls = false,
                Lack::NamedTool => profile.named_tool = false,
                Lack::Penalties => profile.penalties = false,
                Lack::ReasoningEffort => profile.thinking = ThinkingStyle::None,
                Lack::Stop => profile.stop = false,
                Lack::Tools => profile.tools = false,
            }
        }
        if self.nine_character_ids {
            profile.tool_ids = ToolIds::NineCharacters;
        }
    }
}
