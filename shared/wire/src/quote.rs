//! Texts as JSON strings, written the way serde_json writes them, sixteen bytes at a time.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x16};

const LANE: usize = 16;

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn quote(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let rest = if bytes.len() < LANE { bytes } else { dispatch!(Level::new(), simd => lanes_with(simd, bytes, out)) };
    tail(rest, out);
    out.push(b'"');
}

/// Writes as long as there is a whole lane, and returns the rest.
///
/// Inlined, as all that works on vectors, into a caller that is compiled for the processor's level.
#[inline(always)]
fn lanes_with<'t, S: Simd>(simd: S, mut rest: &'t [u8], out: &mut Vec<u8>) -> &'t [u8] {
    while let Some(lane) = rest.first_chunk::<LANE>() {
        // All of it goes out, and what an escape takes the place of is taken back: a copy of a length that is known
        // costs less than to find out how much of it may go.
        let begin = out.len();
        out.extend_from_slice(lane);
        let bytes = u8x16::from_slice(simd, lane);
        let controls = bytes.min(u8x16::splat(simd, 0x1f)).simd_eq(bytes);
        let marks = (bytes.simd_eq(b'"') | bytes.simd_eq(b'\\') | controls).to_bitmask();
        if marks == 0 {
            rest = &rest[LANE..];
            continue;
        }
        let place = marks.trailing_zeros() as usize;
        out.truncate(begin + place);
        escape(lane[place], out);
        rest = &rest[place + 1..];
    }
    rest
}

fn tail(rest: &[u8], out: &mut Vec<u8>) {
    let mut plain = 0;
    for (place, byte) in rest.iter().enumerate() {
        if is_special(*byte) {
            out.extend_from_slice(&rest[plain..place]);
            escape(*byte, out);
            plain = place + 1;
        }
    }
    out.extend_from_slice(&rest[plain..]);
}

const fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let letter = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\t' => b't',
        b'\r' => b'r',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let digit = |value: u8| DIGITS[usize::from(value & 0xf)];
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same_as_serde(text: &str) {
        let mut out = b"before".to_vec();
        quote(text, &mut out);
        let expected = serde_json::to_string(text).expect("text");
        assert_eq!(String::from_utf8(out).expect("text"), format!("before{expected}"));
    }

    #[test]
    fn every_character_at_every_place_is_written_as_serde_writes_it() {
        let odd = (0..0x80).filter_map(char::from_u32).chain(['\u{80}', 'ß', '→', '\u{2028}', '🦀']);
        for letter in odd {
            for length in 0..40 {
                for place in 0..=length {
                    let mut text = "a".repeat(length);
                    text.insert(place, letter);
                    same_as_serde(&text);
                }
            }
        }
    }

    #[test]
    fn escapes_may_stand_close_together() {
        for length in 0..70 {
            same_as_serde(&"\"".repeat(length));
            same_as_serde(&"\\n\n".repeat(length));
            same_as_serde(&"é\t\u{1}\u{7f}ab".repeat(length));
        }
    }
}
