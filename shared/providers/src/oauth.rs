//! What is public about signing in at providers, from `data/oauth.json`: endpoints and scopes, where the vendor documents
//! them for applications of one's own. Client ids are the operator's: none is known here.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::Deserialize;

static FACTS: OnceLock<Vec<OAuthFacts>> = OnceLock::new();

/// How one signs in at a provider.
#[derive(Clone, Debug, Deserialize)]
pub struct OAuthFacts {
    /// Id of the provider in the catalog.
    pub id: String,
    /// What else it is called where one signs in.
    pub names: Vec<String>,
    /// Beginnings of the environment variables that hold the operator's registration; the first is the usual one.
    pub variables: Vec<String>,
    /// `None`: the vendor documents none, so the operator has to say.
    pub authorization_url: Option<String>,
    pub token_url: Option<String>,
    pub device_authorization_url: Option<String>,
    pub scopes: Vec<String>,
    /// Further parameters of the authorization URL.
    #[serde(default)]
    pub authorize_parameters: BTreeMap<String, String>,
    /// The vendor's page.
    pub docs: String,
}

#[derive(Deserialize)]
struct File {
    providers: Vec<OAuthFacts>,
}

// === impl OAuthFacts ===

impl OAuthFacts {
    /// All that are known.
    pub fn all() -> &'static [Self] {
        FACTS.get_or_init(|| {
            // The file is part of the program; a test reads it.
            serde_json::from_str::<File>(include_str!("../data/oauth.json"))
                .map(|file| file.providers)
                .unwrap_or_default()
        })
    }

    /// Of the provider with this id or name.
    pub fn of(name: &str) -> Option<&'static Self> {
        let all = Self::all();
        all.iter()
            .find(|facts| facts.id == name)
            .or_else(|| all.iter().find(|facts| facts.names.iter().any(|one| one == name)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_file_is_read_and_every_name_leads_to_one_provider() {
        let file: File = serde_json::from_str(include_str!("../data/oauth.json")).expect("the file");
        assert_eq!(file.providers.len(), OAuthFacts::all().len());
        let mut names = BTreeSet::new();
        let mut variables = BTreeSet::new();
        for facts in OAuthFacts::all() {
            for name in facts.names.iter().chain([&facts.id]) {
                assert!(names.insert(name), "{name}");
                assert_eq!(OAuthFacts::of(name).expect("known").id, facts.id);
            }
            for variable in &facts.variables {
                assert!(variables.insert(variable), "{variable}");
            }
            assert!(!facts.variables.is_empty(), "{}", facts.id);
            let urls = [&facts.authorization_url, &facts.token_url, &facts.device_authorization_url];
            for url in urls.into_iter().flatten() {
                assert!(url.starts_with("https://"), "{url}");
            }
        }
        assert_eq!(OAuthFacts::of("claude-code").expect("known").id, "anthropic");
    }
}
