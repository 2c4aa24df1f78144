//! What people typed, for what REST calls otherwise: a refusal names the flag or the argument that filled a field.

/// A field of REST and what fills it on the command line.
type Word = (&'static str, &'static str);

/// The same for every command.
const EVERYWHERE: [Word; 15] = [
    ("providerSpecificData.validationModelId", "--test-model"),
    ("providerSpecificData.apiType", "--api-type"),
    ("providerSpecificData.baseUrl", "--base-url"),
    ("providerSpecificData.region", "--region"),
    ("allowedConnections", "--connection"),
    ("validationModelId", "--model"),
    ("currentPassword", "--current-stdin"),
    ("maxConcurrent", "--max-concurrent"),
    ("allowedModels", "--model"),
    ("graceSeconds", "--grace"),
    ("expiresAt", "--expires"),
    ("apiType", "--api-type"),
    ("baseUrl", "--base-url"),
    ("apiKey", "--api-key-stdin"),
    ("scopes", "--scope"),
];

/// How a command calls the fields of REST: its own words, then those that are the same everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FlagNames(&'static [Word]);

// === impl FlagNames ===

impl FlagNames {
    pub(crate) const fn new(own: &'static [Word]) -> Self {
        Self(own)
    }

    /// What fills a field; the field itself where nothing does.
    pub(crate) fn of<'f>(&self, field: &'f str) -> &'f str {
        // Of a list, every element.
        let is_index = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
        let name = field.split_once('.').filter(|(_, rest)| is_index(rest)).map_or(field, |(name, _)| name);
        self.0.iter().chain(&EVERYWHERE).find(|(of, _)| *of == name).map_or(field, |(_, word)| word)
    }

    /// A sentence with these words in place of the fields. A field whose name is a word of the language too (`name`,
    /// `scopes`) stays as it is.
    pub(crate) fn in_sentence(&self, sentence: &str) -> String {
        let is_part = |character: char| character.is_ascii_alphanumeric() || character == '.';
        let mut said = String::with_capacity(sentence.len());
        let mut rest = sentence;
        while let Some(start) = rest.find(is_part) {
            let (before, from) = rest.split_at(start);
            let (found, after) = from.split_at(from.find(|character| !is_part(character)).unwrap_or(from.len()));
            let name = found.trim_end_matches('.');
            let is_distinct = name.bytes().skip(1).any(|byte| byte.is_ascii_uppercase());
            said.push_str(before);
            said.push_str(if is_distinct { self.of(name) } else { name });
            said.push_str(&found[name.len()..]);
            rest = after;
        }
        said + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: FlagNames = FlagNames::new(&[("name", "NAME"), ("provider", "PROVIDER")]);

    #[test]
    fn a_field_is_called_by_what_fills_it_in_this_command() {
        let usual = FlagNames::default();
        assert_eq!(usual.of("allowedModels.3"), "--model");
        assert_eq!(usual.of("providerSpecificData.baseUrl"), "--base-url");
        assert_eq!(usual.of("providerSpecificData.apiType"), "--api-type");
        assert_eq!((usual.of("name"), OWN.of("name")), ("name", "NAME"));
        assert_eq!((OWN.of("provider"), OWN.of("baseUrl")), ("PROVIDER", "--base-url"));
        assert_eq!(OWN.of("timeouts.idleMs"), "timeouts.idleMs", "no flag fills it");
    }

    #[test]
    fn a_sentence_keeps_its_own_words() {
        let sentence =
            "give its secret along as apiKey; else give each its new providerSpecificData.baseUrl and apiKey.";
        assert_eq!(
            OWN.in_sentence(sentence),
            "give its secret along as --api-key-stdin; else give each its new --base-url and --api-key-stdin."
        );
        for plain in ["The name of a provider. Its scopes are `manage` and `admin`", "OpenAI's apiKeys…", "", "a.b.c"]
        {
            assert_eq!(OWN.in_sentence(plain), plain);
        }
    }
}
