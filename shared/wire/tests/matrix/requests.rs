//! Requests keep their meaning through each format: written by its encoder and read by its decoder they say the same.

use omniroute_wire::{
    codec::{EncodeTarget, Encoded},
    ir::{
        CallKind, Family, Format, Json, Losses, OutputFormat, Part, Profile, Request, Role, Source, SystemPart,
        SystemRole, Tool, ToolChoice, ToolKind, Turn,
    },
    translate::{Dialect, encode_request, name_table},
};
use proptest::prelude::*;

use crate::fixtures::{CONTEXT, dialects};

/// What a request means, without the seams between turns and parts that a format may move.
#[derive(Debug, Default, PartialEq)]
struct Meaning {
    system: String,
    said: Vec<String>,
    tools: Vec<String>,
    choice: Option<ToolChoice<'static>>,
    output: Option<serde_json::Value>,
    limits: String,
}

fn value(json: &str) -> serde_json::Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn meaning(request: &Request<'_>) -> Meaning {
    let mut meaning = Meaning::default();
    for part in &request.system {
        meaning.system += &part.text;
        meaning.system.push('\n');
    }
    for turn in &request.turns {
        for part in &turn.parts {
            let line = match part {
                Part::Text { text, .. } => {
                    format!("{}: {text}", if turn.role == Role::Assistant { "it" } else { "user" })
                }
                Part::Image { source: Source::Inline { media_type, data }, .. } => format!("image {media_type} {data}"),
                Part::ToolCall { id, name, arguments, .. } => format!("call {id} {name} {}", value(arguments)),
                Part::ToolResult { call_id, parts, .. } => format!("result {call_id} {}", result_text(parts)),
                other => format!("{other:?}"),
            };
            meaning.said.push(line);
        }
    }
    for tool in &request.tools {
        let ToolKind::Function { schema, .. } = &tool.kind else { panic!("a function") };
        let schema = schema.as_ref().map(|schema| value(schema.as_str()));
        meaning.tools.push(format!("{} {:?} {schema:?}", tool.name, tool.description));
    }
    meaning.choice = request.tool_choice.as_ref().map(|choice| match choice {
        ToolChoice::Named(name) => ToolChoice::Named(name.clone().into_owned().into()),
        ToolChoice::Required => ToolChoice::Required,
        ToolChoice::None => ToolChoice::None,
        _ => ToolChoice::Auto,
    });
    meaning.output = match &request.output {
        OutputFormat::Schema { schema, .. } => Some(value(schema.as_str())),
        _ => None,
    };
    meaning.limits =
        format!("{:?} {:?} {:?}", request.max_tokens, request.sampling.temperature, request.sampling.top_p);
    meaning
}

/// A result's text; a format that holds objects only wraps what is none, which says the same.
fn result_text(parts: &[Part<'_>]) -> String {
    let texts = parts.iter().map(|part| match part {
        Part::Text { text, .. } => text.as_ref(),
        _ => "",
    });
    texts.collect()
}

fn word() -> impl Strategy<Value = String> {
    "[a-z][a-zé\" ]{0,8}[a-z]"
}

fn round() -> impl Strategy<Value = Vec<Turn<'static>>> {
    let calls = proptest::collection::vec(("[a-z]{3,8}", word(), word()), 0..3);
    (word(), proptest::bool::ANY, word(), calls).prop_map(|(question, image, answer, calls)| {
        let mut asked = vec![Part::text(question)];
        if image {
            let source = Source::Inline { media_type: "image/png".into(), data: "iVBORw0KGgo=".into() };
            asked.insert(0, Part::Image { source, detail: None, cache: None });
        }
        let mut said = vec![Part::text(answer)];
        let mut results = Vec::new();
        for (number, (name, argument, result)) in calls.into_iter().enumerate() {
            let id = format!("call_{name}_{number}");
            said.push(Part::ToolCall {
                id: id.clone().into(),
                name: name.clone().into(),
                arguments: format!("{{\"q\": {}, \"n\":1.50}}", serde_json::Value::from(argument)).into(),
                kind: CallKind::Function,
                signature: None,
                cache: None,
            });
            results.push(Part::ToolResult {
                call_id: id.into(),
                name: Some(name.into()),
                parts: vec![Part::text(result)],
                is_error: false,
                cache: None,
            });
        }
        let turn = |role, parts| Turn { role, parts, name: None };
        let mut turns = vec![turn(Role::User, asked), turn(Role::Assistant, said)];
        if !results.is_empty() {
            turns.push(turn(Role::Tool, results));
        }
        turns
    })
}

