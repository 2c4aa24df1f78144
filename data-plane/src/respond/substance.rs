//! Whether a stream that passes as it came has begun to say something.

use omniroute_wire::{
    codec::StreamDecoder,
    ir::{Event, StreamError},
    translate::decoder,
};

use super::lane::Kind;

/// Looks at the first events of a stream.
pub(crate) struct Substance {
    /// Still looking.
    decoder: Option<Box<dyn StreamDecoder>>,
    seen: bool,
}

// === impl Substance ===

impl Substance {
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Chat(format) => Self { decoder: Some(decoder(format)), seen: false },
            // Their first event is a picture.
            Kind::Embeddings | Kind::Images => Self { decoder: None, seen: true },
        }
    }

    /// Takes the next bytes of the upstream.
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        let Some(decoder) = &mut self.decoder else { return };
        let (mut seen, mut over) = (false, false);
        decoder.feed(bytes, &mut |event| match event {
            Event::PartStart { .. } | Event::Finish { .. } => seen = true,
            Event::Error(_) => over = true,
            _ => {}
        });
        self.seen |= seen;
        if seen || over {
            self.decoder = None;
        }
    }

    /// Whether something that a client would show has come.
    pub(crate) const fn is_seen(&self) -> bool {
        self.seen
    }

    /// Whether more would tell nothing: there is substance, or an error, if only for who would read all of it.
    pub(crate) const fn is_settled(&self) -> bool {
        self.decoder.is_none()
    }
}

/// What an error among these whole events says.
pub(super) fn error_in(kind: Kind, events: &[u8]) -> Option<StreamError> {
    let Kind::Chat(format) = kind else { return None };
    let mut found = None;
    decoder(format).feed(events, &mut |event| {
        if let Event::Error(error) = event {
            found.get_or_insert(error);
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use omniroute_wire::ir::Format;

    use super::*;

    #[test]
    fn what_says_nothing_yet_is_told_from_what_does() {
        for (format, nothing, something) in [
            (
                Format::OpenAiChat,
                ": OPENROUTER PROCESSING\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"hm\"}}]}\n\n",
            ),
            (
                Format::Anthropic,
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
                "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            ),
            (
                Format::OpenAiResponses,
                "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\nevent: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"response\":{\"id\":\"r\"}}\n\n",
                "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":0,\"delta\":\"x\"}\n\n",
            ),
        ] {
            let mut substance = Substance::of(Kind::Chat(format));
            substance.see(nothing.as_bytes());
            assert_eq!((substance.is_seen(), substance.is_settled()), (false, false), "{nothing}");
            substance.see(something.as_bytes());
            assert_eq!((substance.is_seen(), substance.is_settled()), (true, true), "{something}");
        }
        let mut broken = Substance::of(Kind::Chat(Format::OpenAiChat));
        broken.see(b"data: neither\n\n");
        assert_eq!((broken.is_seen(), broken.is_settled()), (false, true), "passes as it is");
    }
}
