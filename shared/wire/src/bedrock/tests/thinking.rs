use serde_json::{Value, json};

use super::{CLAUDE, LLAMA, NOVA, call, encode, plain_profile, request, result, turn};
use crate::ir::{
    Effort, EffortScale, Family, Format, Part, Profile, Reasoning, Request, Role, Signature, ThinkingStyle, Tool,
    ToolChoice, ToolKind, Turn,
};

fn budget() -> Profile {
    let thinking = ThinkingStyle::Budget { min: 1_024, max: 60_000, can_disable: true };
    Profile { thinking, ..plain_profile() }
}

fn adaptive() -> Profile {
    let efforts = EffortScale(vec![Effort::Low, Effort::Medium, Effort::High, Effort::Max]);
    Profile { thinking: ThinkingStyle::Adaptive, efforts, fixed_sampling: true, ..plain_profile() }
}

fn asking(reasoning: Reasoning) -> Request<'static> {
    let mut request = request(vec![turn(Role::User, vec![Part::text("x")])]);
    request.reasoning = Some(reasoning);
    request
}

fn on() -> Reasoning {
    Reasoning { enabled: Some(true), ..Reasoning::default() }
}

fn fields(request: &Request<'_>, model: &str, profile: &Profile) -> (Value, Vec<String>) {
    let (body, losses) = encode(request, model, profile).expect("encoded");
    (body["additionalModelRequestFields"].clone(), losses)
}

#[test]
fn a_budget_leaves_room_for_the_answer() {
    for (reasoning, max_tokens, expected, limit) in [
        (Reasoning { effort: Some(Effort::Medium), ..Reasoning::default() }, Some(20_000), 10_000, 20_000),
        (Reasoning { budget: Some(5_000), ..Reasoning::default() }, Some(4_000), 3_999, 4_000),
        (Reasoning { budget: Some(100), ..Reasoning::default() }, None, 1_024, 5_120),
        (Reasoning { budget: Some(900_000), ..on() }, None, 60_000, 64_096),
        (on(), None, 10_000, 14_096),
    ] {
        let mut request = asking(reasoning);
        request.max_tokens = max_tokens;
        let (body, losses) = encode(&request, CLAUDE, &budget()).expect("encoded");
        let thinking = &body["additionalModelRequestFields"]["thinking"];
        assert_eq!(thinking, &json!({"type": "enabled", "budget_tokens": expected}), "{reasoning:?}");
        assert_eq!((&body["inferenceConfig"]["maxTokens"], losses), (&json!(limit), Vec::new()), "{reasoning:?}");
    }
    let mut request = asking(on());
    request.max_tokens = Some(1_000);
    assert_eq!(fields(&request, CLAUDE, &budget()), (json!(null), vec!["reasoning".to_owned()]), "no room at all");
}

#[test]
fn off_means_that_nothing_is_said() {
    for reasoning in [
        Reasoning { enabled: Some(false), budget: Some(4_000), ..Reasoning::default() },
        Reasoning { effort: Some(Effort::None), ..Reasoning::default() },
        Reasoning { visible: Some(true), ..Reasoning::default() },
    ] {
        for profile in [budget(), adaptive()] {
            assert_eq!(fields(&asking(reasoning), CLAUDE, &profile), (json!(null), Vec::new()), "{reasoning:?}");
        }
    }
}

fn shown() -> serde_json::Value {
    json!({"type": "adaptive", "display": "summarized"})
}