fn request() -> impl Strategy<Value = Request<'static>> {
    let settings = (
        proptest::option::of(word()),
        proptest::option::of(100_u64..4000),
        proptest::option::of(0_u32..=10),
        0_usize..4,
        proptest::bool::ANY,
    );
    (proptest::collection::vec(round(), 1..4), word(), settings).prop_map(
        |(rounds, last, (system, max_tokens, tenths, choice, schema))| {
            let mut request = Request::new(Format::OpenAiChat, "m");
            // Repeated rounds may call alike: ids tell them apart.
            for (number, mut turns) in rounds.into_iter().enumerate() {
                for part in turns.iter_mut().flat_map(|turn| &mut turn.parts) {
                    match part {
                        Part::ToolCall { id, .. } | Part::ToolResult { call_id: id, .. } => {
                            *id = format!("{id}_{number}").into();
                        }
                        _ => {}
                    }
                }
                request.turns.extend(turns);
            }
            request.turns.push(Turn { role: Role::User, parts: vec![Part::text(last)], name: None });
            request.system.extend(system.map(|text| SystemPart {
                text: text.into(),
                role: SystemRole::System,
                position: 0,
                cache: None,
            }));
            request.max_tokens = max_tokens;
            request.sampling.temperature = tenths.map(|tenths| f64::from(tenths) / 10.0);
            let mut names: Vec<String> = Vec::new();
            for part in request.turns.iter().flat_map(|turn| &turn.parts) {
                if let Part::ToolCall { name, .. } = part
                    && !names.iter().any(|own| own == name)
                {
                    names.push(name.clone().into_owned());
                }
            }
            if names.is_empty() {
                names.push("lonely".to_owned());
            }
            let shape = r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer"}},"required":["z"],"additionalProperties":false}"#;
            request.tools = names
                .iter()
                .map(|name| Tool {
                    name: name.clone().into(),
                    description: Some("what it does".into()),
                    kind: ToolKind::Function { schema: Json::from_string(shape.to_owned()), strict: None },
                    namespace: None,
                    cache: None,
                })
                .collect();
            request.tool_choice = match choice {
                0 => None,
                1 => Some(ToolChoice::Auto),
                2 => Some(ToolChoice::Required),
                _ => Some(ToolChoice::Named(names.remove(0).into())),
            };
            if schema && let Some(schema) = Json::from_string(shape.to_owned()) {
                request.output = OutputFormat::Schema { name: None, description: None, schema, strict: None };
            }
            request
        },
    )
}

/// What the format cannot say, taken out of what is expected.
fn expected(request: &Request<'_>, format: Format) -> Meaning {
    let mut meaning = meaning(request);
    match format {
        // A limit is required; the model's own stands in.
        Format::Anthropic if request.max_tokens.is_none() => {
            meaning.limits = meaning.limits.replacen("None", "Some(8192)", 1);
        }
        Format::Ollama => {
            // Nothing makes this upstream call; the tools that it may call are those that are offered.
            if let Some(ToolChoice::Named(name)) = &request.tool_choice {
                meaning.tools.retain(|tool| tool.starts_with(&format!("{name} ")));
            }
            meaning.choice = None;
        }
        _ => {}
    }
    meaning
}

fn through(request: &Request<'_>, dialect: &Dialect) -> Meaning {
    let format = dialect.format();
    let names = name_table(format, request);
    let profile = Profile { automatic_cache_marks: false, ..Profile::default() };
    let target = EncodeTarget { model: "m", profile: &profile, names: &names, stream: false };
    let Encoded { body, .. } = encode_request(format, request, &target, &mut Losses::default())
        .unwrap_or_else(|error| panic!("{format}: {error:?}"));
    let again = dialect
        .decode_request(&body, &CONTEXT)
        .unwrap_or_else(|error| panic!("{format}: {error:?}: {}", String::from_utf8_lossy(&body)));
    meaning(&again)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn written_and_read_again_a_request_means_the_same(request in request()) {
        for (client, dialect) in dialects() {
            prop_assert_eq!(through(&request, &dialect), expected(&request, dialect.format()), "{}", client);
        }
    }
}

#[test]
fn a_signature_comes_back_from_every_format_of_its_family() {
    for (family, format) in [(Family::Anthropic, Format::Anthropic), (Family::Gemini, Format::Gemini)] {
        let (_, dialect) = dialects().into_iter().find(|(_, dialect)| dialect.format() == format).expect("a dialect");
        let body = match family {
            Family::Anthropic => {
                r#"{"model":"m","max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":2048},"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"c2ln"},{"type":"text","text":"a"}]},{"role":"user","content":"go"}]}"#
            }
            _ => {
                r#"{"contents":[{"role":"user","parts":[{"text":"q"}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{}},"thoughtSignature":"c2ln"}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{}}}]}]}"#
            }
        };
        let request = dialect.decode_request(body.as_bytes(), &CONTEXT).expect("a request");
        let (_, profile) = crate::fixtures::upstream(format);
        let names = name_table(format, &request);
        let target = EncodeTarget { model: "m", profile: &profile, names: &names, stream: false };
        let mut losses = Losses::default();
        let encoded = encode_request(format, &request, &target, &mut losses).expect("encoded");
        let text = String::from_utf8(encoded.body).expect("text");
        assert!(text.contains("\"c2ln\"") && losses.is_empty(), "{text} {losses:?}");
    }
}
