//! Where a connection's requests go: its base URL, and the URLs below it that no request changes.

use http::Uri;
use omniroute_core::address::AddressPolicy;
use url::Url;

use crate::{
    Account, Adapter, ChatApis, CompileError, ConnectionSpec, NextPage, Operation, Provider, Service,
    aws::{DEFAULT_REGION, is_region, region_of_host},
    credential::Credential,
    place::{Place, account, default_region, place},
};

/// Of Amazon's hosts this one takes the calls and its sibling without the end has the lists.
const RUNTIME_HOST: &str = "bedrock-runtime.";
const CONTROL_HOST: &str = "bedrock.";

/// The URLs of a connection.
#[derive(Debug)]
pub(crate) struct ConnectionUrls {
    pub(crate) base: Url,
    /// Of providers that have regions; else it says nothing.
    pub(crate) region: String,
    pub(crate) account: Account,
    chat: Uri,
    /// Of a host that has OpenAI's two chat APIs: the other one.
    responses: Option<Uri>,
    embeddings: Uri,
    images: Uri,
    models: Uri,
    /// Of a provider that has a call to test a credential with.
    check: Option<Uri>,
    /// The connection has a base URL of its own.
    is_moved: bool,
    /// The operator named the path of chat; the adapter's own does not count.
    own_chat_path: bool,
}

// === impl ConnectionUrls ===

impl ConnectionUrls {
    /// `provider`: of the catalog, when the connection is none of a node's.
    pub(crate) fn new(
        spec: &ConnectionSpec<'_>,
        provider: Option<&Provider>,
        adapter: &dyn Adapter,
        apis: ChatApis,
        credential: &Credential,
        policy: AddressPolicy,
    ) -> Result<Self, CompileError> {
        let is_moved = !spec.base_url.is_empty();
        let usual =
            provider.map_or(DEFAULT_REGION, |provider| provider.region.unwrap_or(default_region(provider.format)));
        let region = region(spec, credential.region(), usual)?;
        let account = account(spec, provider, credential)?;
        let Place { base: written, models: listed } = match (&spec.node, provider) {
            (Some(node), _) => {
                let url = if spec.base_url.is_empty() { node.base_url } else { spec.base_url };
                Place { base: policy.check_url(url)?, models: None }
            }
            (None, Some(provider)) => place(spec, provider, &region, &account, credential, policy)?,
            (None, None) => return Err(CompileError::UnknownProvider(spec.provider.to_owned())),
        };
        let mut base = written.clone();
        base.set_path(&adapter.base_path(written.path()));
        // A path of the operator's own starts at the URL as it was written.
        let at = |own: Option<&str>, operation| match own.filter(|path| !path.is_empty()) {
            Some(path) => join(&written, path),
            None => join(&base, &adapter.path(operation, "", false)),
        };
        let models = match listed {
            Some(url) => url.parse().map_err(|_| CompileError::Path(url))?,
            // A connection that points elsewhere lists its models there.
            None => at(spec.node.map(|node| node.models_path), Operation::Models).map(on_control_host)?,
        };
        // Where the catalog says; at a host of the connection's own, as far as that mirrors the provider's.
        let documented = |url: &'static str| match provider.and_then(|provider| provider.below_base(url)) {
            Some(rest) => join(&base, rest).map(Some),
            None if is_moved => Ok(None),
            None => url.parse().map(Some).map_err(|_| CompileError::Path(url.to_owned())),
        };
        let service = |service: Service, operation| {
            let url = provider.and_then(|provider| provider.endpoints.get(&service)).copied();
            match url.filter(|_| adapter.format(operation).is_some()).map(documented).transpose()?.flatten() {
                Some(uri) => Ok(uri),
                None => at(None, operation),
            }
        };
        Ok(Self {
            chat: at(spec.node.map(|node| node.chat_path), Operation::Chat)?,
            responses: match apis {
                ChatApis::Both => Some(join(&base, adapter.responses_path())?),
                ChatApis::Chat | ChatApis::Responses => None,
            },
            embeddings: service(Service::Embeddings, Operation::Embeddings)?,
            images: service(Service::Images, Operation::Images)?,
            check: provider
                .and_then(|provider| provider.check)
                .map(|check| documented(check.url))
                .transpose()?
                .flatten(),
            is_moved,
            models,
            own_chat_path: spec.node.is_some_and(|node| !node.chat_path.is_empty()),
            base,
            region,
            account,
        })
    }

    pub(crate) fn uri(&self, operation: Operation) -> &Uri {
        match operation {
            Operation::Chat => &self.chat,
            Operation::Embeddings => &self.embeddings,
            Operation::Images => &self.images,
            Operation::Models => &self.models,
        }
    }

    pub(crate) const fn check(&self) -> Option<&Uri> {
        self.check.as_ref()
    }

    /// Where a kind of call goes: where the catalog says, else to OpenAI's path below the base URL.
    pub(crate) fn service(&self, provider: &Provider, service: Service) -> Option<Uri> {
        let path = match provider.endpoints.get(&service).copied() {
            Some(url) => match provider.below_base(url) {
                Some(rest) => rest,
                None if self.is_moved => return None,
                None => return url.parse().ok(),
            },
            None if provider.format == "openai" => openai_path(service)?,
            None => return None,
        };
        join(&self.base, path).ok()
    }

    pub(crate) const fn has_own_chat_path(&self) -> bool {
        self.own_chat_path
    }

    /// Where Responses are asked for, at a host that has both of OpenAI's chat APIs.
    pub(crate) const fn responses(&self) -> Option<&Uri> {
        self.responses.as_ref()
    }

    pub(crate) fn uri_for(
        &self,
        adapter: &dyn Adapter,
        operation: Operation,
        model: &str,
        stream: bool,
    ) -> Result<Uri, CompileError> {
        if !adapter.path_varies(operation) || (operation == Operation::Chat && self.own_chat_path) {
            return Ok(self.uri(operation).clone());
        }
        // In any spelling, dots climb out of the path.
        if matches!(model, "." | "..") {
            return Err(CompileError::Path(model.to_owned()));
        }
        join(&self.base, &adapter.path(operation, model, stream))
    }

    pub(crate) fn count_uri(&self, adapter: &dyn Adapter, model: &str) -> Option<Uri> {
        if self.own_chat_path {
            return None;
        }
        join(&self.base, &adapter.count_path(model)?).ok()
    }
}

