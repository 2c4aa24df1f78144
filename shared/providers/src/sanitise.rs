//! Texts of upstreams, made fit for a client's eyes.

/// Longest text that is shown.
const MAX_CHARS: usize = 500;
/// Shorter pieces of a secret are names and punctuation.
const SHORTEST_PART: usize = 16;
/// Less of a secret's beginning tells nothing.
const SHORTEST_BEGINNING: usize = 8;
const REDACTED: &str = "[redacted]";

/// Removes what a client must not see: credentials, URLs, host names with ports, IP addresses, control characters. HTML is
/// not quoted at all. `secret` is the credential that was used, or several secrets, a line each.
pub fn sanitise(text: &str, secret: &str) -> String {
    let trimmed = text.trim_start();
    if trimmed.starts_with('<') {
        return "the upstream answered with a page instead of an error".to_owned();
    }
    let mut text = text.to_owned();
    for secret in secret.lines().filter(|secret| secret.len() >= 4) {
        text = text.replace(secret, REDACTED);
    }
    // A secret may be made of several: a pair of keys, a JSON object. Some vendors quote how a key begins.
    for part in secret.split([':', '"', '\n', '=', ',', ' ']).filter(|part| part.len() >= SHORTEST_PART) {
        text = without_beginning_of(part, &text);
    }
    let mut clean = String::with_capacity(text.len().min(MAX_CHARS * 4));
    for (count, word) in text.split_inclusive(char::is_whitespace).enumerate() {
        if count > MAX_CHARS || clean.len() > MAX_CHARS * 4 {
            break;
        }
        clean.push_str(&clean_word(word));
    }
    let clean: String = clean.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CHARS).collect();
    clean.trim().to_owned()
}

/// Takes out `secret` and everything that begins like it.
fn without_beginning_of(secret: &str, text: &str) -> String {
    let Some(beginning) = secret.get(..SHORTEST_BEGINNING) else { return text.replace(secret, REDACTED) };
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(beginning) {
        let alike = rest[at..].chars().zip(secret.chars()).take_while(|(shown, hidden)| shown == hidden);
        let length: usize = alike.map(|(shown, _)| shown.len_utf8()).sum();
        clean.push_str(&rest[..at]);
        clean.push_str(REDACTED);
        rest = &rest[at + length..];
    }
    clean.push_str(rest);
    clean
}

fn clean_word(word: &str) -> std::borrow::Cow<'_, str> {
    let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '[');
    if core.is_empty() {
        return word.into();
    }
    let lower = core.to_ascii_lowercase();
    let hidden = if lower.contains("://") {
        "[url]"
    } else if looks_secret(&lower) {
        "[redacted]"
    } else if looks_address(core) {
        "[address]"
    } else {
        return word.into();
    };
    word.replacen(core, hidden, 1).into()
}

fn looks_secret(lower: &str) -> bool {
    let known = ["sk-", "sk_", "gsk_", "pk-", "key-", "xai-", "nvapi-", "aiza", "ghp_", "eyj"];
    let prefixed = known.iter().any(|prefix| {
        lower
            .split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '*' | '.'))
            .any(|piece| piece.starts_with(prefix) && piece.len() >= prefix.len() + 6)
    });
    let blob =
        lower.len() >= 40 && lower.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    prefixed || blob
}

fn looks_address(core: &str) -> bool {
    let bare = core.trim_matches(|c| matches!(c, '[' | ']'));
    if bare.parse::<std::net::IpAddr>().is_ok() || core.parse::<std::net::SocketAddr>().is_ok() {
        return bare.contains('.') || bare.contains(':');
    }
    // host:port
    core.rsplit_once(':').is_some_and(|(host, port)| {
        port.len() >= 2
            && port.parse::<u16>().is_ok()
            && (host.contains('.') || host == "localhost")
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_urls_and_addresses_disappear() {
        for (text, shown) in [
            ("Incorrect API key provided: sk-proj-abc123def456.", "Incorrect API key provided: [redacted]."),
            ("see https://api.internal/v1/x?key=1 now", "see [url] now"),
            ("connect to 10.1.2.3:8080 failed", "connect to [address] failed"),
            ("host db.internal:5432 is down", "host [address] is down"),
            ("fe80::1 is down", "[address] is down"),
            ("my secret was hunter2hunter2!", "my secret was [redacted]!"),
            ("Rate limit at 10:30, retry in 20s (v1.2.3)", "Rate limit at 10:30, retry in 20s (v1.2.3)"),
            ("line\u{0}one\nline two", "line one line two"),
        ] {
            assert_eq!(sanitise(text, "hunter2hunter2"), shown);
        }
    }

    #[test]
    fn each_part_of_a_secret_disappears() {
        let pair = "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY:token/of+a/session";
        let text = "key AKIAIOSFODNN7EXAMPLE with token/of+a/session and wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        assert_eq!(sanitise(text, pair), "key [redacted] with [redacted] and [redacted]");
        let object =
            r#"{"accessKeyId":"AKIAIOSFODNN7EXAMPLE","secretAccessKey":"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}"#;
        assert!(!sanitise(text, object).contains("EXAMPLE"));
    }

    #[test]
    fn each_of_several_secrets_disappears_and_so_does_how_it_begins() {
        let secrets = "zq-4711-abcdefghijklmnop\nPLANTED-zzz999";
        for (text, shown) in [
            ("bad key zq-4711-abcdefg*** for PLANTED-zzz999", "bad key [redacted]*** for [redacted]"),
            ("zq-4711-abcdefghijklmnop!", "[redacted]!"),
            ("zq-47 is short", "zq-47 is short"),
        ] {
            assert_eq!(sanitise(text, secrets), shown);
        }
    }

    #[test]
    fn pages_are_not_quoted_and_texts_are_bounded() {
        assert!(!sanitise("<html><body>nginx 10.0.0.1</body>", "").contains("nginx"));
        assert_eq!(sanitise(&"é".repeat(10_000), "").chars().count(), MAX_CHARS);
    }
}
