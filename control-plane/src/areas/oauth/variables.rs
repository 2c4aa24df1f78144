//! Registrations in the environment: `<NAME>_OAUTH_CLIENT_ID` and what goes with it, or the same name with `_FILE` behind it,
//! which names a file that holds the value, as secrets are mounted.

use std::collections::BTreeMap;

use omniroute_core::settings::Secret;
use omniroute_providers::OAuthFacts;
use zeroize::Zeroizing;

/// A secret in a file is no longer than this.
const MAX_FILE: u64 = 64 * 1024;

/// What a variable is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    ClientId,
    ClientSecret,
    AuthorizationUrl,
    TokenUrl,
    DeviceAuthorizationUrl,
    Scopes,
    RedirectUri,
}

/// The environment, as far as it may be about signing in.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, Secret>);

/// A value, and where it was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) value: Secret,
    /// Name of the variable.
    pub(super) name: String,
    pub(super) fault: Option<Fault>,
}

/// What is wrong with a variable that can be read all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It goes by a name that counts for nothing.
    Name,
    /// There are quotes or blanks around the value.
    Value,
}

// === impl Part ===

impl Part {
    const fn suffix(self) -> &'static str {
        match self {
            Self::ClientId => "CLIENT_ID",
            Self::ClientSecret => "CLIENT_SECRET",
            Self::AuthorizationUrl => "AUTHORIZATION_URL",
            Self::TokenUrl => "TOKEN_URL",
            Self::DeviceAuthorizationUrl => "DEVICE_AUTHORIZATION_URL",
            Self::Scopes => "SCOPES",
            Self::RedirectUri => "REDIRECT_URI",
        }
    }

    /// Names under which people have put it by mistake.
    fn misnamed(self, beginning: &str) -> Vec<String> {
        let short = match self {
            Self::ClientId => "ID",
            Self::ClientSecret => "SECRET",
            _ => return Vec::new(),
        };
        let suffix = self.suffix();
        vec![
            format!("{beginning}_{suffix}"),
            format!("{beginning}_OAUTH_{short}"),
            format!("{beginning}_OAUTH_CLIENT{short}"),
            format!("OAUTH_{beginning}_{suffix}"),
            format!("{beginning}_OAUTH2_{suffix}"),
        ]
    }
}

/// Beginnings of the variables of a provider; the first is the usual one.
pub(super) fn beginnings(provider: &str) -> Vec<String> {
    match OAuthFacts::of(provider) {
        Some(facts) => facts.variables.clone(),
        None => {
            let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
            vec![provider.chars().map(letter).collect()]
        }
    }
}

/// The usual name of a provider's variable.
pub(super) fn usual_name(provider: &str, part: Part) -> String {
    let first = beginnings(provider).into_iter().next().unwrap_or_default();
    format!("{first}_OAUTH_{}", part.suffix())
}

// === impl Variables ===

impl Variables {
    /// Of this process.
    pub fn of_process() -> Self {
        let is_about_it = |name: &str| {
            let name = name.to_ascii_uppercase();
            name.contains("OAUTH") || name.contains("CLIENT_ID") || name.contains("CLIENT_SECRET")
        };
        let all =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self(all.filter(|(name, _)| is_about_it(name)).map(|(name, value)| (name, Secret::new(value))).collect())
    }

    #[cfg(test)]
    pub(crate) fn of_values(values: &[(&str, &str)]) -> Self {
        Self(values.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect())
    }

    /// The value that counts for a provider, under its usual name or another one that is known.
    pub(super) async fn get(&self, provider: &str, part: Part) -> Option<Secret> {
        for beginning in beginnings(provider) {
            let name = format!("{beginning}_OAUTH_{}", part.suffix());
            if let Some(value) = self.read(&name).await {
                return Some(value);
            }
        }
        None
    }

    /// As [`Self::get`], also where it goes by a wrong name or has something around it.
    pub(super) async fn search(&self, provider: &str, part: Part) -> Option<Found> {
        let beginnings = beginnings(provider);
        for beginning in &beginnings {
            let name = format!("{beginning}_OAUTH_{}", part.suffix());
            if let Some(value) = self.read(&name).await {
                return Some(tidied(name, &value, None));
            }
        }
        let wrong = beginnings.iter().flat_map(|beginning| part.misnamed(beginning));
        for name in wrong {
            if let Some(value) = self.read(&name).await {
                return Some(tidied(name, &value, Some(Fault::Name)));
            }
        }
        let right: Vec<String> = beginnings.iter().map(|one| format!("{one}_OAUTH_{}", part.suffix())).collect();
        let (name, value) =
            self.0.iter().find(|(name, _)| right.iter().any(|right| right.eq_ignore_ascii_case(name)))?;
        Some(tidied(name.clone(), value, Some(Fault::Name))).filter(|found| found.value.is_set())
    }

