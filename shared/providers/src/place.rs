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
