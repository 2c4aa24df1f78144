//! What hosts send that speak somebody else's format, in every format that is read: reasons to end that are no end, side
//! fields of the wrong type, contents that are lists, errors that are words, and streams that go on for an hour.

#![cfg(test)]

use omniroute_core::error::ErrorClass;
use omniroute_wire::{
    bedrock::frames::write_event,
    codec::{DecodeContext, Sealer},
    ir::{Collector, Event, FinishReason, Format, Part, Response, Signature, Source, StreamError, Validator},
    translate::{decode_response, decoder, failure_in},
};

struct NoSealer;

impl Sealer for NoSealer {
    fn seal(&self, signature: &Signature<'_>, _: &str) -> String {
        signature.payload.to_string()
    }

    fn open(&self, _: &str) -> Option<Signature<'static>> {
        None
    }
}

const CONTEXT: DecodeContext<'_> = DecodeContext { sealer: &NoSealer, answer: "" };

/// What a stream says once all of it is there.
fn whole(format: Format, stream: &[u8]) -> Result<Response<'static>, StreamError> {
    let (mut decoder, mut validator, mut collector) = (decoder(format), Validator::default(), Collector::default());
    let mut emit = |event: Event<'_>| {
        validator.check(&event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        collector.push(&event);
    };
    for piece in stream.chunks(1000) {
        decoder.feed(piece, &mut emit);
    }
    decoder.end(&mut emit);
    validator.end().expect("an end");
    collector.finish()
}

fn data(events: &[&str]) -> Vec<u8> {
    events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>().into_bytes()
}

fn lines(events: &[&str]) -> Vec<u8> {
    events.iter().map(|event| format!("{event}\n")).collect::<String>().into_bytes()
}

fn frames(events: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, payload) in events {
        write_event(name, payload.as_bytes(), &mut out);
    }
    out
}

/// Texts, thoughts and arguments of the first choice, joined.
fn said(response: &Response<'_>) -> String {
    let parts = &response.choices[0].parts;
    parts
        .iter()
        .map(|part| match part {
            Part::Text { text, .. } | Part::Thinking { text, .. } | Part::Refusal { text } => text.as_ref(),
            Part::ToolCall { arguments, .. } => arguments.as_ref(),
            _ => "",
        })
        .collect()
}

fn finish(response: &Response<'_>) -> FinishReason {
    response.choices[0].finish.expect("a reason")
}

