//! What a connection's secret is, once it has been read: sent as it is, kept to sign with, or exchanged for tokens.

use aws_credential_types::Credentials;
use omniroute_core::address::AddressPolicy;
use url::Url;
use zeroize::Zeroizing;

use crate::{
    Auth, CompileError, ConnectionSpec,
    aws::{AwsSecret, read_secret},
    grant::{
        Ambient, AssumedRole, ClientCredentials, ClientProof, Exchange, Grant, IamKey, RefreshToken, ServiceAccount,
        Source, google_token_url,
    },
    secret_fields::SecretFields,
};

const IBM_TOKEN_URL: &str = "https://iam.cloud.ibm.com/identity/token";
const ENTRA_AUTHORITY: &str = "https://login.microsoftonline.com";
const OPENAI_SCOPE: &str = "https://cognitiveservices.azure.com/.default";
const FOUNDRY_SCOPE: &str = "https://ai.azure.com/.default";

/// Names of the parts of a client's credentials, as Azure, its command line and Databricks write them.
const CLIENT_ID: [&str; 6] =
    ["clientId", "client_id", "appId", "AZURE_CLIENT_ID", "DATABRICKS_CLIENT_ID", "ARM_CLIENT_ID"];
const CLIENT_SECRET: [&str; 6] = [
    "clientSecret",
    "client_secret",
    "password",
    "AZURE_CLIENT_SECRET",
    "DATABRICKS_CLIENT_SECRET",
    "ARM_CLIENT_SECRET",
];
const TENANT: [&str; 5] = ["tenantId", "tenant_id", "tenant", "AZURE_TENANT_ID", "ARM_TENANT_ID"];

/// A connection whose secret is the access token of a sign-in; that is a bearer, whatever the provider's keys are.
const OAUTH: &str = "oauth";

/// A secret that was read.
pub(crate) enum Credential {
    Nothing,
    Header(Auth),
    Keys(Credentials, Option<String>),
    Google {
        exchange: Exchange,
        project: Option<String>,
    },
    /// A client's id and secret; of Entra also the URL that issues its tokens.
    Client {
        id: String,
        secret: Zeroizing<String>,
        entra: Option<Entra>,
    },
    IamKey,
    /// The machine's own identity.
    Machine(Auth),
}

/// Where Entra issues a client's tokens.
pub(crate) struct Entra {
    url: String,
    scope: Option<String>,
}

// === impl Credential ===

impl Credential {
    pub(crate) fn read(spec: &ConnectionSpec<'_>, auth: Auth) -> Result<Self, CompileError> {
        if spec.auth_type == OAUTH {
            // Whoever signed in is somebody: without a token there is nothing to be said for them.
            return if spec.secret.is_empty() {
                Err(CompileError::MissingSecret)
            } else {
                Ok(Self::Header(Auth::Bearer))
            };
        }
        if spec.cloud.is_ambient {
            return match auth {
                Auth::Aws | Auth::Google | Auth::Azure if spec.secret.is_empty() => Ok(Self::Machine(auth)),
                Auth::Aws | Auth::Google | Auth::Azure => Err(CompileError::Identity(
                    "a connection has a secret or the machine's own identity, not both: leave the secret out",
                )),
                _ => Err(CompileError::Identity("this provider knows no identity of machines: enter a secret")),
            };
        }
        if spec.secret.is_empty() {
            let optional = auth == Auth::None || spec.auth_type == "none" || spec.node.is_some();
            return if optional { Ok(Self::Nothing) } else { Err(CompileError::MissingSecret) };
        }
        match auth {
            Auth::Aws => Ok(match read_secret(spec.secret)? {
                AwsSecret::ApiKey => Self::Header(Auth::Bearer),
                AwsSecret::Keys(keys, region) => Self::Keys(keys, region),
            }),
            Auth::Google if is_object(spec.secret) => google(spec.secret, spec.cloud.token_url),
            Auth::Google => Ok(Self::Header(Auth::XGoogApiKey)),
            Auth::Azure if names_a_client(spec.secret) => entra(spec),
            Auth::Azure => Ok(Self::Header(Auth::ApiKey)),
            Auth::Databricks if names_a_client(spec.secret) => {
                let (id, secret, _) = client(spec.secret)?;
                Ok(Self::Client { id, secret, entra: None })
            }
            Auth::Databricks => Ok(Self::Header(Auth::Bearer)),
            // What IBM's own programs call a bearer token is one already.
            Auth::Ibm if spec.secret.starts_with("eyJ") => Ok(Self::Header(Auth::Bearer)),
            Auth::Ibm => Ok(Self::IamKey),
            other => Ok(Self::Header(other)),
        }
    }

    /// The region that is written into the secret.
    pub(crate) fn region(&self) -> Option<&str> {
        match self {
            Self::Keys(_, region) => region.as_deref(),
            _ => None,
        }
    }

