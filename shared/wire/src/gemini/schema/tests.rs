use super::*;

fn lowered(schema: &str) -> Result<(String, Vec<String>), WireError> {
    let json = Json::from_string(schema.to_owned()).expect("JSON");
    let mut losses = Losses::default();
    let text = lower(&json, "tools.0.parameters", false, &mut losses)?;
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    Ok((text, losses.names().map(str::to_owned).collect()))
}

#[test]
fn each_construct_has_its_form_in_the_subset() {
    for (schema, expected, lost) in [
        (r#"{"$schema":"x","type":"object","additionalProperties":false}"#, r#"{"type":"OBJECT"}"#, ""),
        (r#"{"const":"fast"}"#, r#"{"type":"STRING","enum":["fast"]}"#, ""),
        (r#"{"type":["string","null"]}"#, r#"{"type":"STRING","nullable":true}"#, ""),
        (r#"{"type":["string","integer"]}"#, r#"{"anyOf":[{"type":"STRING"},{"type":"INTEGER"}]}"#, ""),
        (r#"{"oneOf":[{"type":"string"},{"type":"null"}]}"#, r#"{"type":"STRING","nullable":true}"#, ""),
        (
            r#"{"description":"d","anyOf":[{"type":"string"},{"type":"number","description":"n"},{"const":null}]}"#,
            r#"{"anyOf":[{"type":"STRING","nullable":true,"description":"d"},{"type":"NUMBER","nullable":true,"description":"n"}]}"#,
            "",
        ),
        (
            r#"{"type":"object","properties":{"a":{"type":"string"}},"anyOf":[{"required":["a"]},{"required":["b"]}]}"#,
            r#"{"type":"OBJECT","properties":{"a":{"type":"STRING"}}}"#,
            "schema.anyOf",
        ),
        (r#"{"type":"string","format":"uri","minLength":1}"#, r#"{"type":"STRING","minLength":1}"#, "schema.format"),
        (r#"{"type":"string","format":"date-time"}"#, r#"{"type":"STRING","format":"date-time"}"#, ""),
        (r#"{"type":"integer","exclusiveMinimum":0}"#, r#"{"type":"INTEGER","minimum":1}"#, ""),
        (r#"{"type":"number","exclusiveMinimum":0}"#, r#"{"type":"NUMBER"}"#, "schema.exclusiveMinimum"),
        (
            r#"{"type":"integer","description":"d","enum":[1,2]}"#,
            r#"{"type":"INTEGER","description":"d One of: 1, 2."}"#,
            "schema.enum",
        ),
        (r#"{"enum":["a","",null]}"#, r#"{"type":"STRING","nullable":true,"enum":["a"]}"#, "schema.enum"),
        (r#"{"type":"array"}"#, r#"{"type":"ARRAY","items":{"type":"STRING"}}"#, ""),
        (
            r#"{"type":"array","prefixItems":[{"type":"string"},{"type":"string"},{"type":"number"}]}"#,
            r#"{"type":"ARRAY","items":{"anyOf":[{"type":"STRING"},{"type":"NUMBER"}]}}"#,
            "schema.prefixItems",
        ),
        (
            r#"{"type":"object","properties":{"z":true,"a":{"type":"string"},"n":false},"required":["a","missing"]}"#,
            r#"{"type":"OBJECT","properties":{"z":{"type":"STRING"},"a":{"type":"STRING"}},"required":["a"]}"#,
            "schema.type",
        ),
        (
            r#"{"allOf":[{"properties":{"a":{"type":"string"}},"required":["a"]},{"properties":{"b":{"type":"number"}},"required":["b"]}]}"#,
            r#"{"type":"OBJECT","properties":{"a":{"type":"STRING"},"b":{"type":"NUMBER"}},"required":["a","b"]}"#,
            "",
        ),
        (
            r#"{"type":"object","patternProperties":{"x":{}},"x-ui":1}"#,
            r#"{"type":"OBJECT"}"#,
            "schema.patternProperties",
        ),
        (
            r#"{"type":"object","additionalProperties":{"type":"string"}}"#,
            r#"{"type":"OBJECT"}"#,
            "schema.additionalProperties",
        ),
        (r#"{"type":"string","minimum":3,"minItems":2}"#, r#"{"type":"STRING"}"#, ""),
    ] {
        let (text, losses) = lowered(schema).expect(schema);
        assert_eq!((text.as_str(), losses.join(",").as_str()), (expected, lost), "{schema}");
    }
}

#[test]
fn references_are_written_out_and_what_stands_beside_them_wins() {
    let schema = r##"{"type":"object","$defs":{"A":{"type":"object","description":"def","properties":{"s":{"$ref":"#/definitions/x~1y"}}}},
        "definitions":{"x/y":{"type":"string"}},
        "properties":{"one":{"description":"mine","$ref":"#/$defs/A"},"two":{"$ref":"#/$defs/A"}}}"##;
    let a =
        |text: &str| format!(r#"{{"type":"OBJECT","description":"{text}","properties":{{"s":{{"type":"STRING"}}}}}}"#);
    let expected = format!(r#"{{"type":"OBJECT","properties":{{"one":{},"two":{}}}}}"#, a("mine"), a("def"));
    assert_eq!(lowered(schema).expect("lowered").0, expected);
}

#[test]
fn one_base_behind_two_references_is_no_cycle() {
    let schema = r##"{"$defs":{"Base":{"properties":{"b":{"type":"string"}}},"L":{"allOf":[{"$ref":"#/$defs/Base"}]},"R":{"allOf":[{"$ref":"#/$defs/Base"}]}},
        "allOf":[{"$ref":"#/$defs/L"},{"$ref":"#/$defs/R"}]}"##;
    assert_eq!(lowered(schema).expect("lowered").0, r#"{"type":"OBJECT","properties":{"b":{"type":"STRING"}}}"#);
}

#[test]
fn cycles_and_references_to_nowhere_are_refused() {
    for schema in [
        r##"{"$ref":"#"}"##,
        r##"{"$defs":{"N":{"type":"object","properties":{"next":{"$ref":"#/$defs/N"}}}},"$ref":"#/$defs/N"}"##,
        r##"{"$defs":{"N":{"type":"array","items":{"$ref":"#/$defs/N"}}},"type":"object","properties":{"n":{"$ref":"#/$defs/N"}}}"##,
        r##"{"$defs":{"N":{"anyOf":[{"$ref":"#/$defs/N"},{"type":"string"}]}},"$ref":"#/$defs/N"}"##,
        r##"{"$ref":"#/$defs/missing"}"##,
        r##"{"$ref":"https://example.com/schema"}"##,
        r##"{"$ref":7}"##,
        r##"{"properties":{"a":3}}"##,
    ] {
        let error = lowered(schema).expect_err(schema);
        assert_eq!(
            (error.code, error.param.as_deref()),
            ("unsupported_feature", Some("tools.0.parameters")),
            "{schema}"
        );
    }
}

#[test]
fn references_that_fan_out_cost_a_bounded_amount() {
    for (open, close) in
        [(r#"{"properties":{"a":R,"b":R}}"#, ""), (r#"{"anyOf":[R,R]}"#, ""), (r#"{"allOf":[R,R]}"#, "")]
    {
        let mut defs = vec![r#""d0":{"type":"string"}"#.to_owned()];
        for level in 1..24 {
            let below = format!(r##"{{"$ref":"#/$defs/d{}"}}"##, level - 1);
            defs.push(format!(r#""d{level}":{}{close}"#, open.replace('R', &below)));
        }
        let schema = format!(r##"{{"$defs":{{{}}},"$ref":"#/$defs/d23"}}"##, defs.join(","));
        let error = lowered(&schema).expect_err("too much");
        assert!(error.message.contains("nodes") || error.message.contains("long"), "{error}");
    }
}

#[test]
fn a_bottomless_schema_is_refused() {
    let deep = format!("{}{{}}{}", r#"{"items":"#.repeat(10_000), "}".repeat(10_000));
    assert!(lowered(&deep).is_err());
    let deep = format!("{}{{}}{}", r#"{"allOf":["#.repeat(100), "]}".repeat(100));
    assert!(lowered(&deep).is_err());
}

#[test]
fn response_schemas_carry_the_order_of_their_properties() {
    let json =
        Json::from_string(r#"{"properties":{"z":{"type":"string"},"a":{"type":"string"}}}"#.to_owned()).expect("JSON");
    let text = lower(&json, "response_format", true, &mut Losses::default()).expect("lowered");
    assert!(text.contains(r#""propertyOrdering":["z","a"]"#), "{text}");
}
