//! Schemas of tools and answers as OpenAI takes them, and who followed it: an object at the top of a tool's; every object with
//! `properties`, every array with `items`. One that lacks them fails the whole request, though `{"type":"object"}` is a good
//! schema. OpenAI itself refuses alternatives at the top of a tool's; others take them, and lose nothing. Fields keep their order:
//! models answer in it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    ir::{Family, Format, Json, Losses, Profile},
    json_walk::{Walk, WalkError},
    tools::{schema_or_empty, strict_here},
    tree::{Object, Tree},
};

/// Deepest nesting that is looked at; the text of what is deeper stays as it is.
const MAX_DEPTH: u32 = 64;
/// Of a strict tool without parameters.
const STRICT_EMPTY: &str = r#"{"type":"object","properties":{},"required":[],"additionalProperties":false}"#;
const ALTERNATIVES: [&str; 3] = [ALL_HOLD, "anyOf", "oneOf"];
/// Of them those of which all hold; of the others one does.
const ALL_HOLD: &str = "allOf";
/// Keywords that OpenAI refuses beside `type` at the top of a tool's schema, and nowhere else.
const NOT_AT_THE_TOP: [&str; 3] = ["enum", "const", "not"];

/// What a target takes at the top of a tool's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Top {
    /// An object and nothing else.
    PlainObject,
    /// Alternatives and references too.
    Any,
}

/// The parameters of a function for this target, and what `strict` may say of them.
pub(crate) fn function<'j>(
    schema: Option<&'j Json<'_>>,
    strict: Option<bool>,
    name: &str,
    (from, target): (Format, &Profile),
    losses: &mut Losses,
) -> (Cow<'j, str>, Option<bool>) {
    let top = if target.alternatives_at_top { Top::Any } else { Top::PlainObject };
    let parameters = of_tool(schema, name, top, losses);
    if strict == Some(true) && asks_nothing(&parameters) {
        return (Cow::Borrowed(STRICT_EMPTY), strict);
    }
    let strict = strict.map(|strict| strict_here(strict, &parameters, from, "tools.strict", losses));
    (parameters, strict)
}

/// A tool's schema.
pub(crate) fn of_tool<'j>(schema: Option<&'j Json<'_>>, name: &str, top: Top, losses: &mut Losses) -> Cow<'j, str> {
    let raw = schema_or_empty(schema);
    if is_sound(raw, Some(top)) {
        return Cow::Borrowed(raw);
    }
    let Tree::Object(mut object) = Tree::read(raw) else {
        // `null`, `true`: anything goes.
        return Cow::Borrowed(schema_or_empty(None));
    };
    match top {
        Top::PlainObject => object_at_top(&mut object, name, losses),
        Top::Any if !says_more_than_its_type(&object) => object.set("type", Tree::string("object")),
        Top::Any => {}
    }
    complete(&mut object, Some(top));
    Cow::Owned(Tree::Object(object).to_string())
}

/// The schema of an answer, and what `strict` may say of it: strict mode gives objects only, and other families mean less by the
/// word.
pub(crate) fn answer<'j>(
    schema: &'j Json<'_>,
    strict: Option<bool>,
    from: Format,
    losses: &mut Losses,
) -> (Cow<'j, str>, Option<bool>) {
    const STRICT: &str = "response_format.json_schema.strict";
    let schema = of_answer(schema);
    let strict = strict.map(|strict| {
        if strict && from.family() != Family::OpenAi && !is_plain_object(&schema) {
            losses.drop_field(STRICT);
            return false;
        }
        strict_here(strict, &schema, from, STRICT, losses)
    });
    (schema, strict)
}

/// The schema of an answer. Its top stays what it is: something else would be another answer.
fn of_answer<'j>(schema: &'j Json<'_>) -> Cow<'j, str> {
    let raw = schema.as_str();
    if is_sound(raw, None) {
        return Cow::Borrowed(raw);
    }
    let mut tree = Tree::read(raw);
    complete_tree(&mut tree);
    Cow::Owned(tree.to_string())
}

