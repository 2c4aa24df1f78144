use serde_json::json;

use super::{CLAUDE, LLAMA, call, encode, plain_profile, request, result, sent, turn};
use crate::ir::{Annotation, Family, Json, Part, Role, Source};

fn inline(media_type: &'static str) -> Source<'static> {
    Source::Inline { media_type: media_type.into(), data: "AA==".into() }
}

fn image(source: Source<'_>) -> Part<'_> {
    Part::Image { source, detail: None, cache: None }
}

fn document<'a>(source: Source<'a>, name: Option<&'a str>, citations: bool) -> Part<'a> {
    let context = citations.then(|| "context".into());
    Part::Document { source, name: name.map(Into::into), context, citations, cache: None }
}

fn blocks(parts: Vec<Part<'_>>) -> serde_json::Value {
    sent(&request(vec![turn(Role::User, parts)])).0["messages"][0]["content"].clone()
}

#[test]
fn media_are_bytes_or_s3_and_have_a_format() {
    assert_eq!(
        blocks(vec![
            image(inline("image/webp")),
            image(Source::Url("s3://bucket/a.JPG".into())),
            Part::Video { source: inline("video/quicktime") },
            Part::Audio { source: inline("audio/mpeg"), format: None, transcript: None },
        ]),
        json!([
            {"image": {"format": "webp", "source": {"bytes": "AA=="}}},
            {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://bucket/a.JPG"}}}},
            {"video": {"format": "mov", "source": {"bytes": "AA=="}}},
            {"audio": {"format": "mp3", "source": {"bytes": "AA=="}}}
        ])
    );
}

#[test]
fn what_is_not_bytes_or_has_no_format_is_refused() {
    let file = || Source::File { id: "file-1".into(), owner: Family::OpenAi };
    for (part, param) in [
        (image(Source::Url("https://x/y.png".into())), "image"),
        (image(file()), "image"),
        (image(inline("image/tiff")), "image"),
        (Part::Video { source: Source::Url("https://x/y.mp4".into()) }, "video"),
        (Part::Audio { source: inline("audio/x-strange"), format: None, transcript: None }, "audio"),
        (document(Source::Url("https://x/y.pdf".into()), None, false), "document"),
        (document(file(), None, false), "document"),
        (document(inline("application/zip"), Some("a.zip"), false), "document"),
    ] {
        let request = request(vec![turn(Role::User, vec![Part::text("see"), part])]);
        let error = encode(&request, CLAUDE, &plain_profile()).expect_err(param);
        assert_eq!((error.code, error.param.as_deref()), ("unsupported_feature", Some(param)));
    }
}

#[test]
fn documents_have_legal_names_each_once_and_a_text_beside_them() {
    assert_eq!(
        blocks(vec![
            document(inline("application/pdf"), Some("my_report.pdf"), false),
            document(inline("application/octet-stream"), Some("my_report.csv"), false),
            document(Source::Text("hé".into()), None, false),
        ]),
        json!([
            {"document": {"format": "pdf", "name": "my-report", "source": {"bytes": "AA=="}}},
            {"document": {"format": "csv", "name": "my-report (2)", "source": {"bytes": "AA=="}}},
            {"document": {"format": "txt", "name": "document", "source": {"bytes": "aMOp"}}},
            {"text": "See the attached document."}
        ])
    );
}

#[test]
fn citations_of_documents_are_claude_s() {
    let parts = || vec![document(Source::Text("facts".into()), Some("n.md"), true), Part::text("sum up")];
    assert_eq!(
        blocks(parts())[0],
        json!({"document": {"format": "txt", "name": "n", "source": {"text": "facts"}, "context": "context",
            "citations": {"enabled": true}}})
    );
    let (body, losses) = encode(&request(vec![turn(Role::User, parts())]), LLAMA, &plain_profile()).expect("encoded");
    assert_eq!(body["messages"][0]["content"][0]["document"]["source"], json!({"bytes": "ZmFjdHM="}));
    assert_eq!(losses, ["document.context", "document.citations"]);
}

#[test]
fn results_carry_their_media_and_their_status_where_the_model_knows_them() {
    let turns = || {
        vec![
            turn(Role::User, vec![Part::text("go")]),
            turn(Role::Assistant, vec![call("a", "f", "{}"), call("b", "f", ""), call("c", "f", "{}")]),
            turn(
                Role::User,
                vec![
                    Part::text("and"),
                    result("a", vec![Part::text("see"), image(inline("image/png"))], false),
                    result("b", Vec::new(), true),
                    result("c", vec![Part::text("  ")], false),
                ],
            ),
        ]
    };
    let (body, losses) = sent(&request(turns()));
    assert_eq!(
        body["messages"][2]["content"],
        json!([
            {"toolResult": {"toolUseId": "a", "content": [{"text": "see"}, {"image": {"format": "png", "source": {"bytes": "AA=="}}}]}},
            {"toolResult": {"toolUseId": "b", "content": [{"text": "(no output)"}], "status": "error"}},
            {"toolResult": {"toolUseId": "c", "content": [{"text": "(no output)"}]}},
            {"text": "and"}
        ])
    );
    assert!(losses.is_empty());
    let (body, _) = encode(&request(turns()), LLAMA, &plain_profile()).expect("encoded");
    assert_eq!(
        body["messages"][2]["content"],
        json!([
            {"toolResult": {"toolUseId": "a", "content": [{"text": "see"}, {"text": "[image: see below]"}]}},
            {"toolResult": {"toolUseId": "b", "content": [{"text": "Error:"}, {"text": "(no output)"}]}},
            {"toolResult": {"toolUseId": "c", "content": [{"text": "(no output)"}]}},
            {"text": "and"},
            {"image": {"format": "png", "source": {"bytes": "AA=="}}}
        ])
    );
}

#[test]
fn turns_alternate_begin_with_a_user_s_and_say_something() {
    let (body, losses) = sent(&request(vec![
        turn(Role::Assistant, vec![Part::text("Hello.")]),
        turn(Role::User, vec![Part::text("")]),
        turn(Role::Assistant, vec![call("a", "f", "{}"), Part::text("I look."), image(inline("image/png"))]),
        turn(Role::Tool, vec![result("a", vec![Part::text("1")], false)]),
        turn(Role::User, vec![Part::text("go on"), Part::Refusal { text: "no".into() }]),
        turn(Role::Assistant, vec![Part::text("Sure: \n")]),
    ]));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [{"text": "(start of the conversation)"}]},
            {"role": "assistant", "content": [{"text": "Hello."}, {"text": "I look."},
                {"toolUse": {"toolUseId": "a", "name": "f", "input": {}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": [{"text": "1"}]}},
                {"text": "go on"}, {"text": "no"}]},
            {"role": "assistant", "content": [{"text": "Sure:"}]}
        ])
    );
    assert_eq!(losses, ["assistant.media"]);
}

#[test]
fn own_citations_go_back_and_others_are_listed() {
    let annotation = |family, raw: Option<&str>| Annotation {
        url: None,
        title: None,
        cited_text: None,
        start: None,
        end: None,
        family,
        raw: raw.and_then(|raw| Json::from_string(raw.to_owned())),
    };
    let annotations = vec![annotation(Family::Bedrock, Some(r#"{"title":"T"}"#)), annotation(Family::OpenAi, None)];
    let (body, losses) = sent(&request(vec![
        turn(Role::User, vec![Part::text("go")]),
        turn(Role::Assistant, vec![Part::Text { text: "It".into(), annotations, cache: None }]),
        turn(Role::User, vec![Part::text("on")]),
    ]));
    assert_eq!(
        body["messages"][1]["content"],
        json!([{"citationsContent": {"content": [{"text": "It"}], "citations": [{"title": "T"}]}}])
    );
    assert_eq!(losses, ["annotations"]);
}
