//! What a host that speaks Chat Completions does not take of it, or calls otherwise.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{object::read, object::wire_object, stable_id::has_nine_characters, text::Str};

/// Rules about the parameters of a body. All else in it stays as it is.
#[derive(Clone, Copy, Debug)]
pub struct BodyRules<'r> {
    /// Parameters that are left out.
    pub drop: &'r [&'static str],
    /// Parameters by OpenAI's name, and by the host's.
    pub rename: &'r BTreeMap<&'static str, &'static str>,
}

wire_object! {
    struct AnyObject<'a> {}
}

wire_object! {
    struct Conversation<'a> {
        messages: Vec<Message<'a>> = "messages",
    }
}

wire_object! {
    struct Message<'a> {
        tool_call_id: Str<'a> = lenient "tool_call_id",
        tool_calls: Vec<Call<'a>> = "tool_calls",
    }
}

wire_object! {
    struct Call<'a> {
        id: Str<'a> = lenient "id",
    }
}

/// Whether a body has ids of calls that are not nine letters or digits.
pub fn has_longer_ids(body: &[u8]) -> bool {
    // Most conversations have no call at all.
    if memchr::memmem::find(body, b"tool_call").is_none() {
        return false;
    }
    let Ok(conversation) = read::<Conversation<'_>>(body) else { return false };
    let is_longer = |id: &Option<Str<'_>>| id.as_ref().is_some_and(|id| !has_nine_characters(&id.0));
    conversation.messages.into_iter().flatten().any(|message| {
        is_longer(&message.tool_call_id) || message.tool_calls.into_iter().flatten().any(|call| is_longer(&call.id))
    })
}

// === impl BodyRules ===

impl BodyRules<'_> {
    pub fn is_empty(&self) -> bool {
        self.drop.is_empty() && self.rename.is_empty()
    }

    pub fn takes(&self, parameter: &str) -> bool {
        !self.drop.contains(&parameter)
    }

    /// The body as the host takes it; `None` when it does so already. Where a parameter is given by both names, that of the
    /// host counts.
    pub fn apply(&self, body: &[u8]) -> Option<Vec<u8>> {
        let fields = read::<AnyObject<'_>>(body).ok()?.rest;
        let renamed = |name: &str| self.rename.get(name).copied();
        if fields.iter().all(|(name, _)| self.takes(name) && renamed(name).is_none()) {
            return None;
        }
        let has = |wanted: &str| fields.iter().any(|(name, _)| name == wanted);
        let mut changed = Vec::with_capacity(body.len());
        changed.push(b'{');
        for (name, value) in &fields {
            let name = match renamed(name) {
                Some(theirs) if has(theirs) => continue,
                Some(theirs) => Cow::Borrowed(theirs),
                None if !self.takes(name) => continue,
                None => Cow::Borrowed(name.as_ref()),
            };
            if changed.len() > 1 {
                changed.push(b',');
            }
            changed.extend_from_slice(&super::passthrough::quoted(&name));
            changed.push(b':');
            changed.extend_from_slice(value.get().as_bytes());
        }
        changed.push(b'}');
        Some(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_refuses_is_left_out_and_what_it_calls_otherwise_is_renamed() {
        let rename = BTreeMap::from([("max_completion_tokens", "max_tokens"), ("seed", "random_seed")]);
        let rules = BodyRules { drop: &["stream_options", "user"], rename: &rename };
        for (body, expected) in [
            (
                r#"{"model":"m","stream_options":{"include_usage":true},"seed":7,"messages":[{"content":"stream_options"}]}"#,
                Some(r#"{"model":"m","random_seed":7,"messages":[{"content":"stream_options"}]}"#),
            ),
            (r#"{"user":"u","max_completion_tokens": 1.0}"#, Some(r#"{"max_tokens":1.0}"#)),
            (r#"{"max_tokens":1,"max_completion_tokens":2,"x":[ 1 ]}"#, Some(r#"{"max_tokens":1,"x":[ 1 ]}"#)),
            (r#"{"user":"u"}"#, Some("{}")),
            (r#"{"\u0075ser":"u","odd \" name":1}"#, Some(r#"{"odd \" name":1}"#)),
            (r#"{"model":"m"}"#, None),
            ("[]", None),
            ("{", None),
        ] {
            let changed = rules.apply(body.as_bytes()).map(|body| String::from_utf8(body).expect("text"));
            assert_eq!(changed.as_deref(), expected, "{body}");
        }
        assert!(!rules.takes("user") && rules.takes("model") && !rules.is_empty());
    }

    #[test]
    fn ids_that_are_not_the_hosts_own_are_found() {
        for (body, found) in [
            (r#"{"messages":[{"role":"user","content":"tool_call_id"}]}"#, false),
            (r#"{"messages":[{"role":"tool","tool_call_id":"aB3dE6gH9"}]}"#, false),
            (r#"{"messages":[{"role":"tool","tool_call_id":"call_abcdef"}]}"#, true),
            (r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"aB3dE6gH9"},{"id":"toolu_1"}]}]}"#, true),
            (r#"{"messages":[{"role":"assistant","tool_calls":null}]}"#, false),
            ("tool_call", false),
        ] {
            assert_eq!(has_longer_ids(body.as_bytes()), found, "{body}");
        }
    }
}