#[test]
fn adaptive_models_get_an_effort_and_whether_thoughts_are_shown() {
    for (reasoning, thinking, effort) in [
        (Reasoning { adaptive: true, ..on() }, shown(), json!(null)),
        (Reasoning { effort: Some(Effort::Max), ..on() }, shown(), json!({"effort": "max"})),
        (Reasoning { effort: Some(Effort::Minimal), ..on() }, shown(), json!({"effort": "low"})),
        (Reasoning { budget: Some(32_000), ..on() }, shown(), json!({"effort": "high"})),
        (Reasoning { visible: Some(true), ..on() }, shown(), json!(null)),
        (Reasoning { visible: Some(false), ..on() }, json!({"type": "adaptive", "display": "omitted"}), json!(null)),
    ] {
        let mut request = asking(reasoning);
        request.format = Format::OpenAiChat;
        let (body, losses) = encode(&request, CLAUDE, &adaptive()).expect("encoded");
        assert_eq!(body["additionalModelRequestFields"]["thinking"], thinking, "{reasoning:?}");
        let moved = reasoning.effort == Some(Effort::Minimal);
        let listed = if moved { vec!["reasoning_effort".to_owned()] } else { Vec::new() };
        assert_eq!((&body["outputConfig"], losses), (&effort, listed), "{reasoning:?}");
    }
    // An Anthropic client says itself whether it wants to see them.
    let own = asking(Reasoning { adaptive: true, ..on() });
    let (body, _) = encode(&own, CLAUDE, &adaptive()).expect("encoded");
    assert_eq!(body["additionalModelRequestFields"]["thinking"], json!({"type": "adaptive"}));
}

#[test]
fn each_vendor_is_told_in_its_own_words() {
    let effort = |effort| Reasoning { effort: Some(effort), ..Reasoning::default() };
    let (nova, losses) = fields(&asking(effort(Effort::Low)), NOVA, &plain_profile());
    assert_eq!(nova, json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}));
    assert!(losses.is_empty());
    assert_eq!(
        fields(&asking(effort(Effort::None)), NOVA, &plain_profile()).0,
        json!({"reasoningConfig": {"type": "disabled"}})
    );
    assert_eq!(
        fields(&asking(effort(Effort::Max)), "openai.gpt-oss-120b-1:0", &plain_profile()).0,
        json!({"reasoning_effort": "high"})
    );
    for model in [LLAMA, "amazon.nova-pro-v1:0", CLAUDE] {
        let silent = fields(&asking(effort(Effort::High)), model, &plain_profile());
        assert_eq!(silent, (json!(null), vec!["reasoning".to_owned()]), "{model}");
    }
    // The ARN of an application's own profile says nothing of the vendor; only Claude has budgets.
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
    assert_eq!(fields(&asking(on()), arn, &budget()).0["thinking"]["type"], "enabled");
}

#[test]
fn nova_at_its_highest_effort_takes_no_sampling_and_no_limit() {
    let mut request = asking(Reasoning { effort: Some(Effort::High), ..Reasoning::default() });
    request.max_tokens = Some(100);
    request.sampling.temperature = Some(0.5);
    request.sampling.top_p = Some(0.5);
    let (body, losses) = encode(&request, NOVA, &plain_profile()).expect("encoded");
    assert_eq!(body.get("inferenceConfig"), None);
    assert_eq!(losses, ["max_tokens", "temperature", "top_p"]);
}

#[test]
fn a_thinking_claude_takes_little_sampling() {
    let mut request = asking(on());
    request.sampling.temperature = Some(0.2);
    request.sampling.top_p = Some(0.5);
    request.sampling.top_k = Some(5);
    let (body, losses) = encode(&request, CLAUDE, &budget()).expect("encoded");
    assert_eq!(body["inferenceConfig"], json!({"maxTokens": 14_096}));
    assert_eq!(losses, ["temperature", "top_p", "top_k"]);
    request.sampling.temperature = Some(1.0);
    request.sampling.top_p = Some(0.97);
    request.sampling.top_k = None;
    let (body, losses) = encode(&request, CLAUDE, &budget()).expect("encoded");
    assert_eq!((&body["inferenceConfig"]["topP"], losses), (&json!(0.97), Vec::new()), "a temperature of 1 is its own");
    // Not thinking, newer Claudes take one of the two.
    request.reasoning = None;
    let (body, losses) = encode(&request, CLAUDE, &plain_profile()).expect("encoded");
    assert_eq!((&body["inferenceConfig"], losses), (&json!({"temperature": 1.0}), vec!["top_p".to_owned()]));
}

