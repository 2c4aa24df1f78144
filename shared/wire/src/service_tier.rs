//! The service for which a whole answer of OpenAI's formats was charged: `service_tier`, at the top of the object.

use memchr::memmem;

use crate::{object::wire_object, text::Str, usage::Service};

wire_object! {
    struct Answer<'a> {
        service_tier: Str<'a> = lenient "service_tier",
    }
}

/// Out of an answer as far as it is kept: one that has lost its middle tells nothing, and costs the usual price. The answer
/// repeats what the client sent as metadata, so only the field at the top counts, and the object is read; but only where a
/// word of an unusual service stands in it at all.
pub(crate) fn of_answer(text: &[u8]) -> Option<Service> {
    let is_worth_reading =
        ["\"batch\"", "\"flex\"", "\"priority\""].iter().any(|word| memmem::find(text, word.as_bytes()).is_some());
    if !is_worth_reading {
        return None;
    }
    let answer = serde_json::from_slice::<Answer<'_>>(text).ok()?;
    Service::parse(&answer.service_tier?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_field_at_the_top_counts() {
        for (answer, expected) in [
            (r#"{"id":"x","service_tier":"flex","usage":{}}"#, Some(Service::Flex)),
            (r#"{"service_tier":"priority"}"#, Some(Service::Priority)),
            (r#"{"service_tier":"default","metadata":{"service_tier":"batch"}}"#, None),
            (r#"{"metadata":{"service_tier":"batch"}}"#, None),
            (r#"{"service_tier":{"is":"batch"}}"#, None),
            (r#"{"service_tier":"flex","choices":[{"cut"#, None),
            ("", None),
        ] {
            assert_eq!(of_answer(answer.as_bytes()), expected, "{answer}");
        }
    }
}