/// Makes an object of a tool's schema: one that refers to another becomes that, alternatives become one object with every
/// property that any of them has.
pub(crate) fn object_at_top(object: &mut Object, name: &str, losses: &mut Losses) {
    if let Some(target) = referred(object, object) {
        object.remove("$ref");
        for (field, value) in target.0 {
            if object.get(&field).is_none() {
                object.set(&field, value);
            }
        }
    }
    for keyword in NOT_AT_THE_TOP {
        if object.remove(keyword).is_some() {
            losses.drop_field(format!("tools.{name}.{keyword}"));
        }
    }
    for keyword in ALTERNATIVES {
        if object.get(keyword).is_some() {
            losses.drop_field(format!("tools.{name}.{keyword}"));
        }
    }
    if has_alternatives(object) {
        merge_alternatives(object);
    }
    if object.get("type").and_then(Tree::as_str).as_deref() != Some("object") {
        object.set("type", Tree::string("object"));
    }
    if object.get("properties").and_then(Tree::as_object).is_none() {
        object.set("properties", Tree::Object(Object::default()));
    }
}

/// Every property that any alternative has; required is only what all demand.
fn merge_alternatives(object: &mut Object) {
    let mut properties = match object.remove("properties") {
        Some(Tree::Object(properties)) => properties,
        _ => Object::default(),
    };
    for keyword in ALTERNATIVES {
        let Some(Tree::Array(variants)) = object.remove(keyword) else { continue };
        for variant in variants {
            let Tree::Object(variant) = variant else { continue };
            let mut variant = referred(&variant, object).unwrap_or(variant);
            if let Some(Tree::Object(own)) = variant.remove("properties") {
                for (name, schema) in own.0 {
                    if properties.get(&name).is_none() {
                        properties.set(&name, schema);
                    }
                }
            }
            if let (ALL_HOLD, Some(Tree::Array(more))) = (keyword, variant.remove("required")) {
                match object.get_mut("required") {
                    Some(Tree::Array(required)) => required.extend(more),
                    _ => object.set("required", Tree::Array(more)),
                }
            }
        }
    }
    object.set("properties", Tree::Object(properties));
}

/// What a schema refers to inside `root`, where that is an object: one step, so that a circle ends.
fn referred(schema: &Object, root: &Object) -> Option<Object> {
    let path = schema.get("$ref").and_then(Tree::as_str)?;
    let mut names = path.strip_prefix("#/")?.split('/');
    let first = root.get(names.next()?)?.as_object()?;
    let found = names.try_fold(first, |at, name| at.get(name)?.as_object())?;
    Some(found.clone())
}

fn has_alternatives(object: &Object) -> bool {
    ALTERNATIVES.into_iter().any(|keyword| object.get(keyword).is_some())
}

/// Whether its top has keywords that mean something without a `type` beside them.
fn says_more_than_its_type(object: &Object) -> bool {
    has_alternatives(object) || object.get("$ref").is_some()
}

fn is_plain_object(schema: &str) -> bool {
    let tree = Tree::read(schema);
    let is_object = |object: &&Object| object.get("type").and_then(Tree::as_str).as_deref() == Some("object");
    tree.as_object().filter(is_object).is_some_and(|object| !says_more_than_its_type(object))
}

/// Whether a function takes no arguments at all.
fn asks_nothing(parameters: &str) -> bool {
    let tree = Tree::read(parameters);
    let Some(object) = tree.as_object() else { return false };
    let is_open = |name: &str| object.get(name).is_some_and(|value| !value.is("true") && !value.is("false"));
    object.get("properties").and_then(Tree::as_object).is_some_and(|own| own.0.is_empty())
        && !says_more_than_its_type(object)
        && !["additionalProperties", "patternProperties"].into_iter().any(is_open)
}

// === what is missing ===

/// `top`: of a tool's schema.
fn complete(object: &mut Object, top: Option<Top>) {
    for (keyword, value) in &mut object.0 {
        match (keyword.as_str(), value) {
            ("properties" | "$defs" | "definitions" | "patternProperties", Tree::Object(map)) => {
                map.0.iter_mut().for_each(|(_, schema)| complete_tree(schema));
            }
            ("items" | "additionalProperties", schema) => complete_tree(schema),
            (keyword, Tree::Array(list)) if ALTERNATIVES.contains(&keyword) => {
                list.iter_mut().for_each(complete_tree);
            }
            _ => {}
        }
    }
    if top == Some(Top::Any) && says_more_than_its_type(object) {
        // Some readers look at `properties` first, and then at nothing else.
        return;
    }
    let kind = object.get("type").map(Tree::to_string).unwrap_or_default();
    if kind.contains("\"object\"") && object.get("properties").and_then(Tree::as_object).is_none() {
        object.set("properties", Tree::Object(Object::default()));
    }
    if kind.contains("\"array\"") && object.get("items").is_none() {
        object.set("items", Tree::Object(Object::default()));
    }
}

