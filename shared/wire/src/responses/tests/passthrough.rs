use bytes::Bytes;

use super::{Begun, UsageScanner};
use crate::{json_tail::UsageTail, responses::answer_facts, scan::scan};

const DELTA: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"h\u{e9}\\\"y\",\"item_id\":\"i\"}\n\n";
const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null,\"usage\":null,\"status\":\"in_progress\"}}\n\n";
const COMPLETED: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"error\":null,\"tools\":[{\"parameters\":{\"properties\":{\"usage\":{\"input_tokens\":{\"type\":\"integer\"}},\"delta\":\"x\"}}}],\"metadata\":{\"delta\":\"x\"},\"usage\":{\"input_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":4},\"output_tokens\":6,\"output_tokens_details\":{\"reasoning_tokens\":2}}}}\n\n";

fn run(stream: &[u8], split: usize) -> (Vec<u8>, UsageScanner) {
    let (mut scanner, mut out) = (UsageScanner::new(), Vec::new());
    for piece in stream.chunks(split) {
        scanner.feed(Bytes::copy_from_slice(piece), &mut out);
    }
    scanner.end(&mut out);
    (out.concat(), scanner)
}

#[test]
fn any_split_shows_the_same_and_everything_is_passed_on() {
    let plain = [": hi\n\n", CREATED, DELTA, COMPLETED].concat();
    for line in ["\n", "\r\n", "\r"] {
        let stream = plain.replace('\n', line).into_bytes();
        for split in 1..=stream.len() {
            let (out, scanner) = run(&stream, split);
            assert_eq!(out, stream, "{line:?} in pieces of {split}");
            assert!(scanner.done() && scanner.complete() && !scanner.saw_error() && scanner.between_events());
            assert_eq!(scanner.finish_reason(), Some("completed"));
            let usage = scanner.usage().expect("usage");
            assert_eq!(
                (usage.input, usage.cache_read, usage.output, usage.reasoning),
                (Some(6), Some(4), Some(4), Some(2))
            );
            assert_eq!(scanner.estimated_output(), 2, "é and the escaped quote make six bytes");
        }
    }
}