#[test]
fn a_forced_tool_switches_thinking_off() {
    let mut request = asking(on());
    request.tools.push(Tool {
        name: "f".into(),
        description: None,
        kind: ToolKind::Function { schema: None, strict: None },
        namespace: None,
        cache: None,
    });
    request.tool_choice = Some(ToolChoice::Required);
    for profile in [budget(), adaptive()] {
        assert_eq!(fields(&request, CLAUDE, &profile), (json!(null), vec!["reasoning".to_owned()]));
    }
}

fn thought(family: Option<Family>) -> Part<'static> {
    let signature = family.map(|family| Signature { family, payload: "sig".into() });
    Part::Thinking { text: "hm".into(), signature }
}

fn round(first: Part<'static>) -> Vec<Turn<'static>> {
    vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(Role::Assistant, vec![first, Part::text("I look."), call("a", "f", "{}")]),
        turn(Role::Tool, vec![result("a", vec![Part::text("1")], false)]),
    ]
}

#[test]
fn an_open_round_needs_a_thought_signed_for_claude() {
    for family in [Family::Bedrock, Family::Anthropic] {
        let mut request = request(round(thought(Some(family))));
        request.reasoning = Some(on());
        let (body, losses) = encode(&request, CLAUDE, &budget()).expect("encoded");
        assert_eq!(
            body["messages"][1]["content"][0],
            json!({"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}})
        );
        assert!(losses.is_empty() && body["additionalModelRequestFields"]["thinking"].is_object());
    }
    for family in [None, Some(Family::OpenAi), Some(Family::Gemini)] {
        let mut request = request(round(thought(family)));
        request.reasoning = Some(on());
        let (body, losses) = encode(&request, CLAUDE, &budget()).expect("encoded");
        assert_eq!(body["messages"][1]["content"][0], json!({"text": "I look."}));
        assert_eq!(
            (body.get("additionalModelRequestFields"), losses),
            (None, vec!["reasoning".to_owned(), "thinking".to_owned()])
        );
        // One that decides by itself does not mind.
        let (body, losses) = encode(&request, CLAUDE, &adaptive()).expect("encoded");
        assert!(body["additionalModelRequestFields"]["thinking"].is_object());
        assert_eq!(losses, ["thinking"]);
    }
    // A round that is closed needs none.
    let mut turns = round(thought(None));
    turns.push(turn(Role::Assistant, vec![Part::text("Done.")]));
    turns.push(turn(Role::User, vec![Part::text("More.")]));
    let mut closed = request(turns);
    closed.reasoning = Some(on());
    assert!(fields(&closed, CLAUDE, &budget()).0["thinking"].is_object());
}

#[test]
fn redacted_thoughts_go_back_where_they_came_from() {
    let redacted = |family| Part::RedactedThinking { data: Signature { family, payload: "AAAA".into() } };
    let mut own = request(round(redacted(Family::Bedrock)));
    own.reasoning = Some(on());
    let (body, losses) = encode(&own, CLAUDE, &budget()).expect("encoded");
    assert_eq!(body["messages"][1]["content"][0], json!({"reasoningContent": {"redactedContent": "AAAA"}}));
    assert!(losses.is_empty());
    let (body, losses) = encode(&request(round(redacted(Family::Anthropic))), CLAUDE, &budget()).expect("encoded");
    assert_eq!(body["messages"][1]["content"][0], json!({"text": "I look."}));
    assert_eq!(losses, ["redacted_thinking"]);
}

#[test]
fn other_models_get_thoughts_back_only_when_they_want_them() {
    let turns = || round(thought(None));
    let (body, losses) = encode(&request(turns()), LLAMA, &plain_profile()).expect("encoded");
    assert_eq!(
        (&body["messages"][1]["content"][0], losses),
        (&json!({"text": "I look."}), vec!["thinking".to_owned()])
    );
    let profile = Profile { reasoning_content_back: true, ..plain_profile() };
    let (body, losses) = encode(&request(turns()), LLAMA, &profile).expect("encoded");
    assert_eq!(body["messages"][1]["content"][0], json!({"reasoningContent": {"reasoningText": {"text": "hm"}}}));
    assert!(losses.is_empty());
}
