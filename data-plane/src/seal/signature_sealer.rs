//! Signatures of one family inside another's opaque field.

use std::sync::LazyLock;

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Nonce},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use memchr::memmem::Finder;
use omniroute_core::hash::{Pepper, derive_key};
use omniroute_wire::{
    codec::Sealer,
    ir::{Family, Format, Signature},
};

/// What a token of ours begins with; no vendor's does.
const PREFIX: &str = "omr1.";
const NONCE: usize = 12;
/// Larger payloads are no signatures.
const LARGEST: usize = 256 * 1024;

/// Seals with a key that every proxy of the fleet derives from the fleet's own secret: any of them can open what
/// another sealed, and nobody else can make a token.
pub(crate) struct SignatureSealer(Aes256Gcm);

/// For requests whose signatures nobody will look at.
pub(crate) struct NoSealer;

/// Whether a body of this format has a token of ours in it, which only who opens it can send on.
pub(crate) fn has_sealed_signature(body: &[u8], format: Format) -> bool {
    static TOKEN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"omr1."));
    // As base64, in which Gemini's clients carry every signature. What follows the dot is in the next character.
    static WRAPPED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"b21yMS"));
    let token = if format == Format::Gemini { &WRAPPED } else { &TOKEN };
    token.find(body).is_some()
}

// === impl NoSealer ===

impl Sealer for NoSealer {
    fn seal(&self, _: &Signature<'_>, _: &str) -> String {
        String::new()
    }

    fn open(&self, _: &str) -> Option<Signature<'static>> {
        None
    }
}

// === impl SignatureSealer ===

impl SignatureSealer {
    pub(crate) fn new(pepper: &Pepper) -> Self {
        let key = derive_key(pepper.as_bytes(), "omniroute signature token v1");
        Self(Aes256Gcm::new(&key.into()))
    }

    fn try_open(&self, token: &str) -> Option<Signature<'static>> {
        let sealed = token.strip_prefix(PREFIX).filter(|sealed| sealed.len() <= LARGEST * 2)?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let nonce = Nonce::<Aes256Gcm>::try_from(nonce).ok()?;
        let plain = String::from_utf8(self.0.decrypt(&nonce, sealed).ok()?).ok()?;
        // Family, model, payload; the payload may hold anything.
        let (family, rest) = plain.split_once('\n')?;
        let (_model, payload) = rest.split_once('\n')?;
        Some(Signature { family: family_of(family)?, payload: payload.to_owned().into() })
    }
}

impl Sealer for SignatureSealer {
    fn seal(&self, signature: &Signature<'_>, model: &str) -> String {
        let model = model.replace('\n', " ");
        let plain = format!("{}\n{model}\n{}", signature.family.as_str(), signature.payload);
        let nonce: [u8; NONCE] = rand::random();
        match self.0.encrypt(&Nonce::<Aes256Gcm>::from(nonce), plain.as_bytes()) {
            Ok(sealed) => format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())),
            // Only a text of 64 GiB cannot be sealed.
            Err(_) => String::new(),
        }
    }

    fn open(&self, token: &str) -> Option<Signature<'static>> {
        self.try_open(token).or_else(|| token.starts_with(PREFIX).then(nobodys))
    }
}

/// What a token says that cannot be opened (another fleet's, a damaged one): it is no vendor's signature, whoever is asked,
/// and nobody gets it. Models of this family sign nothing.
fn nobodys() -> Signature<'static> {
    Signature { family: Family::Ollama, payload: "".into() }
}

fn family_of(name: &str) -> Option<Family> {
    let all = [
        Family::OpenAi,
        Family::Anthropic,
        Family::Gemini,
        Family::Ollama,
        Family::Cohere,
        Family::Bedrock,
        Family::OpenRouter,
    ];
    all.into_iter().find(|family| family.as_str() == name)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn signature() -> Signature<'static> {
        Signature { family: Family::Gemini, payload: "line\none==".into() }
    }

    #[test]
    fn any_proxy_of_the_fleet_opens_a_token_and_nobody_else() {
        let token = SignatureSealer::new(&Pepper::new("fleet")).seal(&signature(), "gemini-3");
        assert!(!token.contains("one=="));
        assert_eq!(SignatureSealer::new(&Pepper::new("fleet")).open(&token), Some(signature()));
        assert_eq!(SignatureSealer::new(&Pepper::new("other")).open(&token), Some(nobodys()));
    }

    #[test]
    fn a_token_is_found_in_the_form_that_its_client_carries() {
        let token = SignatureSealer::new(&Pepper::new("fleet")).seal(&signature(), "m");
        let plain = format!("{{\"signature\": \"{token}\"}}");
        assert!(
            has_sealed_signature(plain.as_bytes(), Format::Anthropic)
                && has_sealed_signature(plain.as_bytes(), Format::OpenAiResponses)
        );
        for engine in [&STANDARD, &URL_SAFE_NO_PAD] {
            let wrapped = format!("{{\"thoughtSignature\": \"{}\"}}", engine.encode(&token));
            assert!(has_sealed_signature(wrapped.as_bytes(), Format::Gemini), "{wrapped}");
        }
        assert!(!has_sealed_signature(br#"{"thoughtSignature": "EqQBCgIYAhIM"}"#, Format::Gemini));
    }

    #[test]
    fn what_is_no_token_or_was_touched_does_not_open() {
        let sealer = SignatureSealer::new(&Pepper::new("fleet"));
        let token = sealer.seal(&signature(), "m");
        let mut touched = token.clone();
        let last = touched.pop().expect("a character");
        touched.push(if last == 'A' { 'B' } else { 'A' });
        for (text, opened) in [
            ("", None),
            ("EqQBCgIYAhIM", None),
            ("omr1.", Some(nobodys())),
            ("omr1.!!", Some(nobodys())),
            (&touched, Some(nobodys())),
        ] {
            assert_eq!(sealer.open(text), opened, "{text}");
        }
    }
}