#[test]
fn every_end_is_seen() {
    for (event, done, error, reason) in [
        (
            r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":1,"output_tokens":2}}}"#,
            true,
            false,
            Some("max_output_tokens"),
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"x"},"usage":{"input_tokens":1,"output_tokens":2}}}"#,
            false,
            true,
            Some("failed"),
        ),
        (r#"{"type":"error","code":"x","message":"boom"}"#, false, true, None),
        (r#"{"sequence_number":2,"error":{"type":"server_error"},"type":"error"}"#, false, true, None),
        (r#"{"error":{"message":"boom"}}"#, false, true, None),
        (
            r#"{"type":"response.output_item.done","item":{"type":"mcp_call","error":"in the tool"}}"#,
            false,
            false,
            None,
        ),
        (
            r#"{"type":"response.output_text.delta","delta":"\"response.completed\" {\"type\":\"error\"}"}"#,
            false,
            false,
            None,
        ),
        (
            r#"{"type":"response.output_item.done","item":{"type":"message","x":"response.completed"}}"#,
            false,
            false,
            None,
        ),
    ] {
        for stream in [format!("data: {event}\n\n"), format!("data:{event}"), format!("event: x\ndata: {event}\n\n")] {
            let (_, scanner) = run(stream.as_bytes(), 11);
            assert_eq!(
                (scanner.done(), scanner.saw_error(), scanner.finish_reason()),
                (done, error, reason),
                "{stream}"
            );
            assert_eq!(scanner.usage().is_some(), event.contains("usage"), "{stream}");
        }
    }
    let (_, scanner) = run(DELTA.as_bytes(), 1000);
    assert!(!scanner.complete());
}

#[test]
fn an_endless_event_is_passed_on_and_not_kept() {
    let (mut scanner, mut out) = (UsageScanner::new(), Vec::new());
    let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
    (0..20).for_each(|_| scanner.feed(piece.clone(), &mut out));
    scanner.end(&mut out);
    assert_eq!(out.iter().map(Bytes::len).sum::<usize>(), 20 * 1024 * 1024);
    assert!(!scanner.between_events());
}

#[test]
fn usage_of_a_whole_answer_is_found_however_it_is_split() {
    let answer = r#"{"id":"r","object":"response","status":"completed","error":null,"incomplete_details":null,
        "output":[{"type":"message","status":"completed","content":[{"type":"output_text","text":"\"usage\": {\"input_tokens\": 1}"}]}],
        "usage":{"input_tokens":3,"output_tokens":2},"tools":[{"parameters":{"properties":{"usage":{"type":"object"}}}}]}"#;
    for split in 1..answer.len() {
        let mut tail = UsageTail::default();
        answer.as_bytes().chunks(split).for_each(|piece| tail.feed(&Bytes::copy_from_slice(piece)));
        let facts = answer_facts(&tail);
        assert_eq!(facts.usage.and_then(|usage| usage.output), Some(2), "pieces of {split}");
        assert_eq!(facts.finish_reason.as_deref(), Some("completed"));
    }
    for (answer, reason) in [
        (
            r#"{"status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[]}"#,
            Some("content_filter"),
        ),
        (r#"{"status":"failed","error":{"code":"x"},"output":[]}"#, Some("failed")),
        ("<html>", None),
    ] {
        let mut tail = UsageTail::default();
        tail.feed(&Bytes::from(answer));
        let facts = answer_facts(&tail);
        assert_eq!((facts.usage, facts.finish_reason.as_deref()), (None, reason));
    }
}

#[test]
fn only_the_model_changes() {
    let body = r#"{ "stream":true,"model":"p/m" ,"input":"x","max_output_tokens":9}"#;
    let scan = scan(body.as_bytes()).expect("scanned");
    assert_eq!(scan.max_tokens, Some(9));
    let spliced = super::upstream_body(Bytes::from(body), &scan, "m", false).concat();
    assert_eq!(spliced, br#"{ "stream":true,"model":"m" ,"input":"x","max_output_tokens":9}"#);
}

#[test]
fn what_a_cut_stream_has_told_of_its_response_is_known() {
    let stream = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":\
        {\"id\":\"resp_7\",\"object\":\"response\",\"created_at\":17,\"instructions\":\"say \\\"model\\\":\\\"x\\\"\",\"model\":\"gpt-x\"}}\n\n\
        : keep-alive\n\nevent: a\ndata: {\"id\":\"msg_1\"}\n\nevent: b\ndata: {\"b\":1}";
    for split in 1..stream.len() {
        let (_, scanner) = run(stream.as_bytes(), split);
        let expected = Begun { next: 3, id: Some("resp_7".into()), created: 17, model: Some("gpt-x".into()) };
        assert_eq!(scanner.begun(), &expected, "pieces of {split}");
    }
}

#[test]
fn thoughts_are_asked_for_in_a_form_that_can_go_back() {
    const WORD: &str = "reasoning.encrypted_content";
    for (body, expected) in [
        (r#"{"model":"p/m","input":"x"}"#, format!(r#"{{"include":["{WORD}"],"model":"m","input":"x"}}"#)),
        (
            r#"{"include" : ["file_search_call.results"], "model":"p/m","z":1.0}"#,
            format!(r#"{{"include" : ["file_search_call.results","{WORD}"], "model":"m","z":1.0}}"#),
        ),
        (
            r#"{"model":"p/m","include":["reasoning.encrypted_content"]}"#,
            r#"{"model":"m","include":["reasoning.encrypted_content"]}"#.to_owned(),
        ),
        (
            r#"{"model":"p/m","tools":[{"include":1}],"input":"\"include\""}"#,
            format!(r#"{{"include":["{WORD}"],"model":"m","tools":[{{"include":1}}],"input":"\"include\""}}"#),
        ),
        // What is no list is for the upstream to refuse.
        (r#"{"model":"p/m","include":7}"#, r#"{"model":"m","include":7}"#.to_owned()),
    ] {
        let scan = scan(body.as_bytes()).expect("scanned");
        let out = super::upstream_body(Bytes::from(body), &scan, "m", true).concat();
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
