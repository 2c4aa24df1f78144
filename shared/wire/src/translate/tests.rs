//! Where the streams of every format end.

use super::*;
use crate::{bedrock::frames::write_event, ir::Collector};

/// How much of a stream there is: (whole, at its end).
type Ends = (bool, bool);

const GOES_ON: Ends = (false, false);
const WHOLE: Ends = (true, false);
const DONE: Ends = (true, true);
const FAILED: Ends = (false, true);

/// One after another, what the decoder says behind each piece.
fn ends(format: Format, pieces: &[impl AsRef<[u8]>]) -> Vec<Ends> {
    let mut decoder = decoder(format);
    pieces
        .iter()
        .map(|piece| {
            decoder.feed(piece.as_ref(), &mut |_| {});
            (decoder.complete(), decoder.done())
        })
        .collect()
}

/// Whether an upstream that hangs up behind these pieces has given an answer.
fn is_answer(format: Format, pieces: &[impl AsRef<[u8]>]) -> bool {
    let (mut decoder, mut collector) = (decoder(format), Collector::default());
    pieces.iter().for_each(|piece| decoder.feed(piece.as_ref(), &mut |event| collector.push(&event)));
    decoder.end(&mut |event| collector.push(&event));
    collector.finish().is_ok()
}

fn chat(choice: u32, text: &str, reason: Option<&str>) -> String {
    let reason = reason.map_or("null".to_owned(), |reason| format!("\"{reason}\""));
    let delta = if text.is_empty() { "{}".to_owned() } else { format!("{{\"content\":\"{text}\"}}") };
    format!("data: {{\"choices\":[{{\"index\":{choice},\"delta\":{delta},\"finish_reason\":{reason}}}]}}\n\n")
}

fn gemini(index: u32, text: &str, more: &str) -> String {
    format!(
        "data: {{\"candidates\":[{{\"index\":{index},\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}{more}}}],\"usageMetadata\":{{\"promptTokenCount\":1,\"candidatesTokenCount\":1}}}}\n\n"
    )
}

#[test]
fn the_terminator_of_every_format_is_its_end_though_nobody_hangs_up() {
    let chat = [chat(0, "a", None), chat(0, "", Some("stop")), ": beat\n\n".to_owned(), "data: [DONE]\n\n".to_owned()];
    assert_eq!(ends(Format::OpenAiChat, &chat), [GOES_ON, WHOLE, WHOLE, DONE]);

    let messages = [
        "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n",
        "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"a\"}}\n\n",
        "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\n",
        "data: {\"type\":\"message_stop\"}\n\n",
    ];
    assert_eq!(ends(Format::Anthropic, &messages), [GOES_ON, GOES_ON, GOES_ON, WHOLE, DONE]);

    for kind in ["completed", "incomplete"] {
        let responses = [
            "data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n".to_owned(),
            format!(
                "data: {{\"type\":\"response.{kind}\",\"response\":{{\"id\":\"r\",\"status\":\"{kind}\",\"output\":[]}}}}\n\n"
            ),
        ];
        assert_eq!(ends(Format::OpenAiResponses, &responses), [GOES_ON, DONE]);
    }

    let cohere = [
        "data: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"a\"}}}}\n\n",
        "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\"}}\n\n",
    ];
    assert_eq!(ends(Format::Cohere, &cohere), [GOES_ON, DONE]);

    let bedrock = [
        ("messageStart", "{\"role\":\"assistant\"}"),
        ("messageStop", "{\"stopReason\":\"end_turn\"}"),
        ("metadata", "{\"usage\":{\"inputTokens\":1,\"outputTokens\":1}}"),
    ]
    .map(|(kind, payload)| {
        let mut frame = Vec::new();
        write_event(kind, payload.as_bytes(), &mut frame);
        frame
    });
    assert_eq!(ends(Format::Bedrock, &bedrock), [GOES_ON, WHOLE, DONE]);
}

