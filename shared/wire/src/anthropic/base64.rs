//! Base64 → text, for targets that take a text document as text only.

/// The text behind base64 (standard or URL-safe alphabet, padded or not); `None` when it is no base64 or no UTF-8.
pub(super) fn decode_text(data: &str) -> Option<String> {
    let data = data.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(data.len() / 4 * 3 + 3);
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for byte in data.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'\r' | b'\n' => continue,
            _ => return None,
        };
        buffer = buffer << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits & 0xff) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::decode_text;

    #[test]
    fn text_comes_back_and_garbage_does_not() {
        assert_eq!(decode_text("aMOpIQ==").as_deref(), Some("hé!"));
        assert_eq!(decode_text("aMOpIQ").as_deref(), Some("hé!"));
        assert_eq!(decode_text("").as_deref(), Some(""));
        assert_eq!(decode_text("a b"), None);
        assert_eq!(decode_text("/w=="), None, "not UTF-8");
    }
}