    async fn read(&self, name: &str) -> Option<Secret> {
        if let Some(value) = self.0.get(name).filter(|value| value.is_set()) {
            return Some(value.clone());
        }
        let path = self.0.get(&format!("{name}_FILE")).filter(|path| path.is_set())?;
        let path = path.expose().to_owned();
        let file = path.clone();
        let read = tokio::task::spawn_blocking(move || {
            let length = std::fs::metadata(&file)?.len();
            if length > MAX_FILE {
                return Err(std::io::Error::other("it is too long for a secret"));
            }
            std::fs::read_to_string(&file).map(Zeroizing::new)
        });
        match read.await {
            Ok(Ok(text)) => Some(Secret::new(text.trim_end_matches(['\r', '\n']))).filter(Secret::is_set),
            Ok(Err(error)) => {
                tracing::warn!(%error, variable = format!("{name}_FILE"), path, "the file of a variable cannot be read");
                None
            }
            Err(_) => None,
        }
    }
}

/// A value without what does not belong to it.
fn tidied(name: String, value: &Secret, fault: Option<Fault>) -> Found {
    let mut text = value.expose().trim();
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)) {
            text = inner.trim();
        }
    }
    let fault = fault.or((text != value.expose()).then_some(Fault::Value));
    Found { value: Secret::new(text), name, fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_provider_has_several_names_and_the_usual_one_goes_first() {
        let variables = Variables::of_values(&[
            ("CLAUDE_OAUTH_CLIENT_ID", "other"),
            ("CLAUDE_CODE_OAUTH_CLIENT_ID", "usual"),
            ("ANTHROPIC_OAUTH_CLIENT_SECRET", "secret"),
        ]);
        let get = async |part| variables.get("anthropic", part).await.map(|value| value.expose().to_owned());
        assert_eq!(get(Part::ClientId).await.as_deref(), Some("usual"));
        assert_eq!(get(Part::ClientSecret).await.as_deref(), Some("secret"));
        assert_eq!(get(Part::TokenUrl).await, None);
        assert_eq!(usual_name("anthropic", Part::ClientId), "CLAUDE_CODE_OAUTH_CLIENT_ID");
        assert_eq!(usual_name("my-node.1", Part::ClientSecret), "MY_NODE_1_OAUTH_CLIENT_SECRET");
    }

    #[tokio::test]
    async fn a_value_may_lie_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("id");
        std::fs::write(&file, "from-a-file\n").expect("written");
        let path = file.to_str().expect("a path");
        let variables =
            Variables::of_values(&[("XAI_OAUTH_CLIENT_ID_FILE", path), ("XAI_OAUTH_CLIENT_SECRET_FILE", "/nowhere")]);
        assert_eq!(variables.get("xai", Part::ClientId).await.expect("found").expose(), "from-a-file");
        assert!(variables.get("xai", Part::ClientSecret).await.is_none());
    }

    #[tokio::test]
    async fn what_is_misnamed_or_quoted_is_found_when_it_is_searched_for() {
        for (name, value, fault) in [
            ("CODEX_OAUTH_CLIENT_ID", "id", None),
            ("OPENAI_OAUTH_CLIENT_ID", " id ", Some(Fault::Value)),
            ("CODEX_OAUTH_CLIENT_ID", "\"id\"", Some(Fault::Value)),
            ("CODEX_CLIENT_ID", "id", Some(Fault::Name)),
            ("OAUTH_CODEX_CLIENT_ID", "id", Some(Fault::Name)),
            ("codex_oauth_client_id", "id", Some(Fault::Name)),
        ] {
            let variables = Variables::of_values(&[(name, value)]);
            let found = variables.search("openai", Part::ClientId).await.unwrap_or_else(|| panic!("{name}"));
            assert_eq!((found.value.expose(), found.fault, found.name.as_str()), ("id", fault, name));
        }
        let unrelated = Variables::of_values(&[("GITHUB_CLIENT_ID", "x")]);
        assert!(unrelated.search("openai", Part::ClientId).await.is_none());
    }
}
