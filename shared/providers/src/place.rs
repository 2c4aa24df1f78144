//! Where a cloud's endpoints are: behind one host per customer, region or account.

use omniroute_core::address::AddressPolicy;
use url::Url;

use crate::{Account, CompileError, ConnectionSpec, Provider, azure::Surface, credential::Credential, vertex, watsonx};

/// What stands for the account in a URL of the catalog.
const ACCOUNT: &str = "{account}";
/// Longest name of a project or account.
const LONGEST: usize = 128;

/// Where a connection's calls go.
pub(crate) struct Place {
    /// The base URL, but for what the adapter adds itself.
    pub(crate) base: Url,
    /// Where its models are listed, when not below the base URL.
    pub(crate) models: Option<String>,
}

/// The region of a connection that names none.
pub(crate) fn default_region(format: &str) -> &'static str {
    match format {
        "vertex" => vertex::DEFAULT_LOCATION,
        "watsonx" => watsonx::DEFAULT_REGION,
        _ => crate::aws::DEFAULT_REGION,
    }
}

/// The account that a connection's requests name.
///
/// # Errors
/// When it is missing, or none that can stand in a URL.
pub(crate) fn account(
    spec: &ConnectionSpec<'_>,
    provider: Option<&Provider>,
    credential: &Credential,
) -> Result<Account, CompileError> {
    let project = [spec.cloud.project, credential.project().unwrap_or_default()];
    let account = Account {
        project: project.into_iter().map(str::trim).find(|name| !name.is_empty()).unwrap_or_default().to_owned(),
        space: spec.cloud.space.trim().to_owned(),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    for (field, value) in [("projectId", &account.project), ("spaceId", &account.space)] {
        if value.len() > LONGEST || !value.bytes().all(is_plain) || value.starts_with('.') {
            return Err(CompileError::Field(field, "has characters that no id has".into()));
        }
    }
    let Some(provider) = provider else { return Ok(account) };
    let is_complete = spec.base_url.contains("/projects/") || spec.base_url.contains("/accounts/");
    let missing = match provider.format {
        "vertex" if account.project.is_empty() && !credential.is_sent() && !is_complete => {
            "the id of the Google Cloud project is needed"
        }
        "watsonx" if account.project.is_empty() && account.space.is_empty() && !is_gateway(spec) => {
            "the id of the watsonx project is needed, or `spaceId` with the id of a deployment space"
        }
        _ if provider.base_url.contains(ACCOUNT) && account.project.is_empty() && !is_complete => {
            "the id of the account is needed"
        }
        _ => return Ok(account),
    };
    Err(CompileError::Field("projectId", missing.into()))
}

/// Whether the connection goes to watsonx's model gateway, which speaks OpenAI's API.
pub(crate) fn is_gateway(spec: &ConnectionSpec<'_>) -> bool {
    spec.base_url.contains(watsonx::GATEWAY)
}

/// Where a provider of the catalog is asked.
///
/// # Errors
/// When the connection does not say enough, or the operator allows no such address.
pub(crate) fn place(
    spec: &ConnectionSpec<'_>,
    provider: &Provider,
    region: &str,
    account: &Account,
    credential: &Credential,
    policy: AddressPolicy,
) -> Result<Place, CompileError> {
    let written = match spec.base_url {
        "" => None,
        url => Some(policy.check_url(url)?),
    };
    if provider.own_host && written.is_none() {
        return Err(CompileError::NeedsBaseUrl(provider.base_url.to_owned()));
    }
    if provider.format == "vertex" {
        let is_express = credential.is_sent() && account.project.is_empty();
        let (base, models) = vertex::place(spec, written.as_ref(), region, &account.project, is_express)?;
        return Ok(Place { base, models: Some(models) });
    }
    let is_moved = written.is_some();
    let fill = |url: &str| url.replace(ACCOUNT, &account.project);
    let mut base = match written {
        Some(written) => written,
        None => policy.check_url(&fill(&provider.base_url_in(region)))?,
    };
    if let Some(surface) = Surface::of(provider.format, spec) {
        base = surface.base(&base, spec);
    }
    let models = match provider.format {
        "databricks" => {
            let mut list = base.clone();
            list.set_path("/api/2.0/serving-endpoints");
            Some(list.into())
        }
        _ => provider.models_url_in(region).filter(|_| !is_moved).map(|url| fill(&url)),
    };
    Ok(Place { base, models })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CloudSpec, Operation, Upstream, upstream::tests::spec};

    const POLICY: AddressPolicy = AddressPolicy::PublicOnly;

    /// URL of a chat with `m`, and of the list.
    fn urls(spec: &ConnectionSpec<'_>) -> (String, String) {
        let upstream = Upstream::compile(spec, POLICY).expect("compiled");
        let format =
            upstream.chat_format_for("m", &crate::ChatApiSelector::plain(omniroute_wire::ir::Format::OpenAiChat));
        let chat = upstream.chat_uri(format.expect("chats"), "m", false).expect("a URL");
        (chat.to_string(), upstream.uri(Operation::Models).to_string())
    }

    fn at<'a>(provider: &'a str, base_url: &'a str, region: &'a str, cloud: CloudSpec<'a>) -> ConnectionSpec<'a> {
        ConnectionSpec { provider, base_url, region, cloud, ..spec() }
    }

    #[test]
    fn every_cloud_is_asked_where_its_vendor_says() {
        let plain = CloudSpec::default();
        let project = CloudSpec { project: "p-1", ..plain };
        let dated = CloudSpec { api_version: "2024-10-21", ..plain };
        for (spec, chat, list) in [
            (
                at("vertex", "", "", project),
                "https://aiplatform.googleapis.com/v1/projects/p-1/locations/global/publishers/google/models/m:generateContent",
                "https://aiplatform.googleapis.com/v1beta1/publishers/google/models?pageSize=100",
            ),
            (
                at("vertex", "", "us-east5", project),
                "https://us-east5-aiplatform.googleapis.com/v1/projects/p-1/locations/us-east5/publishers/google/models/m:generateContent",
                "https://us-east5-aiplatform.googleapis.com/v1beta1/publishers/google/models?pageSize=100",
            ),
            (
                at("vertex", "", "eu", project),
                "https://aiplatform.eu.rep.googleapis.com/v1/projects/p-1/locations/eu/publishers/google/models/m:generateContent",
                "https://aiplatform.eu.rep.googleapis.com/v1beta1/publishers/google/models?pageSize=100",
            ),
            (
                at("vertex", "", "", plain),
                "https://aiplatform.googleapis.com/v1/publishers/google/models/m:generateContent",
                "https://aiplatform.googleapis.com/v1beta1/publishers/google/models?pageSize=100",
            ),
            (
                at("vertex", "https://h.example/v1beta1/projects/x/locations/y", "", plain),
                "https://h.example/v1beta1/projects/x/locations/y/publishers/google/models/m:generateContent",
                "https://h.example/v1beta1/publishers/google/models?pageSize=100",
            ),
            (
                at("azure-openai", "https://x.openai.azure.com", "", plain),
                "https://x.openai.azure.com/openai/v1/chat/completions",
                "https://x.openai.azure.com/openai/v1/models",
            ),
            (
                at("azure-openai", "https://x.openai.azure.com/openai", "", dated),
                "https://x.openai.azure.com/openai/deployments/m/chat/completions?api-version=2024-10-21",
                "https://x.openai.azure.com/openai/models?api-version=2024-10-21",
            ),
            (
                at("azure-openai", "https://x.openai.azure.com/?api-version=2024-10-21", "", plain),
                "https://x.openai.azure.com/openai/deployments/m/chat/completions?api-version=2024-10-21",
                "https://x.openai.azure.com/openai/models?api-version=2024-10-21",
            ),
            (
                at("azure-ai", "https://x.services.ai.azure.com/models", "", plain),
                "https://x.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview",
                "https://x.services.ai.azure.com/models/models?api-version=2024-05-01-preview",
            ),
            (
                at("azure-ai", "https://x.services.ai.azure.com", "", plain),
                "https://x.services.ai.azure.com/openai/v1/chat/completions",
                "https://x.services.ai.azure.com/openai/v1/models",
            ),
            (
                at("watsonx", "", "eu-de", project),
                "https://eu-de.ml.cloud.ibm.com/ml/v1/text/chat?version=2025-04-17",
                "https://eu-de.ml.cloud.ibm.com/ml/v1/foundation_model_specs?version=2025-04-17&limit=200",
            ),
            (
                at("watsonx", "https://us-south.ml.cloud.ibm.com/ml/gateway/v1", "", plain),
                "https://us-south.ml.cloud.ibm.com/ml/gateway/v1/chat/completions",
                "https://us-south.ml.cloud.ibm.com/ml/gateway/v1/models",
            ),
            (
                at("databricks", "https://dbc-1.cloud.databricks.com", "", plain),
                "https://dbc-1.cloud.databricks.com/serving-endpoints/chat/completions",
                "https://dbc-1.cloud.databricks.com/api/2.0/serving-endpoints",
            ),
            (
                at("cf", "", "", project),
                "https://api.cloudflare.com/client/v4/accounts/p-1/ai/v1/chat/completions",
                "https://api.cloudflare.com/client/v4/accounts/p-1/ai/models/search?per_page=1000",
            ),
            (
                at("cf", "https://h.example/client/v4/accounts/a/ai/v1", "", plain),
                "https://h.example/client/v4/accounts/a/ai/v1/chat/completions",
                "https://h.example/client/v4/accounts/a/ai/models/search?per_page=1000",
            ),
            (
                at("ghm", "", "", plain),
                "https://models.github.ai/inference/chat/completions",
                "https://models.github.ai/catalog/models",
            ),
        ] {
            assert_eq!(urls(&spec), (chat.to_owned(), list.to_owned()), "{spec:?}");
        }
    }

    #[test]
    fn credentials_go_where_each_cloud_wants_them() {
        let header = |spec: &ConnectionSpec<'_>, name: &str| {
            let upstream = Upstream::compile(spec, POLICY).expect("compiled");
            assert!(upstream.grant().is_none() && upstream.headers().len() == 1, "{:?}", upstream.headers());
            upstream.headers()[name].to_str().expect("text").to_owned()
        };
        let plain = CloudSpec::default();
        assert_eq!(header(&at("vertex", "", "", plain), "x-goog-api-key"), "sk-vendor");
        assert_eq!(header(&at("azure-openai", "https://x.openai.azure.com", "", plain), "api-key"), "sk-vendor");
        assert_eq!(header(&at("databricks", "https://d.example", "", plain), "authorization"), "Bearer sk-vendor");
        let client = r#"{"appId":"a","password":"p","tenant":"t"}"#;
        let lines = "AZURE_TENANT_ID=t\nAZURE_CLIENT_ID=a\nAZURE_CLIENT_SECRET=p";
        for secret in [client, lines] {
            let spec =
                ConnectionSpec { secret, ..at("azure-openai", "https://x.openai.azure.com", "", CloudSpec::default()) };
            let upstream = Upstream::compile(&spec, POLICY).expect("compiled");
            assert!(upstream.grant().is_some() && upstream.headers().is_empty());
            let shown = format!("{upstream:?} {:?}", upstream.grant());
            assert!(!shown.contains("\"p\""), "{shown}");
        }
    }

    #[test]
    fn a_machines_identity_stays_with_its_cloud() {
        let ambient = CloudSpec { is_ambient: true, project: "p", ..CloudSpec::default() };
        let compiled = |provider, base_url, policy| {
            let spec = ConnectionSpec { secret: "", ..at(provider, base_url, "", ambient) };
            Upstream::compile(&spec, policy).map(|upstream| upstream.grant().is_some())
        };
        for (provider, base_url) in [
            ("bedrock", ""),
            ("bedrock", "https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com"),
            ("vertex", ""),
            ("azure-openai", "https://x.openai.azure.com"),
            ("azure-ai", "https://x.services.ai.azure.com"),
        ] {
            assert_eq!(compiled(provider, base_url, POLICY), Ok(true), "{provider} {base_url}");
        }
        for base_url in [
            "https://collector.example",
            "https://amazonaws.com.collector.example",
            "https://notamazonaws.com",
            "http://bedrock-runtime.us-east-1.amazonaws.com",
        ] {
            let refused = compiled("bedrock", base_url, AddressPolicy::AllowPrivate);
            assert!(matches!(refused, Err(CompileError::Identity(_))), "{base_url}: {refused:?}");
        }
        // Customers have hosts below the domains of clouds, and one cloud has no business with another's tokens.
        for (provider, base_url) in [
            ("vertex", "https://x.execute-api.us-east-1.amazonaws.com"),
            ("vertex", "https://x.openai.azure.com"),
            ("vertex", "https://storage.googleapis.com"),
            ("bedrock", "https://x.execute-api.us-east-1.amazonaws.com"),
            ("bedrock", "https://bedrock-runtime.s3.amazonaws.com"),
            ("bedrock", "https://bedrock-runtime.s3-us-west-2.amazonaws.com"),
            ("azure-openai", "https://x.execute-api.us-east-1.amazonaws.com"),
        ] {
            let refused = compiled(provider, base_url, AddressPolicy::AllowPrivate);
            assert!(matches!(refused, Err(CompileError::Identity(_))), "{provider} {base_url}: {refused:?}");
        }
        assert_eq!(compiled("bedrock", "http://127.0.0.1:1", AddressPolicy::AllowPrivate), Ok(true));
        assert!(matches!(compiled("databricks", "https://d.example", POLICY), Err(CompileError::Identity(_))));
        let both = ConnectionSpec { secret: "ABSK", ..at("bedrock", "", "", ambient) };
        assert!(matches!(Upstream::compile(&both, POLICY), Err(CompileError::Identity(_))));
    }
}
