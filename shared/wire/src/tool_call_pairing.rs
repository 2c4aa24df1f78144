//! Rounds of calls for targets that refuse a call without its result and a result without its call: clients cut their
//! histories, stop in the middle of a round, and say something in between.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
};

use crate::{
    ir::{Extensions, Family, Format, Losses, Part, Request, Role, Turn},
    tools::orphan_text,
};

/// Extension of Responses: the `phase` of messages, as an object from `turn.part` to the word.
pub(crate) const PHASES: &str = "input.phase";

/// What stands for a result that never came.
const NO_RESULT: &str = "No result of this call was recorded.";

/// The request with every result directly behind its call: itself, nearly always. A call without a result gets one that says
/// so; a result without a call becomes a text. Both are listed.
pub(crate) fn paired<'r, 'a>(request: &'r Request<'a>, target: Format, losses: &mut Losses) -> Cow<'r, Request<'a>> {
    if is_paired(&request.turns) || goes_on_elsewhere(request, target) {
        return Cow::Borrowed(request);
    }
    let mut mended = request.clone();
    mend(&mut mended, losses);
    Cow::Owned(mended)
}

/// Whether the rest of the conversation may lie with the vendor, or in items that only it reads.
fn goes_on_elsewhere(request: &Request<'_>, target: Format) -> bool {
    if request.format != Format::OpenAiResponses || target != Format::OpenAiResponses {
        return false;
    }
    let is_items = |part: &Part<'_>| matches!(part, Part::ServerTool { family: Family::OpenAi, .. });
    ["previous_response_id", "conversation", "prompt"].into_iter().any(|name| request.extensions.get(name).is_some())
        || request.turns.iter().flat_map(|turn| &turn.parts).any(is_items)
}

fn is_paired(turns: &[Turn<'_>]) -> bool {
    let mut open: Vec<&str> = Vec::new();
    for turn in turns {
        for part in &turn.parts {
            let Part::ToolResult { call_id, .. } = part else { continue };
            let Some(at) = open.iter().position(|id| id == call_id) else { return false };
            open.swap_remove(at);
        }
        let says_more = turn.parts.iter().any(|part| !matches!(part, Part::ToolResult { .. }));
        if says_more && !open.is_empty() {
            return false;
        }
        if turn.role == Role::Assistant {
            open.extend(calls_of(turn).map(|(id, _)| id));
        }
    }
    open.is_empty()
}

fn calls_of<'t>(turn: &'t Turn<'_>) -> impl Iterator<Item = (&'t str, &'t str)> {
    turn.parts.iter().filter_map(|part| match part {
        Part::ToolCall { id, name, .. } => Some((id.as_ref(), name.as_ref())),
        _ => None,
    })
}

fn mend(request: &mut Request<'_>, losses: &mut Losses) {
    let mut turns: Vec<Turn<'_>> = std::mem::take(&mut request.turns);
    let mut results = results_of(&turns);
    // Results that have found their call stand there already.
    let mut taken: Vec<Vec<bool>> = turns.iter().map(|turn| vec![false; turn.parts.len()]).collect();
    let mut out = Vec::with_capacity(turns.len() + 1);
    let mut starts = Vec::with_capacity(turns.len() + 1);
    for number in 0..turns.len() {
        starts.push(out.len());
        let turn = std::mem::replace(&mut turns[number], Turn { role: Role::User, parts: Vec::new(), name: None });
        let Turn { role, parts, name } = turn;
        let kept: Vec<Part<'_>> = parts
            .into_iter()
            .zip(&taken[number])
            .filter(|(_, is_taken)| !**is_taken)
            .map(|(part, _)| match part {
                // Its call would have taken it.
                Part::ToolResult { parts, .. } => Part::text(orphan_text(&parts, losses)),
                part => part,
            })
            .collect();
        if kept.is_empty() && !taken[number].is_empty() {
            continue;
        }
        let role = if role == Role::Tool { Role::User } else { role };
        let turn = Turn { role, parts: kept, name };
        let mut round = Vec::new();
        if role == Role::Assistant {
            for (id, tool) in calls_of(&turn) {
                let found = results.get_mut(id).and_then(|places| {
                    // What stands before the call belongs to none.
                    while places.front().is_some_and(|(at, _)| *at <= number) {
                        places.pop_front();
                    }
                    places.pop_front()
                });
                round.push(match found {
                    Some((at, index)) => {
                        taken[at][index] = true;
                        std::mem::replace(&mut turns[at].parts[index], Part::text(""))
                    }
                    None => {
                        losses.drop_field("tool_calls.result");
                        Part::ToolResult {
                            call_id: id.to_owned().into(),
                            name: Some(tool.to_owned().into()),
                            parts: vec![Part::text(NO_RESULT)],
                            is_error: true,
                            cache: None,
                        }
                    }
                });
            }
        }
        out.push(turn);
        if !round.is_empty() {
            out.push(Turn { role: Role::Tool, parts: round, name: None });
        }
    }
    starts.push(out.len());
    request.turns = out;
    for system in &mut request.system {
        system.position = starts.get(system.position).copied().unwrap_or(request.turns.len());
    }
    // They name turns by their numbers.
    if request.format == Format::OpenAiResponses {
        let Extensions(all) = &mut request.extensions;
        all.retain(|(path, _)| path != PHASES);
    }
}

