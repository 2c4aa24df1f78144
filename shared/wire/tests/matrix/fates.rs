//! Each field's fate: `docs/translation.md` says it, and this holds the document to what the code does.
//!
//! A row is a request with one field, and the same request without it. What becomes of the field shows in the difference
//! between what both become for an upstream: it is there (mapped), it is there in another form (changed), it is listed
//! (dropped), or the request is refused. A field that leaves no trace at all fails the test.

use std::fmt::Write as _;

use omniroute_wire::{
    codec::{EncodeTarget, Encoded, WireError},
    ir::{Effort, EffortScale, Format, Losses, Profile, ThinkingStyle},
    translate::{Dialect, encode_request, name_table},
};
use serde_json::Value;

use crate::fixtures::{CONTEXT, dialects, path, read};

const BEGIN: &str = "<!-- begin generated: shared/wire/tests/matrix/fates.rs -->";
const END: &str = "<!-- end generated -->";

/// A model of each format that has whatever its format can say.
fn able(format: Format) -> (&'static str, Profile) {
    let budget = ThinkingStyle::Budget { min: 1024, max: 64_000, can_disable: true };
    let plain = Profile { max_output_tokens: Some(64_000), ..Profile::default() };
    match format {
        Format::OpenAiChat => ("gpt-x", Profile { developer_role: true, system_anywhere: true, ..plain }),
        Format::OpenAiResponses => ("gpt-x", Profile { developer_role: true, system_anywhere: true, ..plain }),
        Format::Anthropic => ("claude-x", Profile { thinking: budget, ..plain }),
        Format::Gemini => {
            let efforts = EffortScale(vec![Effort::Minimal, Effort::Low, Effort::Medium, Effort::High]);
            ("gemini-3-x", Profile { efforts, ..plain })
        }
        Format::Ollama => ("llama-x", Profile { media_urls: false, ..plain }),
        Format::Cohere => ("command-x", Profile { thinking: budget, ..plain }),
        Format::Bedrock => ("anthropic.claude-x", Profile { thinking: budget, media_urls: false, ..plain }),
    }
}

fn encoded(dialect: &Dialect, body: &Value, format: Format) -> Result<(String, Vec<String>), WireError> {
    let body = body.to_string();
    let mut request = dialect.decode_request(body.as_bytes(), &CONTEXT)?;
    request.stream = false;
    let (model, profile) = able(format);
    let names = name_table(format, &request);
    let target = EncodeTarget { model, profile: &profile, names: &names, stream: false };
    let mut losses = Losses::default();
    let Encoded { body, .. } = encode_request(format, &request, &target, &mut losses)?;
    Ok((String::from_utf8(body).expect("text"), losses.names().map(str::to_owned).collect()))
}

fn with(base: &Value, fields: &Value) -> Value {
    let mut body = base.as_object().expect("an object").clone();
    for (name, value) in fields.as_object().expect("an object") {
        body.insert(name.clone(), value.clone());
    }
    Value::Object(body)
}

/// What becomes of one row's field for one upstream.
fn fate(dialect: &Dialect, base: &Value, row: &Value, format: Format) -> Result<&'static str, String> {
    let field = row["field"].as_str().expect("a field");
    let without = with(base, row.get("without").unwrap_or(&Value::Object(serde_json::Map::new())));
    let (before, listed_before) = encoded(dialect, &without, format)
        .map_err(|error| format!("{field} → {format}: refused without the field: {error}"))?;
    let Ok((after, listed)) = encoded(dialect, &with(base, &row["with"]), format) else { return Ok("400") };
    let listed = listed.iter().any(|name| !listed_before.contains(name));
    let needle = row["needle"].as_str().expect("a needle");
    let is_there = after.contains(needle) && !before.contains(needle);
    Ok(match (after != before, listed) {
        (false, true) => "dropped",
        (true, true) if is_there => "in part",
        // Something else changed, but not what was asked for.
        (true, true) => "changed, listed",
        (true, false) if is_there => "mapped",
        (true, false) => "changed",
        (false, false) => {
            let idle = row["idle"].as_array().into_iter().flatten();
            if !idle.into_iter().any(|name| name == format.as_str()) && format != dialect.format() {
                return Err(format!("{field} → {format}: vanishes without a trace"));
            }
            "no effect"
        }
    })
}

/// The tables, and what went wrong while they were made.
fn tables() -> (String, Vec<String>) {
    let (mut text, mut faults) = (String::new(), Vec::new());
    for (client, dialect) in dialects() {
        let file = read(&format!("fates/{client}.json"));
        let file: Value = serde_json::from_slice(&file).expect("JSON");
        let targets: Vec<Format> = Format::ALL.into_iter().filter(|format| *format != dialect.format()).collect();
        let _ = writeln!(text, "\n### Clients that speak {}\n", title(dialect.format()));
        let heads: Vec<&str> = targets.iter().map(|format| title(*format)).collect();
        let _ = writeln!(text, "| | field | {} |\n|---|---|{}", heads.join(" | "), "---|".repeat(targets.len()));
        let mut area = "";
        for row in file["rows"].as_array().expect("rows") {
            // The client's own format is not in the table (it passes through), but must not lose anything either.
            if let Err(fault) = fate(&dialect, &file["base"], row, dialect.format()) {
                faults.push(format!("{client}: {fault}"));
            }
            let cells: Vec<&str> = targets
                .iter()
                .map(|format| {
                    fate(&dialect, &file["base"], row, *format).unwrap_or_else(|fault| {
                        faults.push(format!("{client}: {fault}"));
                        "?"
                    })
                })
                .collect();
            let own = row["area"].as_str().expect("an area");
            let shown = if own == area { "" } else { own };
            area = own;
            let _ = writeln!(text, "| {shown} | {} | {} |", row["field"].as_str().expect("a field"), cells.join(" | "));
        }
    }
    (text, faults)
}

const fn title(format: Format) -> &'static str {
    match format {
        Format::OpenAiChat => "Chat",
        Format::OpenAiResponses => "Responses",
        Format::Anthropic => "Anthropic",
        Format::Gemini => "Gemini",
        Format::Ollama => "Ollama",
        Format::Cohere => "Cohere",
        Format::Bedrock => "Bedrock",
    }
}

#[test]
fn the_document_says_what_becomes_of_each_field() {
    let (tables, faults) = tables();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let file = path("../../../../docs/translation.md");
    let document = std::fs::read_to_string(&file).expect("the document");
    let (head, rest) = document.split_once(BEGIN).expect("where the tables begin");
    let (own, tail) = rest.split_once(END).expect("where the tables end");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&file, format!("{head}{BEGIN}\n{tables}\n{END}{tail}")).expect("written");
        return;
    }
    let parted = own.trim().lines().zip(tables.trim().lines()).find(|(old, new)| old != new);
    assert!(parted.is_none(), "code and document part ways (UPDATE_GOLDENS=1 writes the tables anew): {parted:?}");
    assert_eq!(own.trim().lines().count(), tables.trim().lines().count(), "rows are missing");
}
