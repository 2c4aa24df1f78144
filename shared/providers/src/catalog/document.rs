//! `docs/providers.md`: the catalog as a table, and what is not in it.

use std::fmt::Write;

use serde::Deserialize;

use super::{Auth, Catalog, Category, Group, Provider};

const OPENING: &str = "\
# Providers

<!-- Written by `make docs` from shared/providers/data; a test compares. -->

Each of these works by its id or by one of its short names, in `omniroute providers add ID` and in front of a model
(`ID/model`). Anything else that speaks OpenAI's or Anthropic's API is a node: `omniroute providers add NAME --base-url URL
--prefix PREFIX` ([quick start](quick-start.md#add-a-provider)).

- **Serves**: what the provider offers. The gateway asks for chat, embeddings and images; the other kinds are stored and
  tested, for calls that the gateway does not make yet.
- **API**: whose format it speaks, hence how requests are written. `own` is an API that is nobody else's.
- **Base URL**: where requests go unless a connection has a base URL of its own. `{region}` comes from the connection's region,
  `{account}` from its `projectId`. Where it says *yours*, every customer has a host, and the connection has to name it.
- **Key**: how the key is sent; `none` needs no key, and sends one as a bearer if it is given.
- **Free**: something can be had without paying, when the entry was written. The vendor decides.
";

/// A service that has no entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeftOut {
    id: String,
    name: String,
    reason: String,
}

/// The text of `docs/providers.md`.
pub fn document() -> String {
    let catalog = Catalog::builtin();
    let mut text = OPENING.to_owned();
    // Writing into a string cannot fail.
    let _ = write!(text, "\n{} providers.\n", catalog.len());
    for (group, title) in [
        (Group::Maker, "Makers of models"),
        (Group::Host, "Hosts of models"),
        (Group::Gateway, "Gateways and resellers"),
        (Group::Media, "Speech, pictures, video, music, agents"),
        (Group::Search, "Search, embeddings, reranking"),
        (Group::Local, "Servers of your own"),
    ] {
        let _ = write!(
            text,
            "\n## {title}\n\n| provider | id | short names | serves | API | base URL | key | free |\n|---|---|---|---|---|---|---|---|\n"
        );
        for provider in catalog.providers().iter().filter(|provider| provider.group == group) {
            row(&mut text, provider);
        }
    }
    text.push_str("\n## What is left out\n\nServices that other gateways list and this one does not, and why.\n\n");
    text.push_str("| service | name | why |\n|---|---|---|\n");
    let left_out: Vec<LeftOut> = serde_json::from_str(include_str!("../../data/left_out.json")).unwrap_or_default();
    for LeftOut { id, name, reason } in left_out {
        let _ = writeln!(text, "| `{id}` | {name} | {reason} |");
    }
    text
}

fn row(text: &mut String, provider: &Provider) {
    let name = match provider.docs {
        Some(docs) => format!("[{}]({docs})", provider.name),
        None => format!("[{}]({})", provider.name, provider.website),
    };
    let aliases: Vec<String> = provider.aliases.iter().map(|alias| format!("`{alias}`")).collect();
    let serves: Vec<&str> = provider
        .categories
        .iter()
        .filter(|category| **category != Category::Local)
        .map(|category| category.as_str())
        .collect();
    let _ = writeln!(
        text,
        "| {name} | `{}` | {} | {} | {} | `{}`{} | {} | {} |",
        provider.id,
        aliases.join(", "),
        serves.join(", "),
        provider.format,
        provider.base_url,
        if provider.own_host { " *yours*" } else { "" },
        key(provider.auth),
        if provider.free_tier { "yes" } else { "" },
    );
}

fn key(auth: Auth) -> String {
    match auth {
        Auth::Bearer => "bearer".to_owned(),
        Auth::ApiKey => "`api-key`".to_owned(),
        Auth::XApiKey => "`x-api-key`".to_owned(),
        Auth::XGoogApiKey => "`x-goog-api-key`".to_owned(),
        Auth::Header(name) => format!("`{name}`"),
        Auth::Scheme(scheme) => format!("`Authorization: {scheme} …`"),
        Auth::Aws => "bearer, or a pair of keys that signs".to_owned(),
        Auth::Google => "`x-goog-api-key`, or a service account".to_owned(),
        Auth::Azure => "`api-key`, or an application of Entra ID".to_owned(),
        Auth::Ibm => "an API key of IBM Cloud, which is exchanged".to_owned(),
        Auth::Databricks => "bearer, or a service principal".to_owned(),
        Auth::None => "none".to_owned(),
    }
}