#[test]
fn a_finish_reason_in_every_chunk_ends_nothing() {
    let chat = [
        r#"{"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"lo you"},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#,
    ];
    let gemini = [
        r#"{"candidates":[{"content":{"parts":[{"text":"Hel"}]},"finishReason":"STOP"}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"lo you"}]},"finishReason":"MAX_TOKENS"}]}"#,
    ];
    let ollama = [
        r#"{"message":{"content":"Hel"},"done":true,"done_reason":"stop"}"#,
        r#"{"message":{"content":"lo you"},"done":true,"done_reason":"length","eval_count":3}"#,
    ];
    let anthropic = [
        r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":3}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo you"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":3}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let with_done: Vec<&str> = chat.iter().copied().chain([" [DONE] "]).collect();
    for (format, stream) in [
        (Format::OpenAiChat, data(&chat)),
        (Format::OpenAiChat, data(&with_done)),
        (Format::Gemini, data(&gemini)),
        (Format::Gemini, format!("[{}]", gemini.join(",")).into_bytes()),
        (Format::Ollama, lines(&ollama)),
        (Format::Anthropic, data(&anthropic)),
        (Format::Anthropic, data(&anthropic[..7])),
    ] {
        let response = whole(format, &stream).expect("an answer");
        assert_eq!((said(&response).as_str(), finish(&response)), ("Hello you", FinishReason::MaxTokens), "{format:?}");
    }
}

#[test]
fn arguments_behind_a_finish_reason_belong_to_their_call_and_the_call_is_why_it_ended() {
    let stop = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let stream = data(&[
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"run","arguments":"{\"cmd\""}}]},"finish_reason":"tool_calls"}]}"#,
        stop,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":\"ls\"}"}}]},"finish_reason":"stop"}]}"#,
        stop,
        r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}"#,
        "[DONE]",
    ]);
    let response = whole(Format::OpenAiChat, &stream).expect("an answer");
    assert_eq!((said(&response).as_str(), finish(&response)), (r#"{"cmd":"ls"}"#, FinishReason::ToolCalls));
    assert_eq!(response.usage.output, Some(5));
}

#[test]
fn a_chunk_of_usage_alone_is_no_end() {
    let stop = |delta: &str| format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":"stop"}}]}}"#);
    let usage = |count: u64| format!(r#"{{"choices":[],"usage":{{"completion_tokens":{count}}}}}"#);
    let (role, hello, you) =
        (stop(r#"{"role":"assistant","content":""}"#), stop(r#"{"content":"Hello "}"#), stop(r#"{"content":"you"}"#));
    let usages = [usage(0), usage(1), usage(2)];
    let chunks = [&role, &usages[0], &hello, &usages[1], &you, &usages[2]].map(String::as_str);
    for end in [&["[DONE]"][..], &[]] {
        let response = whole(Format::OpenAiChat, &data(&[&chunks, end].concat())).expect("an answer");
        assert_eq!((said(&response).as_str(), response.usage.output), ("Hello you", Some(2)));
    }
}

#[test]
fn a_last_word_that_says_nothing_behind_a_finish_reason_takes_nothing_from_the_end() {
    let call = r#"{"choices":[{"index":0,"delta":{"content":"a","tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#;
    for last in [
        r#"{"tool_calls":[{"index":0,"function":{"arguments":""}}]}"#,
        r#"{"reasoning_details":[{"type":"reasoning.text","text":"","signature":"s","index":0}]}"#,
        r#"{"annotations":[{"type":"url_citation","url_citation":{"url":"https://a.example","title":"A"}}]}"#,
    ] {
        let last = format!(r#"{{"choices":[{{"index":0,"delta":{last}}}]}}"#);
        let response = whole(Format::OpenAiChat, &data(&[call, &last])).expect(&last);
        assert_eq!((said(&response).as_str(), finish(&response)), ("a{}", FinishReason::ToolCalls), "{last}");
    }
    for more in [
        r#"{"tool_calls":[{"index":0,"function":{"arguments":" "}}]}"#,
        r#"{"tool_calls":[{"index":1,"id":"d","function":{"name":"g"}}]}"#,
    ] {
        let more = format!(r#"{{"choices":[{{"index":0,"delta":{more}}}]}}"#);
        assert_eq!(whole(Format::OpenAiChat, &data(&[call, &more])).expect_err(&more).code, "upstream_stream_cut");
    }
}

#[test]
fn fields_of_a_wrong_type_and_bare_strings_in_lists_take_no_answer_away() {
    let document = r#"{"choices":[{"message":{"role":7,"function_call":[],"content":["It ",{"type":"text","text":"is"}]},"finish_reason":"stop"}]}"#;
    let response = decode_response(Format::OpenAiChat, document.as_bytes(), &CONTEXT).expect(document);
    assert_eq!(said(&response), "It is");
    let stream = data(&[&document.replace("message", "delta"), "[DONE]"]);
    assert_eq!(said(&whole(Format::OpenAiChat, &stream).expect(document)), "It is");
}

#[test]
fn the_proof_of_a_thought_behind_a_finish_reason_takes_nothing_from_the_end() {
    let stream = data(&[
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"","reasoning_details":[{"type":"reasoning.encrypted","data":"x","format":"google-gemini-v1"}]}}]}"#,
    ]);
    assert_eq!(said(&whole(Format::OpenAiChat, &stream).expect("an answer")), "a");
    let stream = data(&[
        r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"eA=="}]}}]}"#,
    ]);
    assert_eq!(said(&whole(Format::Gemini, &stream).expect("an answer")), "a");
}

