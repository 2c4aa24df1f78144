//! Paths that a client has put together from a base URL that is not quite the one it wants.
//!
//! Anthropic's and Google's clients append `/v1/…` and `/v1beta/…` to their base URL, OpenAI's append what follows
//! `/v1`. Whoever gives the first kind a base URL that ends in `/v1` makes it call `/v1/v1/messages`: there is no doubt
//! what is meant, so it is answered. Whoever leaves `/v1` out for the second kind gets a 404 that says so ([`hint`]).

use http::{Uri, uri::PathAndQuery};

/// What comes twice, and what is meant.
const TWICE: [(&str, &str); 4] =
    [("/v1/v1/", "/v1/"), ("/v1/v1beta/", "/v1beta/"), ("/v1beta/v1beta/", "/v1beta/"), ("/v1beta/v1/", "/v1/")];

/// Paths that OpenAI's clients append to their base URL, by what they begin with.
const UNVERSIONED: [&str; 7] =
    ["chat/completions", "completions", "responses", "embeddings", "models", "images/", "audio/"];

/// Takes the version out that comes twice.
pub(super) fn mend(uri: &mut Uri) {
    let Some(whole) = uri.path_and_query().map(PathAndQuery::as_str) else { return };
    if !whole.starts_with("/v1") {
        return;
    }
    let Some((rest, meant)) = TWICE.iter().find_map(|(twice, meant)| Some((whole.strip_prefix(twice)?, meant))) else {
        return;
    };
    let Ok(path) = PathAndQuery::try_from(format!("{meant}{rest}")) else { return };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(path);
    if let Ok(mended) = Uri::from_parts(parts) {
        *uri = mended;
    }
}

/// What is probably wrong with the base URL of a client that called an unknown path.
pub(super) fn hint(path: &str) -> Option<&'static str> {
    let rest = path.trim_start_matches('/');
    if rest == "messages" || rest.starts_with("messages/") {
        return Some(
            "the path lacks `/v1`: Anthropic's own clients append it to the gateway's address; a client that appends `/messages` \
             alone, such as the AI SDK, wants a base URL that ends in `/v1`",
        );
    }
    if UNVERSIONED.iter().any(|begin| rest.starts_with(begin)) {
        return Some("the path lacks `/v1`: the base URL of OpenAI's clients ends in `/v1`");
    }
    path.strip_prefix("/v1/")
        .is_some_and(|rest| rest.contains("/v1/") || rest.contains("/chat/completions"))
        .then_some("the client appends its own path: its base URL is the gateway's address, with `/v1` or without")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(path: &str) -> String {
        let mut uri: Uri = path.parse().expect("a path");
        mend(&mut uri);
        uri.to_string()
    }

    #[test]
    fn a_version_that_comes_twice_is_taken_out_and_all_else_stays() {
        for (called, meant) in [
            ("/v1/v1/messages?beta=true", "/v1/messages?beta=true"),
            ("/v1/v1/messages/count_tokens", "/v1/messages/count_tokens"),
            ("/v1/v1/chat/completions", "/v1/chat/completions"),
            ("/v1/v1/models", "/v1/models"),
            ("/v1/v1beta/models/a/b:generateContent?alt=sse", "/v1beta/models/a/b:generateContent?alt=sse"),
            ("/v1beta/v1beta/models", "/v1beta/models"),
            ("http://gateway:1/v1/v1/messages", "http://gateway:1/v1/messages"),
            ("/v1/messages", "/v1/messages"),
            ("/v1/models/v1/v1", "/v1/models/v1/v1"),
            ("/v1", "/v1"),
            ("*", "*"),
        ] {
            assert_eq!(mended(called), meant, "{called}");
        }
    }

    #[test]
    fn a_base_url_without_its_version_is_named() {
        assert!(hint("/chat/completions").is_some_and(|hint| hint.contains("lacks `/v1`")));
        assert!(hint("/responses").is_some() && hint("/models").is_some() && hint("//messages").is_some());
        assert!(hint("/favicon.ico").is_none());
        for path in ["/messages", "//messages", "/messages/count_tokens"] {
            assert!(hint(path).is_some_and(|hint| hint.contains("Anthropic") && !hint.contains("OpenAI")), "{path}");
        }
    }
}
