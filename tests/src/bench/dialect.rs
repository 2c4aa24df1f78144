//! The formats in which the bench asks and its upstream answers.

use memchr::memmem;

/// A format of requests and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// OpenAI's Chat Completions.
    Chat,
    /// Anthropic's Messages.
    Messages,
    /// OpenAI's Responses. Nothing here answers in it but the gateway.
    Responses,
}

// === impl Dialect ===

impl Dialect {
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Messages => "/v1/messages",
            Self::Responses => "/v1/responses",
        }
    }

    /// Chat, where nothing else has this path.
    pub(super) fn of_path(path: &str) -> Self {
        [Self::Messages, Self::Responses].into_iter().find(|one| one.path() == path).unwrap_or(Self::Chat)
    }

    /// The gateway's connection to an upstream that speaks this has this prefix; the upstream is asked without it.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses => "bench",
            Self::Messages => "bench-messages",
        }
    }

    /// Whether these bytes, the last of an answer and all of its last event, are how a whole answer ends.
    pub(super) fn is_end_of_stream(self, last: &[u8]) -> bool {
        let (data, event) = match self {
            Self::Chat => ("data: [DONE]\n\n", None),
            Self::Messages => ("data: {\"type\":\"message_stop\"}\n\n", Some("event: message_stop\n")),
            Self::Responses => ("}\n\n", Some("event: response.completed\n")),
        };
        let Some(rest) = last.strip_suffix(data.as_bytes()) else { return false };
        let begin = memmem::rfind(rest, b"\n\n").map_or(0, |end| end + 2);
        event.is_none_or(|event| rest[begin..].starts_with(event.as_bytes()))
    }

    /// The text that an answer gives, read event by event.
    ///
    /// # Errors
    /// When an event is not JSON.
    pub(super) fn text_of_stream(self, stream: &[u8]) -> anyhow::Result<String> {
        let mut text = String::new();
        for line in String::from_utf8_lossy(stream).lines() {
            let Some(data) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") else { continue };
            let event: serde_json::Value = serde_json::from_str(data)?;
            let delta = match self {
                Self::Chat => &event["choices"][0]["delta"]["content"],
                Self::Messages => &event["delta"]["text"],
                Self::Responses if event["type"] == "response.output_text.delta" => &event["delta"],
                Self::Responses => continue,
            };
            text.push_str(delta.as_str().unwrap_or_default());
        }
        Ok(text)
    }

    /// The text of an answer in one piece.
    ///
    /// # Errors
    /// When it is not JSON.
    pub(super) fn text_of_document(self, document: &[u8]) -> anyhow::Result<String> {
        let document: serde_json::Value = serde_json::from_slice(document)?;
        let text = match self {
            Self::Chat => &document["choices"][0]["message"]["content"],
            Self::Messages => &document["content"][0]["text"],
            Self::Responses => &document["output"][0]["content"][0]["text"],
        };
        Ok(text.as_str().unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_breaks_off_has_no_end() {
        let whole = [
            (Dialect::Chat, "data: {}\n\ndata: [DONE]\n\n"),
            (
                Dialect::Messages,
                "event: message_delta\ndata: {}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            ),
            (Dialect::Responses, "event: response.completed\ndata: {\"response\":{}}\n\n"),
        ];
        for (dialect, text) in whole {
            assert!(dialect.is_end_of_stream(text.as_bytes()), "{text}");
            assert!(!dialect.is_end_of_stream(&text.as_bytes()[..text.len() - 1]), "{text}");
        }
        let failed = "event: response.completed\ndata: {}\n\nevent: response.failed\ndata: {}\n\n";
        assert!(!Dialect::Responses.is_end_of_stream(failed.as_bytes()));
        assert!(!Dialect::Messages.is_end_of_stream(b"event: error\ndata: {\"type\":\"error\"}\n\n"));
    }

    #[test]
    fn text_is_read_from_its_own_events_alone() {
        let stream = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n\
                      event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"text\":\"a\"}\n\n";
        assert_eq!(Dialect::Responses.text_of_stream(stream.as_bytes()).expect("events"), "a");
        let stream =
            "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\ndata: {\"choices\":[]}\n\ndata: [DONE]\n\n";
        assert_eq!(Dialect::Chat.text_of_stream(stream.as_bytes()).expect("events"), "b");
        assert!(Dialect::Chat.text_of_stream(b"data: {\n\n").is_err());
    }
}