/// Depth is bounded by the reader of the tree.
fn complete_tree(schema: &mut Tree) {
    if let Tree::Object(object) = schema {
        complete(object, None);
    }
}

/// Whether nothing is missing: nearly always so, and told without a tree. What cannot be read is left as it is.
fn is_sound(schema: &str, top: Option<Top>) -> bool {
    sound_at(&mut Walk::new(schema, MAX_DEPTH), top).unwrap_or(true)
}

/// `top`: of a tool's schema.
fn sound_at(walk: &mut Walk<'_>, top: Option<Top>) -> Result<bool, WalkError> {
    if !walk.enter_object()? {
        walk.skip_value()?;
        return Ok(top.is_none());
    }
    let (mut kind, mut has_properties, mut has_items, mut is_good, mut says_more) = ("", false, false, true, false);
    while let Some(key) = walk.next_key()? {
        match key.as_ref() {
            "properties" => {
                has_properties = walk.value_start().is_ok() && walk.peek() == Some(b'{');
                is_good &= sound_map(walk)?;
            }
            "$defs" | "definitions" | "patternProperties" => is_good &= sound_map(walk)?,
            "items" => {
                has_items = true;
                is_good &= sound_at(walk, None)?;
            }
            "additionalProperties" => is_good &= sound_at(walk, None)?,
            key => {
                let start = walk.value_start()?;
                walk.skip_value()?;
                let value = walk.slice(&(start..walk.position()));
                if key == "type" {
                    kind = value;
                } else if ALTERNATIVES.contains(&key) {
                    let list: Vec<&RawValue> = serde_json::from_str(value).unwrap_or_default();
                    is_good &= top != Some(Top::PlainObject) && list.into_iter().all(|own| is_sound(own.get(), None));
                    says_more = true;
                } else if key == "$ref" {
                    is_good &= top != Some(Top::PlainObject);
                    says_more = true;
                } else if NOT_AT_THE_TOP.contains(&key) {
                    is_good &= top != Some(Top::PlainObject);
                }
            }
        }
    }
    if top == Some(Top::Any) && says_more {
        return Ok(is_good);
    }
    let lacks = |word: &str, has: bool| !has && kind.contains(word);
    Ok(is_good
        && !lacks("\"object\"", has_properties)
        && !lacks("\"array\"", has_items)
        && (top.is_none() || kind == "\"object\""))
}

