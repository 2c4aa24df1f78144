use serde_json::json;

use super::*;

fn asking(rest: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"q"}}],"max_tokens":20000{rest}}}"#)
}

fn adaptive() -> Profile {
    Profile { thinking: ThinkingStyle::Adaptive, ..profile() }
}

#[test]
fn an_effort_becomes_a_budget_and_a_budget_an_effort() {
    let body = asking(r#","reasoning_effort":"medium""#);
    let (written, ..) = encode(&chat(&body), &profile());
    assert_eq!(written["thinking"], json!({"type": "enabled", "budget_tokens": 10_000}));
    let (written, ..) = encode(&chat(&body), &adaptive());
    assert_eq!(written["thinking"], json!({"type": "adaptive", "display": "summarized"}));
    assert_eq!(written["output_config"], json!({"effort": "medium"}));
    let body = asking(r#","thinking":{"type":"enabled","budget_tokens":4000}"#);
    let (written, ..) = encode(&read(&body), &adaptive());
    assert_eq!(
        (&written["thinking"]["type"], &written["output_config"]["effort"]),
        (&json!("adaptive"), &json!("low"))
    );
    let (written, ..) = encode(&read(&body), &profile());
    assert_eq!(written["thinking"], json!({"type": "enabled", "budget_tokens": 4_000}));
}

#[test]
fn a_budget_stays_below_the_output_limit() {
    for (limit, budget) in [(2_000, Some(1_900)), (1_100, Some(1_045)), (1_024, None), (100, None)] {
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"q"}}],"max_tokens":{limit},"reasoning":{{"max_tokens":90000}}}}"#
        );
        let (written, _, losses) = encode(&chat(&body), &profile());
        match budget {
            Some(_) => {
                let budget = written["thinking"]["budget_tokens"].as_u64().expect("a budget");
                assert!((1_024..limit).contains(&budget), "{budget} of {limit}");
                assert!(losses.is_empty());
            }
            None => {
                assert_eq!(written["thinking"]["type"], "disabled", "{limit}");
                assert_eq!(losses, ["reasoning"]);
            }
        }
    }
}

#[test]
fn a_clients_own_budget_is_cut_only_with_its_limit() {
    let body = r#"{"model":"m","max_tokens":LIMIT,"messages":[{"role":"user","content":"q"}],"thinking":{"type":"enabled","budget_tokens":30000}}"#;
    let interleaved = body.replace("LIMIT", "20000");
    let (written, ..) = encode(&read(&interleaved), &profile());
    assert_eq!(written["thinking"]["budget_tokens"], 30_000, "with interleaved thinking it may exceed the limit");
    let small = Profile { max_output_tokens: Some(20_000), ..profile() };
    let lowered = body.replace("LIMIT", "40000");
    let (written, ..) = encode(&read(&lowered), &small);
    assert_eq!((&written["max_tokens"], &written["thinking"]["budget_tokens"]), (&json!(20_000), &json!(19_000)));
}