    /// The project that is written into the secret.
    pub(crate) fn project(&self) -> Option<&str> {
        match self {
            Self::Google { project, .. } => project.as_deref(),
            _ => None,
        }
    }

    /// Whether the secret is sent as it is.
    pub(crate) const fn is_sent(&self) -> bool {
        matches!(self, Self::Header(_))
    }

    /// Keys that sign requests themselves: those that take on no role.
    pub(crate) fn keys(&self, spec: &ConnectionSpec<'_>) -> Option<&Credentials> {
        match self {
            Self::Keys(keys, _) if spec.cloud.role_arn.is_empty() => Some(keys),
            _ => None,
        }
    }

    /// How tokens are had for it; `None` when it needs none. `base`: where its requests go.
    pub(crate) fn grant(
        self,
        spec: &ConnectionSpec<'_>,
        format: &str,
        region: &str,
        base: &Url,
        policy: AddressPolicy,
    ) -> Result<Option<Grant>, CompileError> {
        let cloud = &spec.cloud;
        if !cloud.token_url.is_empty() {
            policy.check_url(cloud.token_url).map_err(|error| CompileError::Field("authUrl", error.to_string()))?;
        }
        let given = Some(cloud.token_url).filter(|url| !url.is_empty()).map(str::to_owned);
        let scope = if format == "azure-foundry" { FOUNDRY_SCOPE } else { OPENAI_SCOPE };
        let role = (!cloud.role_arn.is_empty()).then(|| AssumedRole {
            arn: cloud.role_arn.to_owned(),
            external_id: cloud.external_id.to_owned(),
            url: cloud.token_url.to_owned(),
        });
        let source = match self {
            Self::Nothing | Self::Header(_) => return Ok(None),
            Self::Keys(keys, _) => match role {
                Some(role) => Source::Stored(Exchange::role(keys, region, role)),
                None => return Ok(None),
            },
            Self::Google { exchange, .. } => Source::Stored(exchange),
            Self::Client { id, secret, entra: Some(entra) } => {
                Source::Stored(Exchange::ClientCredentials(ClientCredentials {
                    who: "Entra ID",
                    url: given.unwrap_or(entra.url),
                    client_id: id,
                    proof: ClientProof::InForm(secret),
                    scope: entra.scope.unwrap_or_else(|| scope.to_owned()),
                }))
            }
            Self::Client { id, secret, entra: None } => {
                let mut issuer = base.clone();
                issuer.set_path("/oidc/v1/token");
                issuer.set_query(None);
                Source::Stored(Exchange::ClientCredentials(ClientCredentials {
                    who: "Databricks",
                    url: given.unwrap_or_else(|| issuer.into()),
                    client_id: id,
                    proof: ClientProof::Basic(secret),
                    scope: "all-apis".into(),
                }))
            }
            Self::IamKey => Source::Stored(Exchange::IamKey(IamKey {
                url: given.unwrap_or_else(|| IBM_TOKEN_URL.into()),
                key: Zeroizing::new(spec.secret.trim().to_owned()),
            })),
            Self::Machine(auth) => {
                stays_at_home(auth, base, policy)?;
                Source::Machine(match auth {
                    Auth::Aws => Ambient::Aws { region: region.to_owned(), profile: cloud.profile.to_owned(), role },
                    Auth::Google => Ambient::Google,
                    _ => Ambient::Azure { scope: scope.to_owned() },
                })
            }
        };
        let identity = if cloud.is_ambient { "machine" } else { "" };
        let parts = [
            format,
            identity,
            spec.secret,
            region,
            cloud.role_arn,
            cloud.external_id,
            cloud.profile,
            cloud.token_url,
            base.host_str().unwrap_or_default(),
        ];
        Ok(Some(Grant::new(source, &parts)))
    }
}

/// A machine's identity is shown to the models of its own cloud alone: under the domains of clouds customers have hosts
/// too. Where private addresses are allowed, also to one that stands in for it on this machine.
fn stays_at_home(auth: Auth, base: &Url, policy: AddressPolicy) -> Result<(), CompileError> {
    let host = base.host_str().unwrap_or_default();
    let below = |domain: &str| host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.'));
    let is_home = match auth {
        // `[….]SERVICE.REGION[.vpce].amazonaws.com`
        Auth::Aws => ["amazonaws.com", "amazonaws.com.cn"].into_iter().find_map(below).is_some_and(|rest| {
            let mut labels = rest.strip_suffix(".vpce").unwrap_or(rest).rsplit('.');
            let (region, service) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
            let is_region = region.contains('-') && !region.starts_with("s3");
            is_region && ["bedrock", "bedrock-runtime", "bedrock-runtime-fips", "bedrock-mantle"].contains(&service)
        }),
        Auth::Google => below("googleapis.com")
            .is_some_and(|rest| rest.split('.').next().is_some_and(|service| service.ends_with("aiplatform"))),
        _ => ["openai.azure.com", "services.ai.azure.com", "cognitiveservices.azure.com"]
            .into_iter()
            .any(|domain| below(domain).is_some()),
    };
    let is_here = AddressPolicy::PublicOnly.check_url(base.as_str()).is_err() && policy == AddressPolicy::AllowPrivate;
    if (base.scheme() == "https" && is_home) || is_here {
        return Ok(());
    }
    Err(CompileError::Identity("the machine's own identity is sent to its cloud's hosts alone: leave the base URL out"))
}