#[test]
fn a_stream_that_breaks_off_behind_a_finish_reason_and_more_words_is_cut() {
    for (format, stream) in [
        (
            Format::OpenAiChat,
            data(&[
                r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
                r#"{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":null}]}"#,
            ]),
        ),
        (
            Format::Gemini,
            data(&[
                r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#,
                r#"{"candidates":[{"content":{"parts":[{"text":"b"}]}}]}"#,
            ]),
        ),
        (Format::Ollama, lines(&[r#"{"message":{"content":"a"},"done":true}"#, r#"{"message":{"content":"b"}}"#])),
        (
            Format::Anthropic,
            data(&[
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}"#,
            ]),
        ),
    ] {
        let error = whole(format, &stream).expect_err("a cut");
        assert_eq!(error.code, "upstream_stream_cut", "{format:?}");
    }
}

#[test]
fn words_behind_the_done_of_a_responses_item_are_not_lost() {
    let text = |delta: &str| format!(r#"{{"type":"response.output_text.delta","output_index":0,"delta":"{delta}"}}"#);
    let done = r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"Hel"}]}}"#;
    let call = r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","call_id":"c","name":"run","arguments":""}}"#;
    let arguments =
        r#"{"type":"response.function_call_arguments.done","output_index":0,"arguments":"{\"cmd\":\"ls\"}"}"#;
    let end = r#"{"type":"response.completed","response":{"status":"completed","output":[]}}"#;
    let stream = data(&[&text("Hel"), done, &text("lo you"), done, call, arguments, end]);
    let response = whole(Format::OpenAiResponses, &stream).expect("an answer");
    // The call has the place of the message before it: some hosts give all items the same.
    assert_eq!((said(&response).as_str(), finish(&response)), (r#"Hello you{"cmd":"ls"}"#, FinishReason::ToolCalls));
}

#[test]
fn a_content_that_is_a_list_of_parts_is_read_in_streams_and_documents() {
    let thinking = r#"{"type":"thinking","thinking":[{"type":"text","text":"Well, "},{"type":"text","text":"now."}],"closed":true}"#;
    let reference = r#"{"type":"reference","reference_ids":[1,2]}"#;
    let stream = data(&[
        &format!(r#"{{"choices":[{{"index":0,"delta":{{"content":[{thinking}]}}}}]}}"#),
        &format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":[{{"type":"text","text":"It is"}},{reference}]}}}}]}}"#
        ),
        r#"{"choices":[{"index":0,"delta":{"content":" 4."},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    let document = format!(
        r#"{{"choices":[{{"message":{{"role":"assistant","content":[{thinking},{{"type":"text","text":"It is 4."}},{reference},{{"type":"hologram"}}]}},"finish_reason":"stop"}}]}}"#
    );
    let of_document = decode_response(Format::OpenAiChat, document.as_bytes(), &CONTEXT).expect("an answer");
    for response in [whole(Format::OpenAiChat, &stream).expect("an answer"), of_document] {
        let parts = &response.choices[0].parts;
        assert!(matches!(&parts[0], Part::Thinking { text, .. } if text == "Well, now."), "{parts:?}");
        assert!(matches!(&parts[1], Part::Text { text, .. } if text == "It is 4."), "{parts:?}");
        assert_eq!(parts.len(), 2);
    }
    let anthropic = br#"{"content":"It is 4.","stop_reason":"end_turn"}"#;
    assert_eq!(said(&decode_response(Format::Anthropic, anthropic, &CONTEXT).expect("an answer")), "It is 4.");
    let cohere = data(&[
        r#"{"type":"message-start"}"#,
        r#"{"type":"content-delta","index":0,"delta":{"message":{"content":["It ",{"type":"text","text":"is"}]}}}"#,
        r#"{"type":"content-delta","index":0,"delta":{"message":{"content":" 4."}}}"#,
        r#"{"type":"message-end","delta":{"finish_reason":"COMPLETE"}}"#,
    ]);
    assert_eq!(said(&whole(Format::Cohere, &cohere).expect("an answer")), "It is 4.");
    let ollama = lines(&[
        r#"{"message":{"content":[{"type":"text","text":"It is"}]}}"#,
        r#"{"message":{"content":" 4."},"done":true}"#,
    ]);
    assert_eq!(said(&whole(Format::Ollama, &ollama).expect("an answer")), "It is 4.");
}

#[test]
fn an_error_in_the_choice_is_an_error_in_its_own_words() {
    let choice = r#"{"index":0,"delta":{"content":""},"finish_reason":"error","error":{"code":429,"message":"slow down","metadata":{}}}"#;
    let error = whole(Format::OpenAiChat, &data(&[&format!(r#"{{"id":"g","choices":[{choice}]}}"#), "[DONE]"]))
        .expect_err("an error");
    assert_eq!((error.class, error.message.as_str()), (ErrorClass::RateLimited, "slow down"));
    let bare = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}"#;
    assert_eq!(whole(Format::OpenAiChat, &data(&[bare])).expect_err("an error").class, ErrorClass::Upstream);

    for (document, class, words) in [
        (
            r#"{"choices":[{"message":{"content":"par"},"finish_reason":"error","error":{"code":503,"message":"gone"}}]}"#,
            ErrorClass::Overloaded,
            "gone",
        ),
        (
            r#"{"choices":[{"message":{"content":""},"finish_reason":"error"}]}"#,
            ErrorClass::Upstream,
            "the upstream ended its answer with an error",
        ),
    ] {
        let error = decode_response(Format::OpenAiChat, document.as_bytes(), &CONTEXT).expect_err("an error");
        let told = failure_in(Format::OpenAiChat, document.as_bytes(), &error).expect("a failure");
        assert_eq!((told.class, told.message.as_str()), (class, words), "{document}");
    }
}

#[test]
fn an_error_that_is_a_word_keeps_its_class_and_its_words() {
    let object = r#"{"error":"overloaded"}"#;
    for (format, stream) in [
        (Format::OpenAiChat, data(&[object])),
        (Format::OpenAiResponses, data(&[object])),
        (Format::Anthropic, data(&[object])),
        (Format::Gemini, data(&[object])),
        (Format::Ollama, lines(&[object])),
        (Format::Cohere, data(&[object])),
    ] {
        let error = whole(format, &stream).expect_err("an error");
        assert_eq!((error.class, error.message.as_str()), (ErrorClass::Overloaded, "overloaded"), "{format:?}");
    }
}

#[test]
fn mistyped_side_fields_cost_a_stream_nothing() {
    let chat = data(&[
        r#"{"id":17,"created":1.5,"model":null,"system_fingerprint":{},"choices":[{"index":"0","delta":{"role":1,"content":"a","refusal":[],"annotations":{},"audio":"","reasoning":{}},"logprobs":null,"finish_reason":{}}],"usage":[]}"#,
        r#"{"id":17,"choices":[{"index":0,"delta":{"role":{},"tool_calls":"","images":3,"function_call":[]}}]}"#,
        r#"{"id":17,"choices":[{"index":0.0,"delta":{"tool_calls":[{"index":"0","id":5,"type":7,"function":{"name":"f","arguments":"{}"},"extra_content":"x"},null]}}]}"#,
        r#"{"choices":[{"index":0,"delta":[],"finish_reason":"stop"}],"usage":{"prompt_tokens":3.0,"completion_tokens":"4","total_tokens":-7,"prompt_tokens_details":[],"completion_tokens_details":{"reasoning_tokens":-1}}}"#,
        "[DONE]",
    ]);
    let responses = data(&[
        r#"{"type":"response.created","response":{"id":5,"created_at":1.5,"model":3,"status":[]}}"#,
        r#"{"type":"response.output_text.delta","output_index":"0","content_index":0.0,"delta":"a"}"#,
        r#"{"type":"response.output_item.done","output_index":"1","item":{"type":"function_call","id":9,"call_id":5,"name":"f","arguments":"{}","status":4}}"#,
        r#"{"type":"response.completed","response":{"id":5,"created_at":"x","incomplete_details":[],"usage":{"input_tokens":3.0,"output_tokens":"4","input_tokens_details":[]}}}"#,
    ]);
    let anthropic = data(&[
        r#"{"type":"message_start","message":{"id":5,"model":1,"usage":[]}}"#,
        r#"{"type":"content_block_start","index":"0","content_block":{"type":"text","text":"","id":[]}}"#,
        r#"{"type":"content_block_delta","index":0.0,"delta":{"type":"text_delta","text":"a","signature":{}}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":5,"name":"f","input":{}}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"partial_json":"{}"}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":0},"usage":{"input_tokens":3.0,"output_tokens":"4","cache_read_input_tokens":-1,"cache_creation":[]}}"#,
        r#"{"type":"message_stop"}"#,
    ]);
    let gemini = data(&[
        r#"{"responseId":5,"modelVersion":1,"candidates":[{"index":"0","content":{"role":7,"parts":[{"text":"a","thought":0}]},"logprobsResult":[]}],"usageMetadata":[]}"#,
        r#"{"candidates":[{"content":{"role":{"a":[]}}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"id":5,"name":"f","args":{}}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3.4,"candidatesTokenCount":"4","cachedContentTokenCount":-1,"promptTokensDetails":"x"}}"#,
    ]);
    let ollama = lines(&[
        r#"{"model":1,"created_at":5,"message":{"role":5,"content":"a","thinking":[],"tool_name":3,"images":{"a":1},"tool_calls":""}}"#,
        r#"{"message":{"role":{},"images":[7,{}],"tool_calls":{"a":[]}},"tool_calls":3}"#,
        r#"{"message":{"tool_calls":[{"id":5,"function":{"name":"f","arguments":{}}}]}}"#,
        r#"{"message":{},"done":"true","done_reason":4,"prompt_eval_count":3.0,"eval_count":"4"}"#,
    ]);
    let cohere = data(&[
        r#"{"type":"message-start","id":5}"#,
        r#"{"type":"content-delta","index":"0","delta":{"message":{"content":{"type":1,"text":"a"},"citations":5}},"logprobs":[]}"#,
        r#"{"type":"tool-call-start","index":1.0,"delta":{"message":{"tool_calls":{"id":5,"type":1,"function":{"name":"f","arguments":"{}"}}}}}"#,
        r#"{"type":"message-end","delta":{"finish_reason":"TOOL_CALL","error":{},"usage":{"tokens":{"input_tokens":"3","output_tokens":4},"billed_units":[],"cached_tokens":{}}}}"#,
    ]);
    let bedrock = frames(&[
        ("messageStart", r#"{"role":1}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":"0","delta":{"text":"a"}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":0.0,"start":[]}"#),
        ("contentBlockStart", r#"{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":5,"name":"f","type":3}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{}"}}}"#),
        ("messageStop", r#"{"stopReason":"tool_use","additionalModelResponseFields":[]}"#),
        (
            "metadata",
            r#"{"usage":{"inputTokens":3.0,"outputTokens":"4","cacheReadInputTokens":-1,"cacheDetails":{}},"metrics":5}"#,
        ),
    ]);
    for (format, stream) in [
        (Format::OpenAiChat, chat),
        (Format::OpenAiResponses, responses),
        (Format::Anthropic, anthropic),
        (Format::Gemini, gemini),
        (Format::Ollama, ollama),
        (Format::Cohere, cohere),
        (Format::Bedrock, bedrock),
    ] {
        let response = whole(format, &stream).unwrap_or_else(|error| panic!("{format:?}: {error:?}"));
        assert_eq!((said(&response).as_str(), finish(&response)), ("a{}", FinishReason::ToolCalls), "{format:?}");
        let id = response.choices[0].parts.iter().find_map(|part| match part {
            Part::ToolCall { id, .. } => Some(id.as_ref()),
            _ => None,
        });
        assert_eq!(id, Some("5"), "{format:?}");
        assert_eq!((response.usage.input, response.usage.output), (Some(3), Some(4)), "{format:?}");
    }
}

#[test]
fn mistyped_side_fields_cost_a_document_nothing() {
    for (format, document) in [
        (
            Format::OpenAiChat,
            r#"{"id":17,"object":1,"created":1.5,"model":{},"choices":[{"index":"0","message":{"role":[],"content":"a","tool_calls":{"a":1},"tool_call_id":{},"images":"","refusal":{},"annotations":"","audio":[],"reasoning_details":{},"name":4},"finish_reason":"stop"}],"usage":{"prompt_tokens":3.0,"completion_tokens":"4","prompt_tokens_details":[]},"service_tier":[]}"#,
        ),
        (
            Format::OpenAiResponses,
            r#"{"id":17,"created_at":1.5,"model":{},"status":1,"output":[{"type":"message","id":5,"role":7,"content":[{"type":"output_text","text":"a","annotations":{}}]}],"usage":{"input_tokens":3.0,"output_tokens":"4","output_tokens_details":[]}}"#,
        ),
        (
            Format::Anthropic,
            r#"{"id":17,"type":1,"role":2,"model":{},"content":[{"type":"text","text":"a","id":5}],"stop_reason":"end_turn","stop_sequence":0,"usage":{"input_tokens":3.0,"output_tokens":"4","cache_creation":[]}}"#,
        ),
        (
            Format::Gemini,
            r#"{"responseId":17,"modelVersion":{},"candidates":[{"index":"0","content":{"role":[],"parts":[{"text":"a","thought":"no"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3.0,"candidatesTokenCount":"4","totalTokenCount":[]}}"#,
        ),
        (
            Format::Ollama,
            r#"{"model":1,"created_at":5,"message":{"role":7,"content":"a","thinking":{},"images":"","tool_calls":{}},"done":1,"done_reason":"stop","prompt_eval_count":3.0,"eval_count":"4"}"#,
        ),
        (
            Format::Cohere,
            r#"{"id":17,"message":{"role":{},"content":[{"type":1,"text":"a"}],"citations":{},"tool_plan":[]},"finish_reason":"COMPLETE","usage":{"tokens":{"input_tokens":"3","output_tokens":4},"billed_units":[]},"logprobs":{}}"#,
        ),
        (
            Format::Bedrock,
            r#"{"output":{"message":{"role":7,"content":[{"text":"a"}]}},"stopReason":"end_turn","usage":{"inputTokens":3.0,"outputTokens":"4"},"serviceTier":"x"}"#,
        ),
    ] {
        let response = decode_response(format, document.as_bytes(), &CONTEXT)
            .unwrap_or_else(|error| panic!("{format:?}: {error:?}"));
        assert_eq!((said(&response).as_str(), finish(&response)), ("a", FinishReason::End), "{format:?}");
        assert_eq!((response.usage.input, response.usage.output), (Some(3), Some(4)), "{format:?}");
    }
}

#[test]
fn a_byte_order_mark_hides_neither_the_first_event_nor_a_document() {
    let mark = |rest: Vec<u8>| [b"\xef\xbb\xbf".as_slice(), &rest].concat();
    let chat = data(&[r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#]);
    let gemini = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#;
    for (format, stream) in [
        (Format::OpenAiChat, chat),
        (Format::Gemini, data(&[gemini])),
        (Format::Gemini, format!("[{gemini}]").into_bytes()),
        (Format::Ollama, lines(&[r#"{"message":{"content":"a"},"done":true}"#])),
    ] {
        assert_eq!(said(&whole(format, &mark(stream)).expect("an answer")), "a", "{format:?}");
    }
    let document = mark(gemini.as_bytes().to_vec());
    assert_eq!(said(&decode_response(Format::Gemini, &document, &CONTEXT).expect("an answer")), "a");
}

/// More parts than any bound on what is kept of them.
const MANY: usize = 10_000;

#[test]
fn however_often_thoughts_and_words_alternate_none_is_left_out() {
    let alternating = |thought: &str, word: &str, end: &str| -> Vec<u8> {
        let mut all: Vec<&str> = [thought, word].into_iter().cycle().take(2 * MANY).collect();
        all.push(end);
        data(&all)
    };
    let chat = alternating(
        r#"{"choices":[{"index":0,"delta":{"reasoning_content":"t"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"w"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}]}"#,
    );
    let gemini = alternating(
        r#"{"candidates":[{"content":{"parts":[{"text":"t","thought":true}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"w"}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{}}}]},"finishReason":"STOP"}]}"#,
    );
    let ollama = {
        let mut all = [r#"{"message":{"thinking":"t"}}"#, r#"{"message":{"content":"w"}}"#].repeat(MANY);
        all.push(r#"{"message":{"tool_calls":[{"function":{"name":"f","arguments":{}}}]},"done":true}"#);
        lines(&all)
    };
    let cohere = {
        let mut all = [
            r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"t"}}}}"#,
            r#"{"type":"content-delta","index":1,"delta":{"message":{"content":{"text":"w"}}}}"#,
        ]
        .repeat(MANY);
        all.push(r#"{"type":"tool-call-start","index":2,"delta":{"message":{"tool_calls":{"id":"c","function":{"name":"f","arguments":"{}"}}}}}"#);
        all.push(r#"{"type":"message-end","delta":{"finish_reason":"TOOL_CALL"}}"#);
        data(&all)
    };
    let anthropic = {
        let block = [
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"t"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":"w"}}"#,
            r#"{"type":"content_block_stop","index":1}"#,
        ];
        let mut all = block.repeat(MANY);
        all.push(r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"c","name":"f","input":{}}}"#);
        all.push(r#"{"type":"content_block_delta","index":2,"delta":{"partial_json":"{}"}}"#);
        all.push(r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"}}"#);
        data(&all)
    };
    let bedrock = {
        let block = [
            ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"t"}}}"#),
            ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
            ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"text":"w"}}"#),
            ("contentBlockStop", r#"{"contentBlockIndex":1}"#),
        ];
        let mut all = block.repeat(MANY);
        all.push(("contentBlockStart", r#"{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"c","name":"f"}}}"#));
        all.push(("messageStop", r#"{"stopReason":"tool_use"}"#));
        frames(&all)
    };
    let expected = "tw".repeat(MANY) + "{}";
    for (format, stream) in [
        (Format::OpenAiChat, chat),
        (Format::Gemini, gemini),
        (Format::Ollama, ollama),
        (Format::Cohere, cohere),
        (Format::Anthropic, anthropic),
        (Format::Bedrock, bedrock),
    ] {
        let response = whole(format, &stream).unwrap_or_else(|error| panic!("{format:?}: {error:?}"));
        assert!(said(&response) == expected, "{format:?}: {} of {}", said(&response).len(), expected.len());
        assert_eq!(finish(&response), FinishReason::ToolCalls, "{format:?}");
    }
}

#[test]
fn what_cannot_be_followed_is_an_error_and_never_a_shorter_answer() {
    let calls: String = (0..5000)
        .map(|n| {
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":{n},\"id\":\"c{n}\",\"function\":{{\"name\":\"f\",\"arguments\":\"{{}}\"}}}}]}}}}]}}\n\n"
            )
        })
        .collect();
    let items: String = (0..5000)
        .map(|n| format!("data: {{\"type\":\"response.output_text.delta\",\"output_index\":{n},\"delta\":\"a\"}}\n\n"))
        .collect();
    for (format, stream) in [(Format::OpenAiChat, calls), (Format::OpenAiResponses, items)] {
        assert_eq!(whole(format, stream.as_bytes()).expect_err("an error").code, "stream_too_long", "{format:?}");
    }
}

#[test]
fn media_of_earlier_blocks_of_a_bedrock_stream_do_not_count_against_later_ones() {
    let piece = "AAAA".repeat(1024 * 1024);
    let delta = format!(r#"{{"contentBlockIndex":0,"delta":{{"reasoningContent":{{"redactedContent":"{piece}"}}}}}}"#);
    let stop = r#"{"contentBlockIndex":0}"#;
    let mut decoder = decoder(Format::Bedrock);
    let mut failed = None;
    // Forty megabytes in all, four at a time.
    for _ in 0..10 {
        let stream = frames(&[("contentBlockDelta", &delta), ("contentBlockStop", stop)]);
        decoder.feed(&stream, &mut |event| {
            if let Event::Error(error) = event {
                failed = Some(error);
            }
        });
    }
    assert_eq!(failed, None);
}

#[test]
fn what_is_said_in_the_sound_of_a_chat_document_is_its_text() {
    let document = r#"{"choices":[{"message":{"content":null,"audio":{"id":"audio_1","data":"AAE=","transcript":"Hello"}},"finish_reason":"stop"}]}"#;
    let response = decode_response(Format::OpenAiChat, document.as_bytes(), &CONTEXT).expect("an answer");
    assert_eq!(said(&response), "Hello");
    assert!(matches!(&response.choices[0].parts[..], [Part::Text { .. }, Part::Audio { .. }]));
}

#[test]
fn sound_of_a_chat_stream_is_one_sound_and_its_words_are_the_answer() {
    let stream = data(&[
        r#"{"choices":[{"index":0,"delta":{"audio":{"id":"audio_1","transcript":"Hel"}}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"audio":{"data":"AAE="}}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"audio":{"transcript":"lo","data":"Ag=="}}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"audio":{"expires_at":5}},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    let response = whole(Format::OpenAiChat, &stream).expect("an answer");
    assert_eq!(said(&response), "Hello");
    let sounds: Vec<_> = response.choices[0]
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Audio { source: Source::Inline { media_type, data }, .. } => Some((&**media_type, &**data)),
            _ => None,
        })
        .collect();
    assert_eq!(sounds, [("audio/pcm", "AAEC")]);
}

#[test]
fn pictures_that_openrouter_puts_beside_the_content_are_read() {
    let image = r#"[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]"#;
    let stream = data(&[
        &format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"a","images":{image}}}}}]}}"#),
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    ]);
    let document =
        format!(r#"{{"choices":[{{"message":{{"content":"a","images":{image}}},"finish_reason":"stop"}}]}}"#);
    let of_document = decode_response(Format::OpenAiChat, document.as_bytes(), &CONTEXT).expect("an answer");
    for response in [whole(Format::OpenAiChat, &stream).expect("an answer"), of_document] {
        let parts = &response.choices[0].parts;
        assert!(
            matches!(&parts[1], Part::Image { source: Source::Inline { data, .. }, .. } if data == "AAAA"),
            "{parts:?}"
        );
    }
}
