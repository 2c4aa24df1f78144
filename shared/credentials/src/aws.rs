//! AWS's chain of credentials, in the order of its own programs: environment, profile, web identity, container, instance.
//!
//! Programs that profiles name (`credential_process`) are not run, and sign-ins in a browser (`sso_…`) are not taken up: neither is
//! an identity of a machine.
//!
//! Sources: docs.aws.amazon.com/sdkref/latest/guide/{standardized-credentials,feature-assume-role-credentials,
//! feature-container-credentials,feature-imds-credentials}.html.

use std::{path::PathBuf, time::Duration};

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{Method, Request, header};
use omniroute_core::time::UnixMillis;
use omniroute_providers::{AssumedRole, Exchange, GrantError, Minted, Token, WebIdentity};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{Place, Web, WebError, profile_file::Profiles, web::exchange};

const INSTANCE: &str = "http://169.254.169.254";
const CONTAINER: &str = "http://169.254.170.2";
/// Hosts of containers' credentials over plain HTTP, beside loopback: ECS and EKS.
const CONTAINER_HOSTS: [&str; 4] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "fd00:ec2::23"];
/// Profiles that name each other as their source.
const DEEPEST: usize = 5;
/// Keys that do not end are looked up again now and then: somebody may have replaced them.
const STATIC: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

pub(crate) async fn mint(
    place: &Place,
    web: &dyn Web,
    region: &str,
    profile: &str,
    role: Option<&AssumedRole>,
    now: UnixMillis,
) -> Result<Minted, GrantError> {
    let chain = Chain { place, web, region, now };
    let own = chain.find(profile).await?;
    match (role, own.token) {
        (Some(role), Token::Keys(keys)) => exchange(web, &Exchange::role(keys, region, role.clone()), now).await,
        (_, token) => Ok(Minted { token, expires_at: own.expires_at }),
    }
}

struct Chain<'a> {
    place: &'a Place,
    web: &'a dyn Web,
    region: &'a str,
    now: UnixMillis,
}

// === impl Chain ===

