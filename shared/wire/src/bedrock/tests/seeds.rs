//! What the fuzzer starts from must be what it says it is; and a first round of what the fuzzer does.

use super::{
    super::{
        Decoder, decode_error, decode_response,
        frames::{FrameReader, write_event},
    },
    CONTEXT,
};
use crate::{codec::StreamDecoder, ir::Validator};

fn seeds(kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder = format!("{}/fuzz/seeds/bedrock_{kind}", env!("CARGO_MANIFEST_DIR"));
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder of seeds")
        .map(|entry| entry.expect("an entry"))
        .map(|entry| (entry.file_name().into_string().expect("a name"), std::fs::read(entry.path()).expect("a seed")))
        .collect();
    all.sort();
    all
}

fn decode_stream(stream: &[u8]) -> String {
    let (mut decoder, mut validator, mut last) = (Decoder::default(), Validator::default(), String::new());
    let mut emit = |event: crate::ir::Event<'_>| {
        validator.check(&event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        last = format!("{event:?}");
    };
    for piece in stream.chunks(17) {
        decoder.feed(piece, &mut emit);
    }
    decoder.end(&mut emit);
    validator.end().expect("a complete stream");
    last
}

#[test]
fn seeds_are_what_they_say() {
    for (name, body) in seeds("response") {
        assert!(decode_response(&body, &CONTEXT).is_ok(), "{name}");
    }
    for (name, stream) in seeds("stream") {
        let failed = ["throttled", "error_message", "cut"].iter().any(|start| name.starts_with(start));
        assert_eq!(decode_stream(&stream).starts_with("Error"), failed, "{name}");
    }
    for (name, body) in seeds("error") {
        assert!(!decode_error(500, None, &body).message.starts_with("the upstream answered"), "{name}");
    }
}

#[test]
fn no_change_of_a_few_bytes_makes_a_panic_or_a_disorder() {
    let mut random = 7_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).expect("small") % below
    };
    const BYTES: &[u8] = b"\"{}[],:0x\\\n -\xff";
    // Behind the checksums: the payloads of the streams, changed and framed again.
    for round in 0..300 {
        for (_, seed) in seeds("stream") {
            let mut stream = Vec::new();
            let framed = FrameReader::default().feed(&seed, |frame| {
                let mut payload = frame.payload.to_vec();
                if !payload.is_empty() && next(4) == 0 {
                    let at = next(payload.len());
                    payload[at] = if round % 2 == 0 { BYTES[next(BYTES.len())] } else { b'0' + (next(10) as u8) };
                }
                if next(12) != 0 {
                    write_event(frame.header(":event-type").unwrap_or("messageStop"), &payload, &mut stream);
                }
            });
            assert!(framed.is_ok());
            decode_stream(&stream);
        }
    }
    for round in 0..300 {
        for (kind, (_, seed)) in
            ["response", "stream"].into_iter().flat_map(|kind| seeds(kind).into_iter().map(move |seed| (kind, seed)))
        {
            let mut bytes = seed;
            for _ in 0..=round % 4 {
                let at = next(bytes.len());
                match next(3) {
                    0 => bytes[at] = BYTES[next(BYTES.len())],
                    1 => drop(bytes.drain(at..(at + next(40)).min(bytes.len()))),
                    _ => bytes.insert(at, BYTES[next(BYTES.len())]),
                }
            }
            if kind == "stream" {
                decode_stream(&bytes);
            } else {
                let _ = decode_response(&bytes, &CONTEXT);
            }
            decode_error(400, None, &bytes);
        }
    }
}
