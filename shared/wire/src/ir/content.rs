//! What turns are made of.

use std::borrow::Cow;

use super::{Family, Json};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    User,
    Assistant,
    /// Carries [`Part::ToolResult`]s only.
    Tool,
}

/// Which word the client used for a system text: some models rank a developer's below the platform's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SystemRole {
    System,
    Developer,
}

/// A system text and where it stood.
#[derive(Clone, Debug, PartialEq)]
pub struct SystemPart<'a> {
    pub text: Cow<'a, str>,
    pub role: SystemRole,
    /// Number of turns before it; 0 is in front.
    pub position: usize,
    pub cache: Option<CacheMark>,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn<'a> {
    pub role: Role,
    pub parts: Vec<Part<'a>>,
    /// The speaker's name, where the format has one.
    pub name: Option<Cow<'a, str>>,
}

/// A piece of a turn. Strings borrow from the body; base64 stays base64 unless a target needs bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Part<'a> {
    Text {
        text: Cow<'a, str>,
        annotations: Vec<Annotation<'a>>,
        cache: Option<CacheMark>,
    },
    Image {
        source: Source<'a>,
        /// "low", "high", "auto".
        detail: Option<Cow<'a, str>>,
        cache: Option<CacheMark>,
    },
    Audio {
        source: Source<'a>,
        /// Container as OpenAI names it ("wav", "mp3"), when the media type alone does not say.
        format: Option<Cow<'a, str>>,
        transcript: Option<Cow<'a, str>>,
    },
    Video {
        source: Source<'a>,
    },
    Document {
        source: Source<'a>,
        name: Option<Cow<'a, str>>,
        /// Text that introduces it.
        context: Option<Cow<'a, str>>,
        citations: bool,
        cache: Option<CacheMark>,
    },
    Thinking {
        text: Cow<'a, str>,
        signature: Option<Signature<'a>>,
    },
    /// Thinking that only its maker can read.
    RedactedThinking {
        data: Signature<'a>,
    },
    ToolCall {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        /// Raw JSON text for [`CallKind::Function`], free text for [`CallKind::Custom`]. Never re-printed.
        arguments: Cow<'a, str>,
        kind: CallKind,
        signature: Option<Signature<'a>>,
        cache: Option<CacheMark>,
    },
    ToolResult {
        call_id: Cow<'a, str>,
        /// Name of the tool, when the format says it or the call was seen.
        name: Option<Cow<'a, str>>,
        /// Text, images and documents.
        parts: Vec<Part<'a>>,
        is_error: bool,
        cache: Option<CacheMark>,
    },
    /// A block of a tool that its vendor runs. Goes back to the same family only.
    ServerTool {
        family: Family,
        raw: Json<'a>,
    },
    Refusal {
        text: Cow<'a, str>,
    },
}

/// Where media come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source<'a> {
    Url(Cow<'a, str>),
    /// Base64, as it came.
    Inline {
        media_type: Cow<'a, str>,
        data: Cow<'a, str>,
    },
    /// Plain text (Anthropic's text documents).
    Text(Cow<'a, str>),
    /// A file that the vendor of that family holds.
    File {
        id: Cow<'a, str>,
        owner: Family,
    },
}

/// How a tool's input is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// A JSON object.
    Function,
    /// Free text, possibly under a grammar.
    Custom,
}

/// An opaque proof of thinking. Good only for the family that made it, often only for its model and account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    pub family: Family,
    pub payload: Cow<'a, str>,
}

/// "Everything up to here may be cached."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMark {
    FiveMinutes,
    OneHour,
}

/// A citation of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation<'a> {
    pub url: Option<Cow<'a, str>>,
    pub title: Option<Cow<'a, str>>,
    pub cited_text: Option<Cow<'a, str>>,
    /// Character offsets into the text.
    pub start: Option<u64>,
    pub end: Option<u64>,
    /// The vendor's own form, written back to the same family.
    pub family: Family,
    pub raw: Option<Json<'a>>,
}

/// Fields of one format that the IR has no place for, by path (`"logit_bias"`, `"messages.3.x"`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extensions<'a>(pub Vec<(Cow<'a, str>, Json<'a>)>);

// === impl Part ===

impl<'a> Part<'a> {
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text { text: text.into(), annotations: Vec::new(), cache: None }
    }

    /// Whether it is more than white space.
    pub(crate) fn says_something(&self) -> bool {
        match self {
            Self::Text { text, .. } | Self::Refusal { text } => !text.trim().is_empty(),
            _ => true,
        }
    }

    /// Whether it, or a part of a result in it, has a cache mark.
    pub(crate) fn is_marked(&self) -> bool {
        match self {
            Self::ToolResult { cache, parts, .. } => cache.is_some() || parts.iter().any(Self::is_marked),
            Self::Text { cache, .. }
            | Self::Image { cache, .. }
            | Self::Document { cache, .. }
            | Self::ToolCall { cache, .. } => cache.is_some(),
            _ => false,
        }
    }

    /// Bytes of its long fields.
    pub(crate) fn size_hint(&self) -> usize {
        match self {
            Self::Text { text, .. } | Self::Thinking { text, .. } | Self::Refusal { text } => text.len(),
            Self::ToolCall { arguments, .. } => arguments.len() + 128,
            Self::ToolResult { parts, .. } => parts.iter().map(Self::size_hint).sum::<usize>() + 128,
            Self::Image { source, .. }
            | Self::Audio { source, .. }
            | Self::Video { source }
            | Self::Document { source, .. } => match source {
                Source::Url(text) | Source::Text(text) | Source::Inline { data: text, .. } => text.len(),
                Source::File { .. } => 64,
            },
            Self::RedactedThinking { data } => data.payload.len(),
            Self::ServerTool { raw, .. } => raw.as_str().len(),
        }
    }

    /// The cache mark, for the kinds that can carry one.
    pub fn cache_mut(&mut self) -> Option<&mut Option<CacheMark>> {
        match self {
            Self::Text { cache, .. }
            | Self::Image { cache, .. }
            | Self::Document { cache, .. }
            | Self::ToolCall { cache, .. }
            | Self::ToolResult { cache, .. } => Some(cache),
            _ => None,
        }
    }
}

// === impl Annotation ===

impl Annotation<'_> {
    pub fn into_owned(self) -> Annotation<'static> {
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Annotation {
            url: own(self.url),
            title: own(self.title),
            cited_text: own(self.cited_text),
            start: self.start,
            end: self.end,
            family: self.family,
            raw: self.raw.map(Json::into_owned),
        }
    }
}

// === impl Extensions ===

impl<'a> Extensions<'a> {
    pub fn push(&mut self, path: impl Into<Cow<'a, str>>, raw: impl Into<Json<'a>>) {
        self.0.push((path.into(), raw.into()));
    }

    pub fn get(&self, path: &str) -> Option<&Json<'a>> {
        self.0.iter().find(|(own, _)| own == path).map(|(_, raw)| raw)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(path, raw)| (path.as_ref(), raw))
    }
}