impl Chain<'_> {
    async fn find(&self, profile: &str) -> Result<Minted, GrantError> {
        if profile.is_empty()
            && let Some(keys) = self.of_environment()
        {
            return Ok(keys);
        }
        let named = Some(profile).filter(|name| !name.is_empty()).map(str::to_owned);
        let named = named.or_else(|| self.place.variable("AWS_PROFILE"));
        let name = named.as_deref().unwrap_or("default");
        let profiles = self.profiles().await?;
        if named.is_some() && profiles.get(name).is_none() {
            return Err(GrantError::Machine(format!("AWS's files have no profile `{name}`")));
        }
        if let Some(keys) = Box::pin(self.of_profile(&profiles, name, 0)).await? {
            return Ok(keys);
        }
        if let Some(keys) = self.of_web_identity().await? {
            return Ok(keys);
        }
        match self.of_container().await? {
            Some(keys) => Ok(keys),
            None => self.of_instance().await,
        }
    }

    fn of_environment(&self) -> Option<Minted> {
        let get = |name| self.place.variable(name);
        let (id, key) = (get("AWS_ACCESS_KEY_ID")?, get("AWS_SECRET_ACCESS_KEY")?);
        Some(self.fixed(Credentials::new(id, key, get("AWS_SESSION_TOKEN"), None, "environment")))
    }

    async fn profiles(&self) -> Result<Profiles, GrantError> {
        let path =
            |variable, below| self.place.variable(variable).map(PathBuf::from).or_else(|| self.place.home(below));
        let config = self.place.optional_file(path("AWS_CONFIG_FILE", ".aws/config")).await?;
        let credentials = self.place.optional_file(path("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")).await?;
        Ok(Profiles::read(&config.unwrap_or_default(), &credentials.unwrap_or_default()))
    }

    async fn of_profile(&self, profiles: &Profiles, name: &str, depth: usize) -> Result<Option<Minted>, GrantError> {
        let fail = |why: &str| GrantError::Machine(format!("AWS's profile `{name}` {why}"));
        if depth > DEEPEST {
            return Err(fail("is its own source"));
        }
        let Some(settings) = profiles.get(name) else { return Ok(None) };
        let get = |name: &str| settings.get(name).filter(|value| !value.is_empty()).cloned();
        let keys = match (get("aws_access_key_id"), get("aws_secret_access_key")) {
            (Some(id), Some(key)) => {
                Some(self.fixed(Credentials::new(id, key, get("aws_session_token"), None, "profile")))
            }
            _ => None,
        };
        let Some(arn) = get("role_arn") else {
            return match keys {
                None if settings.keys().any(|name| name == "credential_process" || name.starts_with("sso_")) => {
                    Err(fail("gets its keys from a program or a sign-in, which the gateway does not take up"))
                }
                keys => Ok(keys),
            };
        };
        let role = AssumedRole { arn, external_id: get("external_id").unwrap_or_default(), url: self.sts_url() };
        if let Some(file) = get("web_identity_token_file") {
            let session = get("role_session_name").unwrap_or_default();
            return self.with_web_identity(&file, role, session).await.map(Some);
        }
        let source = match (get("source_profile"), get("credential_source").as_deref()) {
            // A profile may be its own source, with keys of its own.
            (Some(source), _) if source == name => keys,
            (Some(source), _) => Box::pin(self.of_profile(profiles, &source, depth + 1)).await?,
            (None, Some("Environment")) => self.of_environment(),
            (None, Some("EcsContainer")) => self.of_container().await?,
            (None, Some("Ec2InstanceMetadata")) => Some(self.of_instance().await?),
            (None, _) => None,
        };
        let Some(Token::Keys(keys)) = source.map(|source| source.token) else {
            return Err(fail("has a role and no source of keys for it"));
        };
        exchange(self.web, &Exchange::role(keys, self.region, role), self.now).await.map(Some)
    }

    async fn of_web_identity(&self) -> Result<Option<Minted>, GrantError> {
        let get = |name| self.place.variable(name);
        let (Some(file), Some(arn)) = (get("AWS_WEB_IDENTITY_TOKEN_FILE"), get("AWS_ROLE_ARN")) else {
            return Ok(None);
        };
        let role = AssumedRole { arn, external_id: String::new(), url: self.sts_url() };
        self.with_web_identity(&file, role, get("AWS_ROLE_SESSION_NAME").unwrap_or_default()).await.map(Some)
    }

    async fn with_web_identity(&self, file: &str, role: AssumedRole, session: String) -> Result<Minted, GrantError> {
        // Read each time: whoever issues the token replaces it.
        let token = Zeroizing::new(self.place.file(file).await?.trim().to_owned());
        let identity = WebIdentity { token, region: self.region.to_owned(), role, session };
        exchange(self.web, &Exchange::WebIdentity(identity), self.now).await
    }

    /// As AWS's programs take it from the environment.
    fn sts_url(&self) -> String {
        self.place.variable("AWS_ENDPOINT_URL_STS").unwrap_or_default()
    }

    async fn of_container(&self) -> Result<Option<Minted>, GrantError> {
        let get = |name| self.place.variable(name);
        let url = match (get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            (Some(path), _) => format!("{CONTAINER}{path}"),
            (None, Some(url)) => url,
            (None, None) => return Ok(None),
        };
        if !is_containers(&url) {
            return Err(GrantError::Machine(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI leads to a host that has no credentials of containers".into(),
            ));
        }
        let token = match get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(self.place.file(file).await?.trim().to_owned()),
            None => get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        };
        let headers: Vec<_> = token.iter().map(|token| (header::AUTHORIZATION.as_str(), token.as_str())).collect();
        let body = self.metadata(Method::GET, &url, &headers).await?;
        self.given(&body).map(Some)
    }

    async fn of_instance(&self) -> Result<Minted, GrantError> {
        const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
        if self.place.variable("AWS_EC2_METADATA_DISABLED").is_some_and(|word| word.eq_ignore_ascii_case("true")) {
            return Err(none());
        }
        let url = self.place.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let url = url.map_or_else(|| INSTANCE.to_owned(), |url| url.trim_end_matches('/').to_owned());
        let ttl = [("x-aws-ec2-metadata-token-ttl-seconds", "21600")];
        let token = self.metadata(Method::PUT, &format!("{url}/latest/api/token"), &ttl).await.map_err(|_| none())?;
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        let headers = [("x-aws-ec2-metadata-token", token.as_str())];
        let roles = self.metadata(Method::GET, &format!("{url}{ROLES}"), &headers).await.map_err(|_| none())?;
        let role = String::from_utf8_lossy(&roles).lines().next().unwrap_or_default().trim().to_owned();
        if role.is_empty() {
            return Err(none());
        }
        self.given(&self.metadata(Method::GET, &format!("{url}{ROLES}{role}"), &headers).await?)
    }

    async fn metadata(&self, method: Method, url: &str, headers: &[(&str, &str)]) -> Result<Bytes, GrantError> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::new()).map_err(|error| GrantError::Machine(error.to_string()))?;
        let fail = |words: String| GrantError::Unavailable { who: "AWS's metadata service", words };
        let answer = self.place.metadata.send(request).await.map_err(|WebError(words)| fail(words))?;
        if !answer.status().is_success() {
            return Err(fail(format!("HTTP {}", answer.status().as_u16())));
        }
        Ok(answer.into_body())
    }

    fn given(&self, body: &[u8]) -> Result<Minted, GrantError> {
        let fail = || GrantError::Unavailable { who: "AWS's metadata service", words: "the answer has no keys".into() };
        let given: Given = serde_json::from_slice(body).map_err(|_| fail())?;
        let keys = Credentials::new(given.access_key_id, given.secret_access_key, given.token, None, "metadata");
        match given.expiration {
            Some(time) => {
                let expires_at = UnixMillis::parse(&time).ok_or_else(fail)?;
                Ok(Minted { token: Token::Keys(keys), expires_at })
            }
            None => Ok(self.fixed(keys)),
        }
    }

    fn fixed(&self, keys: Credentials) -> Minted {
        Minted { token: Token::Keys(keys), expires_at: self.now.saturating_add(STATIC) }
    }
}

/// A URL of containers' credentials: loopback, ECS, EKS. Who sets the environment may not send the token elsewhere either.
fn is_containers(url: &str) -> bool {
    let Some(url) = url::Url::parse(url).ok() else { return false };
    let is_loopback = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "http" && (is_loopback || url.host_str().is_some_and(|host| CONTAINER_HOSTS.contains(&host)))
}

fn none() -> GrantError {
    GrantError::Machine(
        "this machine has no AWS credentials: neither environment, profile, web identity, container nor instance has any"
            .into(),
    )
}
