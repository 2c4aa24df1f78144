//! The model and the action are in the path: `models/{model}:{action}`.

/// What the path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    GenerateContent,
    StreamGenerateContent,
    CountTokens,
    EmbedContent,
    BatchEmbedContents,
}

/// How a stream is put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// `alt=sse`.
    Sse,
    /// One JSON array, sent element by element.
    JsonArray,
}

// === impl Action ===

impl Action {
    pub const ALL: [Self; 5] = [
        Self::GenerateContent,
        Self::StreamGenerateContent,
        Self::CountTokens,
        Self::EmbedContent,
        Self::BatchEmbedContents,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GenerateContent => "generateContent",
            Self::StreamGenerateContent => "streamGenerateContent",
            Self::CountTokens => "countTokens",
            Self::EmbedContent => "embedContent",
            Self::BatchEmbedContents => "batchEmbedContents",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

/// Splits `models/a/b:generateContent` (what follows `/v1beta/`) into the model `a/b` and the action. The model's own name may
/// hold slashes and colons, so the last colon counts; `models/` may be missing.
pub fn parse_path(path: &str) -> Option<(&str, Action)> {
    let (model, word) = path.trim_start_matches('/').rsplit_once(':')?;
    let model = plain_model(model);
    let action = Action::parse(word)?;
    (!model.is_empty()).then_some((model, action))
}

/// The path of a request to an upstream, behind its `/v1beta/`.
pub fn upstream_path(model: &str, action: Action, framing: Framing) -> String {
    let prefix = if model.starts_with("models/") || model.starts_with("tunedModels/") { "" } else { "models/" };
    let sse = action == Action::StreamGenerateContent && framing == Framing::Sse;
    format!("{prefix}{model}:{}{}", action.as_str(), if sse { "?alt=sse" } else { "" })
}

/// Clients write model names with and without `models/`.
pub(super) fn plain_model(model: &str) -> &str {
    model.strip_prefix("models/").unwrap_or(model)
}

/// The major version of a Gemini model by its name. The `-latest` names point at the newest family.
pub(super) fn major_version(model: &str) -> Option<u32> {
    let name = model.rsplit('/').next().unwrap_or(model);
    let rest = name.strip_prefix("gemini-")?;
    if rest.ends_with("-latest") && !rest.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(3);
    }
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_at_the_last_colon() {
        for (path, expected) in [
            ("models/gemini-2.5-pro:generateContent", Some(("gemini-2.5-pro", Action::GenerateContent))),
            (
                "google/gemini-2.5-pro:streamGenerateContent",
                Some(("google/gemini-2.5-pro", Action::StreamGenerateContent)),
            ),
            ("models/ollama/qwen3:8b:countTokens", Some(("ollama/qwen3:8b", Action::CountTokens))),
            ("/models/m:batchEmbedContents", Some(("m", Action::BatchEmbedContents))),
            ("models/:generateContent", None),
            ("models/m:fly", None),
            ("models/m", None),
        ] {
            assert_eq!(parse_path(path), expected, "{path}");
        }
    }

    #[test]
    fn upstream_paths_ask_for_events_only_on_a_stream() {
        for (model, action, framing, expected) in [
            (
                "gemini-3-pro",
                Action::StreamGenerateContent,
                Framing::Sse,
                "models/gemini-3-pro:streamGenerateContent?alt=sse",
            ),
            ("models/m", Action::StreamGenerateContent, Framing::JsonArray, "models/m:streamGenerateContent"),
            ("tunedModels/m", Action::GenerateContent, Framing::Sse, "tunedModels/m:generateContent"),
        ] {
            assert_eq!(upstream_path(model, action, framing), expected);
        }
    }

    #[test]
    fn versions_are_read_from_the_name() {
        for (model, version) in [
            ("gemini-3-pro-preview", Some(3)),
            ("google/gemini-3.5-flash", Some(3)),
            ("gemini-2.5-pro", Some(2)),
            ("gemini-10.0", Some(10)),
            ("gemini-flash-latest", Some(3)),
            ("gemini-2.5-flash-latest", Some(2)),
            ("gemma-4", None),
            ("gemini-", None),
        ] {
            assert_eq!(major_version(model), version, "{model}");
        }
    }
}
