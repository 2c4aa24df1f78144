//! Amazon's binary frames: lengths, their checksum, headers, payload, checksum.

use serde_json::Value;

const TEXT: u8 = 7;

pub(super) fn event(kind: &str, payload: &Value) -> Vec<u8> {
    let kinds = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    frame(&kinds, payload.to_string().as_bytes())
}

pub(super) fn exception(kind: &str, payload: &Value) -> Vec<u8> {
    let kinds = [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
    frame(&kinds, payload.to_string().as_bytes())
}

/// Names and values are far shorter than their lengths can say.
fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        head.extend(name.as_bytes());
        head.push(TEXT);
        head.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        head.extend(value.as_bytes());
    }
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = Vec::new();
    frame.extend(length(16 + head.len() + payload.len()));
    frame.extend(length(head.len()));
    frame.extend(crc32(&frame).to_be_bytes());
    frame.extend(head);
    frame.extend(payload);
    frame.extend(crc32(&frame).to_be_bytes());
    frame
}

/// The CRC of Ethernet and zip, bit by bit: made apart from the gateway's own, so that a mistake there shows.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_frame_says_how_long_it_is() {
        let frame = event("messageStart", &serde_json::json!({"role": "assistant"}));
        assert_eq!(u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize, frame.len());
        let payload = br#"{"role":"assistant"}"#;
        assert!(frame.windows(payload.len()).any(|some| some == payload));
    }
}
