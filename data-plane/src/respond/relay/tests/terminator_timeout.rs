//! Answers that are whole though their streams go on, break or run out of time.

use std::sync::Arc;

use omniroute_core::{hash::Pepper, time::UnixMillis};
use omniroute_wire::ir::Format;

use super::*;
use crate::{
    seal::SignatureSealer,
    translate::{SameFormat, Streaming, Translation},
};

const GEMINI: AnswerKind = AnswerKind::Chat(Format::Gemini);
const SAID: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"12345678\"}]}}]}\n\n";
const LAST: &str = "data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":4}}\n\n";
/// Reason and count in one, behind a text.
const EACH: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"12345678\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\n";
const QUIET: RelayTimesIn = RelayTimesIn { keepalive: 0, ..TIMES };
const BEAT: &str = ": beat\n\n";

/// From `upstream` to a client of Anthropic's.
pub(super) fn to_messages(upstream: Format) -> AnswerFilter {
    let translation = Translation::same_format(&SameFormat {
        dialect: &Dialect::Messages,
        format: upstream,
        body: b"{}",
        requested: "mock/m",
        stream: true,
        include_usage: false,
        choices: 1,
        at: UnixMillis(0),
        sealer: Arc::new(SignatureSealer::new(&Pepper::new("fleet"))),
        previous: None,
    });
    AnswerFilter::Translated(Box::new(Streaming::new(&translation)))
}