fn is_object(secret: &str) -> bool {
    secret.trim_start().starts_with('{')
}

/// Whether the secret is a client's id and secret, not a key.
fn names_a_client(secret: &str) -> bool {
    is_object(secret) || secret.contains("_CLIENT_ID")
}

/// How a credentials file of Google's is exchanged.
///
/// # Errors
/// When it is none that the gateway can use.
pub fn google_exchange(file: &str) -> Result<Exchange, CompileError> {
    match google(file, "")? {
        Credential::Google { exchange, .. } => Ok(exchange),
        _ => Err(CompileError::SecretForm("the file is no credentials file of Google's")),
    }
}

/// The key file of a service account, or what a sign-in with Google's command line left.
fn google(secret: &str, token_url: &str) -> Result<Credential, CompileError> {
    const NO_FILE: &str = "the secret is neither the JSON key file of a service account nor an API key";
    let fields = SecretFields::read(secret).ok_or(CompileError::SecretForm(NO_FILE))?;
    let get = |name: &str| fields.get(&[name]);
    let url = Some(token_url).filter(|url| !url.is_empty()).map(str::to_owned);
    let url = url.or_else(|| get("token_uri")).unwrap_or_else(|| google_token_url().to_owned());
    let exchange = match get("type").as_deref() {
        Some("service_account") => {
            let (Some(email), Some(pem)) = (get("client_email"), get("private_key")) else {
                return Err(CompileError::SecretForm("the service account's JSON lacks client_email or private_key"));
            };
            let account = ServiceAccount::new(&email, &get("private_key_id").unwrap_or_default(), &pem, &url);
            Exchange::ServiceAccount(account.ok_or(CompileError::SecretForm(
                "the service account's private_key is no RSA key in PKCS#8: paste the file as Google gave it",
            ))?)
        }
        Some("authorized_user") => {
            let parts = (get("client_id"), get("client_secret"), get("refresh_token"));
            let (Some(client_id), Some(client_secret), Some(refresh_token)) = parts else {
                return Err(CompileError::SecretForm("the JSON lacks client_id, client_secret or refresh_token"));
            };
            Exchange::RefreshToken(RefreshToken {
                url,
                client_id,
                client_secret: Zeroizing::new(client_secret),
                refresh_token: Zeroizing::new(refresh_token),
            })
        }
        // It names files and programs of the machine that reads it.
        Some("external_account") => {
            return Err(CompileError::SecretForm(
                "an external_account names files of a machine: give it to the proxies as GOOGLE_APPLICATION_CREDENTIALS \
                 and let the connection use the machine's identity",
            ));
        }
        _ => return Err(CompileError::SecretForm(NO_FILE)),
    };
    Ok(Credential::Google { exchange, project: get("project_id").or_else(|| get("quota_project_id")) })
}

fn client(secret: &str) -> Result<(String, Zeroizing<String>, SecretFields), CompileError> {
    const LACKS: &str = "the credentials of a client need clientId and clientSecret";
    let fields = SecretFields::read(secret).ok_or(CompileError::SecretForm(LACKS))?;
    match (fields.get(&CLIENT_ID), fields.get(&CLIENT_SECRET)) {
        (Some(id), Some(secret)) => Ok((id, Zeroizing::new(secret), fields)),
        _ => Err(CompileError::SecretForm(LACKS)),
    }
}

fn entra(spec: &ConnectionSpec<'_>) -> Result<Credential, CompileError> {
    let (id, secret, fields) = client(spec.secret)?;
    let tenant = fields
        .get(&TENANT)
        .ok_or(CompileError::SecretForm("the credentials of an Entra application need tenantId beside clientId"))?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if !tenant.bytes().all(is_plain) {
        return Err(CompileError::SecretForm("tenantId is neither the id nor the domain of a tenant"));
    }
    let authority = fields.get(&["authorityHost", "AZURE_AUTHORITY_HOST"]);
    let authority = authority.unwrap_or_else(|| ENTRA_AUTHORITY.to_owned());
    let url = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
    Ok(Credential::Client { id, secret, entra: Some(Entra { url, scope: fields.get(&["scope"]) }) })
}