/// A map of schemas.
fn sound_map(walk: &mut Walk<'_>) -> Result<bool, WalkError> {
    if !walk.enter_object()? {
        walk.skip_value()?;
        return Ok(true);
    }
    let mut is_good = true;
    while walk.next_key()?.is_some() {
        is_good &= sound_at(walk, None)?;
    }
    Ok(is_good)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn json(text: &str) -> Json<'static> {
        Json::from_string(text.to_owned()).expect("valid")
    }

    fn openais() -> Profile {
        Profile { alternatives_at_top: false, ..Profile::default() }
    }

    fn mended(text: &str) -> (Value, Vec<String>) {
        let mut losses = Losses::default();
        let schema = json(text);
        let mended = of_tool(Some(&schema), "t", Top::PlainObject, &mut losses);
        let names = losses.names().map(str::to_owned).collect();
        (serde_json::from_str(&mended).expect("JSON"), names)
    }

    #[test]
    fn a_schema_that_lacks_nothing_is_passed_to_the_byte() {
        for text in [
            r#"{ "type":"object" , "properties":{ "a":{"type":"string","enum":["object"]}, "items":{} } }"#,
            r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"object","properties":{}}}},"x":1.0}"#,
            r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"string"}}}"##,
            r#"{"type":"object","properties":{"a":{"anyOf":[{"type":"string"},{"type":"null"}]}}}"#,
        ] {
            let schema = json(text);
            for top in [Top::PlainObject, Top::Any] {
                let own = of_tool(Some(&schema), "t", top, &mut Losses::default());
                assert!(matches!(own, Cow::Borrowed(own) if own == text), "{text}");
            }
        }
    }

    #[test]
    fn what_is_missing_is_filled_in_at_any_depth_and_is_no_loss() {
        for (given, expected) in [
            (r#"{"type":"object"}"#, json!({"type": "object", "properties": {}})),
            ("{}", json!({"type": "object", "properties": {}})),
            (r#"{"type":"object","properties":null}"#, json!({"type": "object", "properties": {}})),
            (r#"{"type":["object","null"]}"#, json!({"type": "object", "properties": {}})),
            (r#"{"properties":{"a":{}}}"#, json!({"type": "object", "properties": {"a": {}}})),
            (
                r#"{"type":"object","properties":{"type":{"type":"array"},"o":{"type":["object","null"]}}}"#,
                json!({"type": "object", "properties": {
                    "type": {"type": "array", "items": {}}, "o": {"type": ["object", "null"], "properties": {}}}}),
            ),
            (
                r#"{"type":"object","properties":{"l":{"anyOf":[{"type":"array"},{"items":{"type":"object"}}]}}}"#,
                json!({"type": "object", "properties": {
                    "l": {"anyOf": [{"type": "array", "items": {}}, {"items": {"type": "object", "properties": {}}}]}}}),
            ),
            (
                r#"{"type":"object","properties":{},"$defs":{"A":{"type":"object"}},"additionalProperties":{"type":"array"}}"#,
                json!({"type": "object", "properties": {}, "$defs": {"A": {"type": "object", "properties": {}}},
                    "additionalProperties": {"type": "array", "items": {}}}),
            ),
            ("null", json!({"type": "object", "properties": {}})),
            ("true", json!({"type": "object", "properties": {}})),
        ] {
            assert_eq!(mended(given), (expected, vec![]), "{given}");
        }
    }

    #[test]
    fn alternatives_and_references_at_the_top_become_one_object() {
        let both = json!({"type": "object", "properties": {"a": {}, "b": {}}});
        for keyword in ["anyOf", "oneOf"] {
            let given = format!(
                r#"{{"type":"object","{keyword}":[{{"properties":{{"a":{{}}}},"required":["a"]}},{{"properties":{{"b":{{}}}}}}]}}"#
            );
            assert_eq!(mended(&given), (both.clone(), vec![format!("tools.t.{keyword}")]), "{keyword}");
        }
        let (merged, listed) =
            mended(r#"{"allOf":[{"properties":{"a":{}},"required":["a"]},{"properties":{"b":{}}}]}"#);
        assert_eq!((&merged["properties"], &merged["required"]), (&both["properties"], &json!(["a"])));
        assert_eq!(listed, ["tools.t.allOf"]);
        let own = json!({"type": "object", "properties": {"a": {}}});
        let (referred, listed) =
            mended(r##"{"$ref":"#/$defs/A","$defs":{"A":{"type":"object","properties":{"a":{}}}}}"##);
        assert_eq!((&referred["properties"], referred.get("$ref"), listed.len()), (&own["properties"], None, 0));
        let (referred, _) =
            mended(r##"{"anyOf":[{"$ref":"#/$defs/A"}],"$defs":{"A":{"type":"object","properties":{"a":{}}}}}"##);
        assert_eq!(referred["properties"], own["properties"]);
        let (mended, listed) = mended(r#"{"type":"object","properties":{"a":{}},"not":{},"enum":[1]}"#);
        assert_eq!((mended, listed), (own, vec!["tools.t.enum".to_owned(), "tools.t.not".to_owned()]));
    }

    #[test]
    fn who_takes_alternatives_at_the_top_gets_them_as_they_are() {
        for text in [
            r#"{"type":"object","anyOf":[{"required":["a"]},{"required":["b"]}],"properties":{"a":{},"b":{}}}"#,
            r#"{"type":"object","oneOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]}"#,
            r#"{ "allOf":[{"properties":{"a":{}}}] , "not":{} }"#,
            r##"{"$ref":"#/$defs/A","$defs":{"A":{"type":"object","properties":{}}}}"##,
            r#"{"type":"object","properties":{},"enum":[{}]}"#,
        ] {
            let (schema, mut losses) = (json(text), Losses::default());
            let own = of_tool(Some(&schema), "t", Top::Any, &mut losses);
            assert!(matches!(own, Cow::Borrowed(own) if own == text), "{text}");
            assert!(losses.is_empty(), "{text}");
        }
        let (schema, mut losses) = (json(r#"{"anyOf":[{"type":"object"},{"type":"array"}]}"#), Losses::default());
        let mended = of_tool(Some(&schema), "t", Top::Any, &mut losses);
        assert_eq!(mended, r#"{"anyOf":[{"type":"object","properties":{}},{"type":"array","items":{}}]}"#);
        let (schema, mut losses) = (json(r#"{"not":{"required":["a"]}}"#), Losses::default());
        let mended = of_tool(Some(&schema), "t", Top::Any, &mut losses);
        assert_eq!(mended, r#"{"not":{"required":["a"]},"type":"object","properties":{}}"#);
        assert!(losses.is_empty());
        // A choice of arguments is no lack of them.
        let choice = json(r#"{"type":"object","properties":{},"anyOf":[{"properties":{"a":{"type":"string"}}}]}"#);
        let target = Profile::default();
        let (parameters, _) =
            function(Some(&choice), Some(true), "t", (Format::OpenAiChat, &target), &mut Losses::default());
        assert_eq!(parameters, choice.as_str());
    }

    #[test]
    fn strict_is_said_of_answers_that_are_objects_only() {
        let list = r#"{"type":"array","items":{"type":"string"}}"#;
        let object = r#"{"type":"object","properties":{},"required":[],"additionalProperties":false}"#;
        let either = format!(r#"{{"anyOf":[{object}]}}"#);
        for (schema, from, strict) in [
            (object, Format::Anthropic, true),
            (list, Format::Anthropic, false),
            (list, Format::Gemini, false),
            (&either, Format::Ollama, false),
            (list, Format::OpenAiChat, true),
        ] {
            let (schema, mut losses) = (json(schema), Losses::default());
            let (_, said) = answer(&schema, Some(true), from, &mut losses);
            assert_eq!((said, losses.is_empty()), (Some(strict), strict), "{schema:?} {from}");
        }
    }

    #[test]
    fn a_strict_function_without_parameters_is_closed() {
        for text in ["{}", r#"{"type":"object"}"#, r#"{"type":"object","properties":{},"additionalProperties":false}"#]
        {
            let schema = json(text);
            let (parameters, strict) =
                function(Some(&schema), Some(true), "t", (Format::OpenAiChat, &openais()), &mut Losses::default());
            assert_eq!((parameters.as_ref(), strict), (STRICT_EMPTY, Some(true)), "{text}");
        }
        let (parameters, strict) =
            function(None, Some(true), "t", (Format::Anthropic, &openais()), &mut Losses::default());
        assert_eq!((parameters.as_ref(), strict), (STRICT_EMPTY, Some(true)));
        // A list of anything is nothing that strict mode takes.
        let open = json(
            r#"{"type":"object","properties":{"l":{"type":"array"}},"required":["l"],"additionalProperties":false}"#,
        );
        let mut losses = Losses::default();
        let (parameters, strict) = function(Some(&open), Some(true), "t", (Format::Anthropic, &openais()), &mut losses);
        assert!(parameters.contains(r#""items":{}"#) && strict == Some(false), "{parameters}");
        assert_eq!(losses.names().collect::<Vec<_>>(), ["tools.strict"]);
    }

    #[test]
    fn an_answers_schema_keeps_its_top() {
        let given = json(r#"{"anyOf":[{"type":"object"},{"type":"array"}]}"#);
        let expected = json!({"anyOf": [{"type": "object", "properties": {}}, {"type": "array", "items": {}}]});
        assert_eq!(serde_json::from_str::<Value>(&of_answer(&given)).expect("JSON"), expected);
        let fine = json(r#"{"type":"object","properties":{}}"#);
        assert!(matches!(of_answer(&fine), Cow::Borrowed(_)));
    }

    #[test]
    fn a_schema_nested_ten_thousand_deep_or_in_a_circle_is_no_panic() {
        let deep = ["{\"items\":".repeat(10_000), "{}".to_owned(), "}".repeat(10_000)].concat();
        if let Some(schema) = Json::from_string(deep) {
            let _ = of_tool(Some(&schema), "t", Top::PlainObject, &mut Losses::default());
            let _ = of_tool(Some(&schema), "t", Top::Any, &mut Losses::default());
            let _ = of_answer(&schema);
        }
        let (circle, _) = mended(r##"{"$ref":"#/$defs/A","$defs":{"A":{"$ref":"#/$defs/A"}}}"##);
        assert_eq!(circle["type"], "object");
    }
}