impl Bench {
    fn ended_well(&self) {
        let event = self.event();
        assert_eq!((event.outcome(), event.error_code.as_str()), (Outcome::Ok, ""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_counted_answer_is_left_soon_whatever_its_host_does_to_keep_it_open() {
    for (last, beats) in [(&[FINISH, USAGE][..], false), (&[FINISH, USAGE], true), (&[EACH], true)] {
        let mut bench = Bench::new(AnswerFilter::events(CHAT, false), ROLE, TIMES);
        assert_eq!(bench.text().await, ROLE);
        for piece in last {
            bench.says(Ok(piece));
            assert_eq!(bench.text().await, *piece);
        }
        let start = Instant::now();
        for _ in 0..if beats { 4 } else { 0 } {
            tokio::select! {
                biased;
                piece = bench.next() => panic!("{piece:?}"),
                () = tokio::time::sleep(SECOND * 2) => {}
            }
            bench.says(Ok(BEAT));
            assert_eq!(bench.text().await, BEAT);
        }
        assert_eq!(bench.rest().await, DONE_TEXT);
        assert_eq!(start.elapsed(), SECOND * 10);
        let event = bench.event();
        assert_eq!((event.outcome(), usage(&event)), (Outcome::Ok, (Some(9), Some(4), false)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_count_of_an_answer_is_waited_for_longer_than_its_terminator() {
    let mut bench =
        Bench::new(AnswerFilter::events(CHAT, false), TEXT, RelayTimesIn { keepalive: 0, idle: 300, ..TIMES });
    bench.says(Ok(FINISH));
    let start = Instant::now();
    assert_eq!(bench.rest().await, format!("{TEXT}{FINISH}{DONE_TEXT}"));
    assert_eq!(start.elapsed(), SECOND * 60);
    bench.ended_well();
}

#[tokio::test(start_paused = true)]
async fn a_host_that_tells_reason_and_count_in_every_chunk_may_pause() {
    let mut bench = Bench::new(AnswerFilter::events(CHAT, false), EACH, RelayTimesIn { keepalive: 0, ..TIMES });
    assert_eq!(bench.text().await, EACH);
    for pause in [9, 30, 50] {
        tokio::select! {
            biased;
            piece = bench.next() => panic!("{piece:?}"),
            () = tokio::time::sleep(SECOND * pause) => {}
        }
        bench.says(Ok(EACH));
        assert_eq!(bench.text().await, EACH);
    }
    let start = Instant::now();
    assert_eq!(bench.rest().await, DONE_TEXT);
    assert_eq!(start.elapsed(), SECOND * 60, "as long as silence is borne");
    bench.ended_well();
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_ends_well_however_its_stream_ends() {
    for last in [&[FINISH][..], &[FINISH, USAGE]] {
        for broken in [Some("reset"), None] {
            let (first, total) = (TEXT, if broken.is_some() { TIMES.total } else { 5 });
            let mut bench = Bench::new(AnswerFilter::events(CHAT, false), first, RelayTimesIn { total, ..TIMES });
            last.iter().for_each(|piece| bench.says(Ok(piece)));
            if let Some(broken) = broken {
                bench.says(Ok("data: {\"choices\":[],\"usa"));
                bench.says(Err(broken));
            }
            assert_eq!(bench.rest().await, format!("{first}{}{DONE_TEXT}", last.concat()));
            bench.ended_well();
        }
    }
    let mut bench = Bench::new(AnswerFilter::events(CHAT, false), TEXT, TIMES);
    bench.says(Ok(FINISH));
    assert_eq!(bench.text().await, TEXT);
    assert_eq!(bench.text().await, FINISH);
    bench.relay.as_mut().expect("still there").as_mut().cut();
    assert_eq!(bench.rest().await, DONE_TEXT, "a drain takes nothing from it either");
    bench.ended_well();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_goes_on_is_not_whole_whatever_it_said_before() {
    let mut bench = Bench::new(AnswerFilter::events(CHAT, false), FINISH, TIMES);
    bench.says(Ok(TEXT));
    bench.says(Err("reset"));
    assert!(!bench.rest().await.contains("[DONE]"));
    assert_eq!(bench.event().error_code, "upstream_broken");
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_any_terminator_in_its_format_is_left_as_soon() {
    for (filter, end) in
        [(AnswerFilter::events(GEMINI, false), LAST), (to_messages(Format::Gemini), "event: message_stop")]
    {
        let mut bench = Bench::new(filter, SAID, TIMES);
        bench.says(Ok(LAST));
        let start = Instant::now();
        let all = bench.rest().await;
        assert!(all.contains("12345678") && all.contains(end) && !all.contains("error"), "{all}");
        assert_eq!(start.elapsed(), SECOND * 10);
        bench.ended_well();
    }
}

#[tokio::test(start_paused = true)]
async fn a_translated_answer_ends_with_its_terminator_and_its_upstream_is_left() {
    let mut bench = Bench::new(to_messages(Format::OpenAiChat), TEXT, TIMES);
    for piece in [FINISH, USAGE, DONE_TEXT] {
        bench.says(Ok(piece));
    }
    let start = Instant::now();
    let mut all = String::new();
    while !all.contains("event: message_stop\n") {
        all.push_str(&bench.text().await);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    bench.ended_well();
    assert_eq!(bench.rest().await, "");
    assert_eq!(start.elapsed(), LINGER);

    let mut bench = Bench::new(to_messages(Format::OpenAiChat), EACH, TIMES);
    bench.says(Err("reset"));
    let all = bench.rest().await;
    assert!(all.contains("event: message_stop\n") && !all.contains("error"), "{all}");
    bench.ended_well();
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_first_bytes_are_all_of_it_is_left_too() {
    let all: &'static str = Box::leak([TEXT, FINISH, DONE_TEXT].concat().into_boxed_str());
    let mut bench = Bench::new(AnswerFilter::events(CHAT, false), all, TIMES);
    let start = Instant::now();
    let relay = bench.relay.as_ref().expect("still there");
    assert_eq!(relay.deadline(), Some(start + Duration::from_secs(TIMES.total)), "the client may take its time");
    assert_eq!(bench.rest().await, all);
    assert_eq!(start.elapsed(), LINGER);
    bench.ended_well();
}

#[tokio::test(start_paused = true)]
async fn a_picture_is_no_sign_that_no_other_comes() {
    const PICTURE: &str = "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"AA==\",\"usage\":{\"input_tokens\":9,\"output_tokens\":4}}\n\n";
    let mut bench = Bench::new(
        AnswerFilter::events(AnswerKind::Images, false),
        PICTURE,
        RelayTimesIn { keepalive: 0, idle: 300, ..TIMES },
    );
    assert_eq!(bench.text().await, PICTURE);
    tokio::select! {
        biased;
        piece = bench.next() => panic!("{piece:?}"),
        () = tokio::time::sleep(SECOND * 200) => {}
    }
    bench.says(Ok(PICTURE));
    assert_eq!(bench.text().await, PICTURE);
    bench.ends();
    assert_eq!(bench.rest().await, "");
    bench.ended_well();
}

#[tokio::test(start_paused = true)]
async fn of_several_choices_all_are_waited_for() {
    let numbered = |event: &str, index: u32| event.replace("{\"delta\"", &format!("{{\"index\":{index},\"delta\""));
    let pieces: Vec<&'static str> = [(TEXT, 0), (FINISH, 0), (TEXT, 1), (FINISH, 1)]
        .map(|(event, index)| &*Box::leak(numbered(event, index).into_boxed_str()))
        .to_vec();
    let mut bench = Bench::new(AnswerFilter::events(CHAT, false).of_choices(2), pieces[0], QUIET);
    assert_eq!(bench.text().await, pieces[0]);
    for (piece, pause) in pieces[1..].iter().zip([30, 0, 0]) {
        bench.says(Ok(piece));
        assert_eq!(bench.text().await, *piece);
        // The second one takes its time to begin.
        tokio::select! {
            biased;
            piece = bench.next() => panic!("{piece:?}"),
            () = tokio::time::sleep(SECOND * pause) => {}
        }
    }
    bench.says(Ok(USAGE));
    assert_eq!(bench.text().await, USAGE);
    let start = Instant::now();
    assert_eq!(bench.rest().await, DONE_TEXT);
    assert_eq!(start.elapsed(), SECOND * 10);
    bench.ended_well();
}

#[tokio::test(start_paused = true)]
async fn fewer_choices_than_were_asked_for_are_an_answer_once_nothing_more_comes() {
    let mut bench = Bench::new(AnswerFilter::events(CHAT, false).of_choices(2), TEXT, QUIET);
    for piece in [TEXT, FINISH] {
        if piece == FINISH {
            bench.says(Ok(piece));
        }
        assert_eq!(bench.text().await, piece);
    }
    assert_eq!(bench.rest().await, DONE_TEXT);
    bench.ended_well();
}