#[test]
fn a_host_of_ollamas_means_its_last_line_if_it_says_nothing_and_is_the_first_such() {
    let line = |text: &str, done: bool| format!("{{\"message\":{{\"content\":\"{text}\"}},\"done\":{done}}}\n");
    assert_eq!(ends(Format::Ollama, &[line("a", false), line("", true)]), [GOES_ON, DONE]);
    // Hosts that call every line the last.
    let each = [line("", true), line("a", true), line("", true), line("b", true)];
    assert_eq!(ends(Format::Ollama, &each), [WHOLE; 4]);
}

#[test]
fn a_reason_in_every_element_of_geminis_is_no_end_before_its_hosts_own() {
    let told = ",\"finishReason\":\"STOP\"";
    let pieces = [gemini(0, "a", ""), gemini(0, "b", told), gemini(0, "c", told), "data: [DONE]\n\n".to_owned()];
    assert_eq!(ends(Format::Gemini, &pieces), [GOES_ON, WHOLE, WHOLE, DONE]);
    assert_eq!(
        ends(Format::Gemini, &[gemini(0, "a", told), gemini(1, "b", ""), gemini(1, "", told)]),
        [WHOLE, GOES_ON, WHOLE]
    );
    let array = ["[{\"candidates\":[{\"finishReason\":\"STOP\"}]}", ",{\"candidates\":[", "]}"];
    assert_eq!(ends(Format::Gemini, &array), [WHOLE, GOES_ON, WHOLE]);
}

#[test]
fn behind_an_error_nothing_is_waited_for() {
    for (format, error) in [
        (Format::OpenAiChat, "data: {\"error\":{\"message\":\"boom\"}}\n\n"),
        (Format::OpenAiResponses, "data: {\"type\":\"error\",\"message\":\"boom\"}\n\n"),
        (Format::Anthropic, "data: {\"type\":\"error\",\"error\":{\"message\":\"boom\"}}\n\n"),
        (Format::Gemini, "data: {\"error\":{\"code\":500,\"message\":\"boom\"}}\n\n"),
        (Format::Ollama, "{\"error\":\"boom\"}\n"),
        (Format::Cohere, "data: {\"type\":\"error\",\"message\":\"boom\"}\n\n"),
    ] {
        assert_eq!(ends(format, &[error]), [FAILED], "{format:?}");
    }
}

#[test]
fn without_a_terminator_every_choice_of_a_chat_must_have_ended() {
    let cut = [chat(0, "a", None), chat(0, "", Some("stop")), chat(1, "b is", None)];
    assert_eq!(ends(Format::OpenAiChat, &cut), [GOES_ON, WHOLE, GOES_ON]);
    assert!(!is_answer(Format::OpenAiChat, &cut));
    let cut_before = [chat(0, "a", None), chat(1, "b is", None), chat(0, "", Some("stop"))];
    assert!(!is_answer(Format::OpenAiChat, &cut_before));
    let [first, second] = [chat(0, "", Some("stop")), chat(1, "", Some("length"))];
    assert!(is_answer(Format::OpenAiChat, &[cut_before.concat(), second.clone()]));
    assert!(is_answer(Format::OpenAiChat, &[cut.concat(), first, second]));
    assert!(
        is_answer(Format::OpenAiChat, &[cut.concat(), "data: [DONE]\n\n".to_owned()]),
        "hosts that give no reason at all"
    );
    assert!(is_answer(Format::OpenAiChat, &[chat(1, "b", Some("stop"))]), "a host that counts from one");
}

#[test]
fn what_breaks_off_behind_a_whole_chat_takes_nothing_from_it() {
    let whole = chat(0, "a", Some("stop"));
    for more in ["data: {\"choices\":[],\"usa", "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}", ": bea"] {
        assert!(is_answer(Format::OpenAiChat, &[whole.as_str(), more]), "{more}");
        assert!(!is_answer(Format::OpenAiChat, &[chat(0, "a", None).as_str(), more]), "{more}");
    }
    assert!(!is_answer(Format::OpenAiChat, &[whole.as_str(), "data: {\"choices\":[],\"usa\n\n"]), "garbage is not cut");
}