/// What the operator set counts first, then what is written into the credential, then what the host's name says.
fn region(spec: &ConnectionSpec<'_>, secrets: Option<&str>, usual: &str) -> Result<String, CompileError> {
    let host = Url::parse(spec.base_url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let named = [spec.region, secrets.unwrap_or_default()].into_iter().map(str::trim).find(|region| !region.is_empty());
    match named.or_else(|| host.as_deref().and_then(region_of_host)) {
        Some(region) if is_region(region) => Ok(region.to_owned()),
        Some(region) => Err(CompileError::Region(region.to_owned())),
        None => Ok(usual.to_owned()),
    }
}

/// OpenAI's paths of calls beside chat.
const fn openai_path(service: Service) -> Option<&'static str> {
    match service {
        Service::Embeddings => Some("/embeddings"),
        Service::Images => Some("/images/generations"),
        Service::Speech => Some("/audio/speech"),
        Service::Transcriptions => Some("/audio/transcriptions"),
        Service::Translations => Some("/audio/translations"),
        Service::Moderations => Some("/moderations"),
        // Not OpenAI's, but of one form and at one path wherever it is beside them.
        Service::Rerank => Some("/rerank"),
        Service::Video | Service::Music | Service::Search | Service::Fetch | Service::Ocr => None,
    }
}

/// The list of models at Amazon's other host, where the URL is that of the host for calls.
fn on_control_host(uri: Uri) -> Uri {
    let moved = uri
        .host()
        .filter(|host| region_of_host(host).is_some())
        .and_then(|host| host.strip_prefix(RUNTIME_HOST))
        .and_then(|rest| {
            uri.to_string().replacen(&format!("{RUNTIME_HOST}{rest}"), &format!("{CONTROL_HOST}{rest}"), 1).parse().ok()
        });
    moved.unwrap_or(uri)
}