#[test]
fn thinking_and_sampling_do_not_go_together() {
    let body = asking(r#","reasoning_effort":"low","temperature":0.2,"top_p":0.5,"top_k":40"#);
    let (written, _, losses) = encode(&chat(&body), &profile());
    assert_eq!(written["thinking"]["type"], "enabled");
    assert!(["temperature", "top_p", "top_k"].iter().all(|field| written.get(*field).is_none()), "{written}");
    assert_eq!(losses, ["temperature", "top_p", "top_k"]);
    let body = asking(r#","reasoning_effort":"low","temperature":1.0,"top_p":0.97"#);
    let (written, _, losses) = encode(&chat(&body), &profile());
    assert_eq!((written.get("temperature"), &written["top_p"]), (None, &json!(0.97)));
    assert!(losses.is_empty(), "1 is what it takes anyway: {losses:?}");
}

#[test]
fn a_forced_tool_wins_over_thinking() {
    let tools = r#","tools":[{"type":"function","function":{"name":"f"}}]"#;
    for profile in [profile(), adaptive()] {
        let body = asking(&format!(r#"{tools},"reasoning_effort":"high","tool_choice":"required""#));
        let (written, _, losses) = encode(&chat(&body), &profile);
        assert_eq!(written["tool_choice"]["type"], "any");
        assert!(written["thinking"]["type"] != "enabled" && written["thinking"]["type"] != "adaptive");
        assert_eq!(losses, ["reasoning"]);
        let body = asking(&format!(r#"{tools},"reasoning_effort":"high","tool_choice":"auto""#));
        let (written, _, losses) = encode(&chat(&body), &profile);
        assert!(written["thinking"]["type"] == "enabled" || written["thinking"]["type"] == "adaptive");
        assert!(losses.is_empty());
    }
}

/// A tool loop in the middle: what the assistant said, and what follows its results.
fn tool_loop(assistant: &str, after: &str) -> String {
    format!(
        r#"{{"model":"m","max_tokens":20000,"thinking":{{"type":"enabled","budget_tokens":2000}},"messages":[
        {{"role":"user","content":"q"}},{{"role":"assistant","content":[{assistant}]}},
        {{"role":"user","content":[{{"type":"tool_result","tool_use_id":"a","content":"1"}}]}}{after}]}}"#
    )
}

const CALL: &str = r#"{"type":"tool_use","id":"a","name":"f","input":{}}"#;
const SIGNED: &str = r#"{"type":"thinking","thinking":"hm","signature":"good"}"#;

#[test]
fn an_open_loop_without_a_signed_thought_switches_thinking_off() {
    for foreign in [
        CALL.to_owned(),
        format!(r#"{{"type":"text","text":"let me"}},{CALL}"#),
        format!(r#"{{"type":"thinking","thinking":"hm","signature":""}},{CALL}"#),
        format!(r#"{{"type":"thinking","thinking":"hm","signature":"sealed:openai:x"}},{CALL}"#),
        format!(r#"{{"type":"redacted_thinking","data":"sealed:gemini:x"}},{{"type":"text","text":"t"}},{CALL}"#),
    ] {
        let body = tool_loop(&foreign, "");
        let (written, _, losses) = encode(&read(&body), &profile());
        assert_eq!(written["thinking"], json!({"type": "disabled"}), "{foreign}");
        assert!(losses.contains(&"thinking".to_owned()), "{losses:?}");
        assert!(!written.to_string().contains("\"signature\""), "no thought of others goes to Claude: {written}");
        // A model that decides for itself does not ask for it.
        let (written, ..) = encode(&read(&body), &adaptive());
        assert_eq!(written["thinking"]["type"], "adaptive");
    }
}

#[test]
fn a_loop_that_begins_with_a_signed_thought_keeps_thinking() {
    let redacted = r#"{"type":"redacted_thinking","data":"blob"}"#;
    for own in [format!("{SIGNED},{CALL}"), format!("{redacted},{CALL}")] {
        let more = r#",{"role":"assistant","content":[{"type":"tool_use","id":"b","name":"f","input":{}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"b","content":"2"},{"type":"text","text":"reminder"}]}"#;
        for after in ["", more] {
            let body = tool_loop(&own, after);
            let (written, _, losses) = encode(&read(&body), &profile());
            assert_eq!(written["thinking"]["type"], "enabled", "without thoughts between rounds Claude gives none");
            assert_eq!(losses, Vec::<String>::new());
        }
    }
}

#[test]
fn a_loop_that_is_closed_may_have_been_anyones() {
    let after = r#",{"role":"assistant","content":"done"},{"role":"user","content":"next"}"#;
    let body = tool_loop(CALL, after);
    let (written, _, losses) = encode(&read(&body), &profile());
    assert_eq!(written["thinking"]["type"], "enabled");
    assert_eq!(losses, Vec::<String>::new());
}

#[test]
fn thoughts_go_back_only_while_thinking_is_on() {
    let body = tool_loop(&format!("{SIGNED},{CALL}"), "")
        .replace(r#""type":"enabled","budget_tokens":2000"#, r#""type":"disabled""#);
    let (written, _, losses) = encode(&read(&body), &profile());
    assert!(!written.to_string().contains("signature"), "{written}");
    assert_eq!(losses, ["thinking"]);
    let body = body.replace(r#""thinking":{"type":"disabled"},"#, "");
    let (written, _, losses) = encode(&read(&body), &profile());
    assert!(written.to_string().contains("signature"), "the client said nothing, so nothing changes: {written}");
    assert!(losses.is_empty() && written.get("thinking").is_none());
}

#[test]
fn a_turn_of_the_assistant_never_ends_with_a_thought() {
    let body = format!(
        r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":[{SIGNED}]}},{{"role":"user","content":"r"}}]}}"#
    );
    let (written, _, losses) = encode(&read(&body), &profile());
    assert_eq!(written["messages"].as_array().map(Vec::len), Some(1), "{written}");
    assert_eq!(losses, ["thinking"]);
}

#[test]
fn off_is_said_where_it_can_be() {
    let off = asking(r#","reasoning_effort":"none""#);
    let (written, ..) = encode(&chat(&off), &profile());
    assert_eq!(written["thinking"]["type"], "disabled");
    let stubborn =
        Profile { thinking: ThinkingStyle::Budget { min: 1_024, max: 9_000, can_disable: false }, ..profile() };
    let (written, _, losses) = encode(&chat(&off), &stubborn);
    assert_eq!((written.get("thinking"), losses.as_slice()), (None, ["reasoning".to_owned()].as_slice()));
    // Always on, as far as the catalog says: as little as can be.
    let (written, _, losses) = encode(&chat(&off), &adaptive());
    assert_eq!((written.get("thinking"), &written["output_config"]["effort"]), (None, &json!("low")));
    assert_eq!(losses, ["reasoning"]);
    let thoughtless = Profile { thinking: ThinkingStyle::None, ..profile() };
    let (written, _, losses) = encode(&chat(&off), &thoughtless);
    assert!(written.get("thinking").is_none() && losses.is_empty());
    let wanted = asking(r#","reasoning_effort":"high""#);
    let (written, _, losses) = encode(&chat(&wanted), &thoughtless);
    assert_eq!((written.get("thinking"), losses.as_slice()), (None, ["reasoning".to_owned()].as_slice()));
}

#[test]
fn an_effort_alone_asks_an_anthropic_model_for_no_thoughts() {
    let body = asking(r#","output_config":{"effort":"low"}"#);
    let (written, _, losses) = encode(&read(&body), &adaptive());
    assert_eq!((written.get("thinking"), &written["output_config"]["effort"]), (None, &json!("low")));
    assert!(losses.is_empty());
    let (written, _, losses) = encode(&read(&body), &profile());
    assert!(written.get("thinking").is_none());
    assert_eq!(losses, ["output_config.effort"], "a model with budgets has no efforts");
}

#[test]
fn whoever_wants_to_see_thoughts_gets_them_shown() {
    let body = asking(r#","reasoning":{"effort":"high","exclude":false}"#);
    let (written, ..) = encode(&chat(&body), &adaptive());
    assert_eq!(written["thinking"], json!({"type": "adaptive", "display": "summarized"}));
    // A Chat client shows what it gets. It need not know that this model has to be asked.
    let (written, ..) = encode(&chat(&asking(r#","reasoning_effort":"high""#)), &adaptive());
    assert_eq!(written["thinking"], json!({"type": "adaptive", "display": "summarized"}));
    let (written, ..) = encode(&chat(&asking(r#","reasoning":{"effort":"high","exclude":true}"#)), &adaptive());
    assert_eq!(written["thinking"], json!({"type": "adaptive"}));
    for display in ["omitted", "summarized"] {
        let body = asking(&format!(r#","thinking":{{"type":"adaptive","display":"{display}"}}"#));
        let (written, ..) = encode(&read(&body), &adaptive());
        assert_eq!(written["thinking"], json!({"type": "adaptive", "display": display}));
    }
    let (written, ..) = encode(&read(&asking(r#","thinking":{"type":"adaptive"}"#)), &adaptive());
    assert_eq!(written["thinking"], json!({"type": "adaptive"}), "its own words");
}

#[test]
fn the_two_highest_efforts_are_told_apart_and_a_move_is_listed() {
    use crate::ir::{Effort, EffortScale};
    let of = |efforts: &[Effort]| Profile { efforts: EffortScale(efforts.to_vec()), ..adaptive() };
    let both = of(&[Effort::Low, Effort::High, Effort::XHigh, Effort::Max]);
    let max_only = of(&[Effort::Low, Effort::High, Effort::Max]);
    for (word, profile, effort, moved) in [
        ("xhigh", &both, "xhigh", false),
        ("max", &both, "max", false),
        ("max", &max_only, "max", false),
        ("xhigh", &max_only, "high", true),
        ("medium", &max_only, "low", true),
    ] {
        let own = asking(&format!(r#","thinking":{{"type":"adaptive"}},"output_config":{{"effort":"{word}"}}"#));
        let foreign = asking(&format!(r#","reasoning_effort":"{word}""#));
        for request in [read(&own), chat(&foreign)] {
            let (written, _, losses) = encode(&request, profile);
            assert_eq!(written["output_config"]["effort"], effort, "{word}");
            assert_eq!(losses, if moved { vec!["reasoning_effort"] } else { vec![] }, "{word}");
        }
    }
}

#[test]
fn a_call_gets_its_foreign_signature_back() {
    let token = r#"{"type":"redacted_thinking","data":"sealed:gemini:sig"}"#;
    for blocks in [format!("{token},{CALL}"), format!("{CALL},{token}")] {
        let body = tool_loop(&blocks, "");
        let request = read(&body);
        let [crate::ir::Part::ToolCall { signature: Some(signature), .. }] = request.turns[1].parts.as_slice() else {
            panic!("{:?}", request.turns[1].parts);
        };
        assert_eq!((signature.family, signature.payload.as_ref()), (Family::Gemini, "sig"));
        let (_, _, losses) = encode(&request, &profile());
        assert!(losses.contains(&"thought_signature".to_owned()));
    }
    // A thought's own foreign blob is none of the call's.
    let body = tool_loop(&format!(r#"{{"type":"redacted_thinking","data":"sealed:openai:x"}},{CALL}"#), "");
    assert_eq!(read(&body).turns[1].parts.len(), 2);
}

#[test]
fn a_seal_around_nothing_is_no_signature() {
    let body = tool_loop(&format!(r#"{{"type":"thinking","thinking":"hm","signature":"sealed:openai:"}},{CALL}"#), "");
    let request = read(&body);
    assert!(matches!(&request.turns[1].parts[0], crate::ir::Part::Thinking { signature: None, .. }));
}