/// Where the results of each call stand, in their order.
fn results_of(turns: &[Turn<'_>]) -> HashMap<String, VecDeque<(usize, usize)>> {
    let mut results: HashMap<String, VecDeque<(usize, usize)>> = HashMap::new();
    for (number, turn) in turns.iter().enumerate() {
        for (index, part) in turn.parts.iter().enumerate() {
            if let Part::ToolResult { call_id, .. } = part {
                results.entry(call_id.to_string()).or_default().push_back((number, index));
            }
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{CallKind, SystemPart, SystemRole};

    fn call(id: &'static str) -> Part<'static> {
        Part::ToolCall {
            id: id.into(),
            name: "f".into(),
            arguments: "{}".into(),
            kind: CallKind::Function,
            signature: None,
            cache: None,
        }
    }

    fn result(id: &'static str) -> Part<'static> {
        Part::ToolResult {
            call_id: id.into(),
            name: None,
            parts: vec![Part::text(format!("result of {id}"))],
            is_error: false,
            cache: None,
        }
    }

    fn turn(role: Role, parts: Vec<Part<'static>>) -> Turn<'static> {
        Turn { role, parts, name: None }
    }

    fn asked(turns: Vec<Turn<'static>>) -> Request<'static> {
        let mut request = Request::new(Format::OpenAiChat, "m");
        request.turns = turns;
        request
    }

    /// Turns in short: `a:c1` for an assistant's call, `t:c1` for its result, `t:c1!` for one made up, words for texts.
    fn short(request: &Request<'_>) -> Vec<String> {
        let part = |part: &Part<'_>| match part {
            Part::Text { text, .. } => text.replace('\n', "|"),
            Part::ToolCall { id, .. } => id.to_string(),
            Part::ToolResult { call_id, is_error, .. } => format!("{call_id}{}", if *is_error { "!" } else { "" }),
            _ => "?".to_owned(),
        };
        let letter = |role| match role {
            Role::User => "u",
            Role::Assistant => "a",
            Role::Tool => "t",
        };
        let parts = |turn: &Turn<'_>| turn.parts.iter().map(part).collect::<Vec<_>>().join(",");
        request.turns.iter().map(|turn| format!("{}:{}", letter(turn.role), parts(turn))).collect()
    }

    #[test]
    fn what_is_in_order_is_not_touched() {
        let request = asked(vec![
            turn(Role::User, vec![Part::text("hi")]),
            turn(Role::Assistant, vec![call("1"), call("2")]),
            turn(Role::Tool, vec![result("2")]),
            turn(Role::Tool, vec![result("1"), Part::text("and more")]),
            turn(Role::Assistant, vec![call("1")]),
            turn(Role::Tool, vec![result("1")]),
        ]);
        let mut losses = Losses::default();
        assert!(matches!(paired(&request, Format::OpenAiChat, &mut losses), Cow::Borrowed(_)));
        assert!(losses.is_empty());
    }

    #[test]
    fn each_call_gets_one_result_and_what_is_left_over_becomes_text() {
        let mut request = asked(vec![
            turn(Role::Tool, vec![result("0")]),
            turn(Role::Assistant, vec![call("1"), call("2")]),
            turn(Role::User, vec![Part::text("wait")]),
            turn(Role::User, vec![result("2"), result("2"), Part::text("go on")]),
            turn(Role::Assistant, vec![Part::text("well"), call("3")]),
        ]);
        let system = |position| SystemPart { text: "s".into(), role: SystemRole::System, position, cache: None };
        request.system = vec![system(0), system(2), system(4), system(5)];
        let mut losses = Losses::default();
        let mended = paired(&request, Format::OpenAiChat, &mut losses);
        let gone = "[Result of a tool call that is not part of this conversation any more]";
        assert_eq!(
            short(&mended),
            [
                format!("u:{gone}|result of 0"),
                "a:1,2".to_owned(),
                "t:1!,2".to_owned(),
                "u:wait".to_owned(),
                format!("u:{gone}|result of 2,go on"),
                "a:well,3".to_owned(),
                "t:3!".to_owned(),
            ]
        );
        assert!(is_paired(&mended.turns));
        let positions: Vec<_> = mended.system.iter().map(|part| part.position).collect();
        assert_eq!(positions, [0, 3, 5, 7], "system texts stay before the turns that they stood before");
        assert_eq!(losses.names().collect::<Vec<_>>(), ["tool_result.tool_use_id", "tool_calls.result"]);
    }

    #[test]
    fn a_conversation_of_which_a_part_lies_with_the_vendor_is_left_alone() {
        let mut request = asked(vec![turn(Role::Tool, vec![result("0")])]);
        request.format = Format::OpenAiResponses;
        let raw = crate::ir::Json::from_string("\"resp_1\"".to_owned()).expect("valid");
        request.extensions.push("previous_response_id", raw);
        let mut losses = Losses::default();
        assert!(matches!(paired(&request, Format::OpenAiResponses, &mut losses), Cow::Borrowed(_)));
        assert!(matches!(paired(&request, Format::Ollama, &mut losses), Cow::Owned(_)));
    }
}