/// The base URL with a path appended; the base's query stays.
fn join(base: &Url, path: &str) -> Result<Uri, CompileError> {
    let fail = || CompileError::Path(path.to_owned());
    let mut url = base.clone();
    let (path_only, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let joined = format!("{}/{}", base.path().trim_end_matches('/'), path_only.trim_start_matches('/'));
    url.set_path(&joined);
    match (base.query(), query) {
        (Some(own), Some(more)) => url.set_query(Some(&format!("{own}&{more}"))),
        (None, Some(more)) => url.set_query(Some(more)),
        _ => {}
    }
    url.set_fragment(None);
    url.as_str().parse().map_err(|_| fail())
}

/// A URL with one more segment; its query stays.
pub(crate) fn below(uri: &Uri, segment: &str) -> Result<Uri, CompileError> {
    let base = Url::parse(&uri.to_string()).map_err(|_| CompileError::Path(uri.path().to_owned()))?;
    join(&base, segment)
}

/// The URL of the page that follows `page`.
pub(crate) fn next_page(page: &Uri, next: &NextPage) -> Result<Uri, CompileError> {
    let fail = || CompileError::Path(page.path().to_owned());
    let mut url = Url::parse(&page.to_string()).map_err(|_| fail())?;
    if let Some(sibling) = next.sibling {
        let (parent, _) = page.path().rsplit_once('/').unwrap_or_default();
        url.set_path(&format!("{parent}/{sibling}"));
    }
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    for (name, value) in &next.query {
        pairs.retain(|(own, _)| own != name);
        if !value.is_empty() {
            pairs.push(((*name).to_owned(), value.clone()));
        }
    }
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url.as_str().parse().map_err(|_| fail())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NodeSpec, Timeouts, Upstream, upstream::tests::spec};

    const POLICY: AddressPolicy = AddressPolicy::AllowPrivate;
    const PAIR: &str = "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn urls(spec: &ConnectionSpec<'_>, model: &str) -> (String, String) {
        let upstream = Upstream::compile(spec, POLICY).expect("compiled");
        let chat = upstream.uri_for(Operation::Chat, model, true).expect("a URL");
        (chat.to_string(), upstream.uri(Operation::Models).to_string())
    }

    #[test]
    fn a_base_url_is_taken_as_people_write_it() {
        for (provider, base, chat, models) in [
            (
                "anthropic",
                "",
                "https://api.anthropic.com/v1/messages",
                "https://api.anthropic.com/v1/models?limit=1000",
            ),
            ("anthropic", "http://h.example", "http://h.example/v1/messages", "http://h.example/v1/models?limit=1000"),
            (
                "anthropic",
                "http://h.example/a/v1",
                "http://h.example/a/v1/messages",
                "http://h.example/a/v1/models?limit=1000",
            ),
            (
                "gemini",
                "http://h.example/v1beta",
                "http://h.example/v1beta/models/m:streamGenerateContent?alt=sse",
                "http://h.example/v1beta/models?pageSize=1000",
            ),
            (
                "gemini",
                "http://h.example/",
                "http://h.example/v1beta/models/m:streamGenerateContent?alt=sse",
                "http://h.example/v1beta/models?pageSize=1000",
            ),
            ("ollama", "http://h.example:11434", "http://h.example:11434/api/chat", "http://h.example:11434/api/tags"),
            ("ollama", "http://h.example/o/v1", "http://h.example/o/api/chat", "http://h.example/o/api/tags"),
            ("cohere", "http://h.example/v2", "http://h.example/v2/chat", "http://h.example/v1/models?page_size=1000"),
            ("openai", "http://h.example", "http://h.example/chat/completions", "http://h.example/models"),
        ] {
            let spec = ConnectionSpec { provider, base_url: base, ..spec() };
            assert_eq!(urls(&spec, "m"), (chat.to_owned(), models.to_owned()), "{provider} {base}");
        }
    }

    #[test]
    fn an_anthropic_node_works_with_and_without_the_version_and_with_paths_of_its_own() {
        let node = |base_url, chat_path| NodeSpec {
            kind: "anthropic-compatible",
            api_type: "",
            base_url,
            chat_path,
            models_path: "",
        };
        for (base, path, chat) in [
            ("https://n.example/api/anthropic", "", "https://n.example/api/anthropic/v1/messages"),
            ("https://n.example/v1", "", "https://n.example/v1/messages"),
            ("https://n.example/api", "/messages", "https://n.example/api/messages"),
        ] {
            let spec = ConnectionSpec { provider: "node-1", node: Some(node(base, path)), ..spec() };
            assert_eq!(urls(&spec, "m").0, chat);
        }
    }

    #[test]
    fn bedrock_has_a_host_per_region() {
        let bedrock =
            |base_url, region, secret| ConnectionSpec { provider: "bedrock", base_url, region, secret, ..spec() };
        let regional = format!("{PAIR}::ap-south-1");
        for (spec, host, list) in [
            (bedrock("", "", "ABSKkey"), "bedrock-runtime.us-east-1.amazonaws.com", "bedrock.us-east-1.amazonaws.com"),
            (
                bedrock("", "eu-west-1", PAIR),
                "bedrock-runtime.eu-west-1.amazonaws.com",
                "bedrock.eu-west-1.amazonaws.com",
            ),
            (
                bedrock("", "", &regional),
                "bedrock-runtime.ap-south-1.amazonaws.com",
                "bedrock.ap-south-1.amazonaws.com",
            ),
            (
                bedrock("", "cn-north-1", PAIR),
                "bedrock-runtime.cn-north-1.amazonaws.com.cn",
                "bedrock.cn-north-1.amazonaws.com.cn",
            ),
            (
                bedrock("https://bedrock-runtime.eu-west-2.amazonaws.com", "", PAIR),
                "bedrock-runtime.eu-west-2.amazonaws.com",
                "bedrock.eu-west-2.amazonaws.com",
            ),
            (bedrock("https://b.example", "eu-west-1", PAIR), "b.example", "b.example"),
        ] {
            let (chat, models) = urls(&spec, "us.x-v1:0");
            assert_eq!(chat, format!("https://{host}/model/us.x-v1%3A0/converse-stream"));
            assert_eq!(models, format!("https://{list}/foundation-models"));
        }
        let upstream = Upstream::compile(&bedrock("https://b.example", "eu-west-1", PAIR), POLICY).expect("compiled");
        assert!(upstream.signer().is_some() && upstream.headers().is_empty());
        let shown = format!("{upstream:?} {:?}", upstream.signer());
        assert!(!shown.contains("wJalrXUtnFEMI"), "{shown}");
        let by_key = Upstream::compile(&bedrock("", "", "ABSKkey"), POLICY).expect("compiled");
        assert!(by_key.signer().is_none());
        assert_eq!(by_key.headers()["authorization"], "Bearer ABSKkey");
        for (region, secret, error) in [
            ("evil.example#", "k", CompileError::Region("evil.example#".into())),
            ("", "AKIAIOSFODNN7EXAMPLE", CompileError::IncompleteKeys(crate::IncompleteKeys)),
        ] {
            assert_eq!(Upstream::compile(&bedrock("", region, secret), POLICY).err(), Some(error));
        }
    }

    #[test]
    fn a_models_name_never_leaves_its_segment() {
        let spec = ConnectionSpec { provider: "bedrock", timeouts: Timeouts::default(), ..spec() };
        let upstream = Upstream::compile(&spec, POLICY).expect("compiled");
        assert!(upstream.uri_for(Operation::Chat, "..", false).is_err());
        let uri = upstream.uri_for(Operation::Chat, "../../x?y#z", false).expect("a URL");
        assert_eq!(uri.path(), "/model/..%2F..%2Fx%3Fy%23z/converse");
    }

    #[test]
    fn the_next_page_keeps_what_it_does_not_change() {
        let page: Uri = "https://h.example/v1/models?limit=1000&api-version=3".parse().expect("a URL");
        let next = NextPage { query: vec![("after_id", "a&b".into())], ..NextPage::default() };
        let second = next_page(&page, &next).expect("a URL");
        assert_eq!(second, "https://h.example/v1/models?limit=1000&api-version=3&after_id=a%26b");
        let next = NextPage { query: vec![("after_id", "c".into())], ..NextPage::default() };
        assert_eq!(
            next_page(&second, &next).expect("a URL"),
            "https://h.example/v1/models?limit=1000&api-version=3&after_id=c"
        );
        let list: Uri = "https://h.example/foundation-models".parse().expect("a URL");
        let next = NextPage { sibling: Some("inference-profiles"), ..NextPage::default() };
        assert_eq!(next_page(&list, &next).expect("a URL").path(), "/inference-profiles");
    }
}
