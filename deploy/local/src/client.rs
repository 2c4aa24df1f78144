//! The gateway's management API, as every command uses it.

use std::{net::IpAddr, time::Duration};

use omniroute_core::settings::Secret;
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use url::{Host, Url};

use crate::{
    context::Context,
    data_dir,
    failure::{Exit, Failure},
    flag_names::FlagNames,
    ports, token,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than a test of a slow provider takes.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(60);

/// How the gateway says that the current password is wrong.
const WRONG_PASSWORD: &str = "AUTH_008";

#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// Tried in turn while nobody answers: the proxy, which forwards, and the control plane itself.
    bases: Vec<Url>,
    token: Secret,
    /// What to do when nobody answers, and when the token is not taken.
    advice: Advice,
    flag_names: FlagNames,
}

#[derive(Clone)]
struct Advice {
    unreachable: String,
    unauthorized: String,
}

/// A client that talks to this machine goes there directly, whatever `HTTP_PROXY` says.
pub(crate) fn http(is_local: bool) -> Result<reqwest::Client, Failure> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .user_agent(concat!("omniroute-cli/", env!("CARGO_PKG_VERSION")));
    let builder = if is_local { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| Failure::failed(format!("cannot set up HTTP: {error}")))
}

/// Where something on this machine listens.
pub(crate) fn local_url(host: IpAddr, port: u16) -> String {
    match ports::reachable(host) {
        IpAddr::V4(host) => format!("http://{host}:{port}"),
        IpAddr::V6(host) => format!("http://[{host}]:{port}"),
    }
}

/// Where this machine's planes listen: the proxy, the control plane.
pub(crate) fn local_urls(context: &Context) -> [String; 2] {
    [
        local_url(context.data_plane.host, context.launcher.port),
        local_url(context.control_plane.control_plane_host, context.launcher.control_plane_port),
    ]
}

/// The list of models as a client with this key gets it.
pub(crate) async fn models(context: &Context, key: &Secret) -> Result<Value, Failure> {
    let base = match context.launcher.url.as_str() {
        "" => local_url(context.data_plane.host, context.launcher.port),
        url => url.to_owned(),
    };
    let base = parse_base(&base)?;
    let unauthorized = "the API key is not good there; a good one goes into OMNIROUTE_TOKEN".to_owned();
    let advice = Advice { unauthorized, ..Advice::new(context) };
    let request = http(is_loopback(&base))?.get(join(&base, "/v1/models")).bearer_auth(key.expose());
    match request.send().await {
        Ok(response) if response.status() == StatusCode::NOT_FOUND => {
            let what =
                format!("{base} has no list of models: proxies have, and a control plane is none; name one's address");
            Err(Failure::failed(what))
        }
        Ok(response) => answer(response, &advice, FlagNames::default()).await,
        Err(error) => {
            let what = format!("no proxy answers at {base} ({}); {}", deepest(&error), advice.unreachable);
            Err(Failure::new(Exit::Unreachable, what))
        }
    }
}

// === impl Client ===

impl Client {
    /// For the gateway that the settings name, else this machine's.
    pub(crate) fn new(context: &Context) -> Result<Self, Failure> {
        let named = context.is_remote();
        let urls = if named { vec![context.launcher.url.clone()] } else { bases(context) };
        let bases = urls.iter().map(|url| parse_base(url)).collect::<Result<Vec<_>, _>>()?;
        let is_local = bases.iter().all(is_loopback);
        let advice = Advice::new(context);
        let token = token_for(context, !named || is_local)?;
        Ok(Self { http: http(is_local)?, token, bases, advice, flag_names: FlagNames::default() })
    }

    /// For a control plane of ours, with its secret at hand.
    pub(crate) fn of_launcher(context: &Context, base: &str, jwt_secret: &Secret) -> Result<Self, Failure> {
        let advice = Advice::new(context);
        let (bases, token) = (vec![parse_base(base)?], token::sign(jwt_secret)?);
        Ok(Self { http: http(true)?, token, bases, advice, flag_names: FlagNames::default() })
    }

    /// The same client for one address only.
    pub(crate) fn at(&self, base: &str) -> Result<Self, Failure> {
        Ok(Self { bases: vec![parse_base(base)?], ..self.clone() })
    }

    /// The same client for a command that calls the fields of REST so.
    pub(crate) fn with_flag_names(&self, flag_names: FlagNames) -> Self {
        Self { flag_names, ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::DELETE, path, None).await
    }

    /// Base URL of the gateway, for people.
    pub(crate) fn base(&self) -> &str {
        self.bases.first().map_or("", |base| base.as_str().trim_end_matches('/'))
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let mut refused = None;
        for base in &self.bases {
            let url = join(base, path);
            let mut request = self.http.request(method.clone(), url).bearer_auth(self.token.expose());
            if let Some(body) = body {
                request = request.json(body);
            }
            match request.send().await {
                Ok(response) => return answer(response, &self.advice, self.flag_names).await,
                // Nothing was sent, so the next address may be tried whatever the method.
                Err(error) if error.is_connect() => refused = Some(error),
                Err(error) => return Err(Failure::new(Exit::Unreachable, broken(&error))),
            }
        }
        let reason = refused.map(|error| deepest(&error)).unwrap_or_default();
        Err(Failure::new(
            Exit::Unreachable,
            format!("no gateway answers at {} ({reason}); {}", self.base(), self.advice.unreachable),
        ))
    }
}

/// Where this machine's gateway may be found. A port that is named stands alone: what answers at the usual one instead
/// would be another gateway.
fn bases(context: &Context) -> Vec<String> {
    let [proxy, control_plane] = local_urls(context);
    let is_named = |key| context.running.is_none() && context.is_set(key);
    match (is_named("port"), is_named("control_plane_port")) {
        (true, false) => vec![proxy],
        (false, true) => vec![control_plane],
        _ => vec![proxy, control_plane],
    }
}

// === impl Advice ===

impl Advice {
    fn new(context: &Context) -> Self {
        let launcher = &context.launcher;
        let unreachable = if context.is_remote() {
            "check the address and the network".to_owned()
        } else {
            format!("start it with `{}`, or name another with --data-dir or --url", context.command("up"))
        };
        let unauthorized = if launcher.token.is_set() {
            "OMNIROUTE_TOKEN must be an API key with the scope `manage` of this very gateway".to_owned()
        } else {
            format!(
                "the token was signed with the secret of {}, so what answers is another gateway: name its directory \
                 with --data-dir, or its address with --url and a key of the scope `manage` with OMNIROUTE_TOKEN",
                launcher.data_dir.display()
            )
        };
        Self { unreachable, unauthorized }
    }
}

fn parse_base(text: &str) -> Result<Url, Failure> {
    let wrong = |why: &str| Failure::new(Exit::Usage, format!("`{text}` is no address of a gateway: {why}"));
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong("it must begin with http:// or https://"));
    }
    Ok(url)
}

/// `path` below the base, whose own path (a gateway behind a path prefix) stays. A trailing `/v1` is what people copy
/// from a client's settings; it is no part of the management API.
fn join(base: &Url, path: &str) -> String {
    let base = base.as_str().trim_end_matches('/');
    format!("{}{path}", base.strip_suffix("/v1").unwrap_or(base))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// The token of the settings. Without one, for a gateway of this machine, one signed with this machine's secret.
fn token_for(context: &Context, is_ours: bool) -> Result<Secret, Failure> {
    if context.launcher.token.is_set() {
        return Ok(context.launcher.token.clone());
    }
    if !is_ours {
        let hint = "this gateway is not on this machine: set OMNIROUTE_TOKEN to an API key with the scope `manage`";
        return Err(Failure::new(Exit::NotAllowed, hint));
    }
    if context.control_plane.jwt_secret.is_set() {
        return token::sign(&context.control_plane.jwt_secret);
    }
    match context.data_dir().read(data_dir::JWT_SECRET)? {
        Some(secret) => token::sign(&secret),
        None => Err(Failure::new(
            Exit::Unreachable,
            format!(
                "{} is not there, so no gateway was started on this directory: start one with `{}`, name its directory \
                 with --data-dir, or its address and a key with --url and OMNIROUTE_TOKEN",
                context.data_dir().file(data_dir::JWT_SECRET).display(),
                context.command("up"),
            ),
        )),
    }
}

async fn answer(response: reqwest::Response, advice: &Advice, flag_names: FlagNames) -> Result<Value, Failure> {
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"));
    let body = response.bytes().await.map_err(|error| Failure::new(Exit::Unreachable, broken(&error)))?;
    let body: Option<Value> = if is_json { serde_json::from_slice(&body).ok() } else { None };
    match body {
        Some(body) if status.is_success() => Ok(body),
        body => Err(refusal(status, body.as_ref(), advice, flag_names)),
    }
}

/// What the gateway said, in one sentence.
fn refusal(status: StatusCode, body: Option<&Value>, advice: &Advice, flag_names: FlagNames) -> Failure {
    let exit = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::NotAllowed,
        _ => Exit::Failed,
    };
    let Some(error) = body.and_then(|body| body.get("error")) else {
        let what = format!("answered {status} with something that is not the management API's; is --url right?");
        return Failure::new(exit, format!("the gateway {what}"));
    };
    let said = error.as_str().or_else(|| error.get("message").and_then(Value::as_str)).unwrap_or("no message");
    let mut message = format!("the gateway refused ({}): {}", status.as_u16(), flag_names.in_sentence(said));
    for detail in crate::screen::list(error, "details") {
        let [field, what] = ["field", "message"].map(|name| crate::screen::text(detail, name));
        message.push_str(&format!("\n  {}: {}", flag_names.of(&field), flag_names.in_sentence(&what)));
    }
    // A wrong current password says nothing of the token.
    if status == StatusCode::UNAUTHORIZED && crate::screen::text(error, "code") != WRONG_PASSWORD {
        message.push_str(&format!("\n  {}", advice.unauthorized));
    }
    Failure::new(exit, message)
}

fn broken(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("the gateway did not answer within {} seconds", TOTAL_TIMEOUT.as_secs());
    }
    format!("the gateway broke off: {}", deepest(error))
}

/// The cause at the bottom, which is the one that says something.
pub(crate) fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_base_with_a_path_keeps_it_and_a_copied_v1_is_dropped() {
        let joined = |base: &str| join(&parse_base(base).expect("a base"), "/api/keys");
        assert_eq!(joined("http://127.0.0.1:20128"), "http://127.0.0.1:20128/api/keys");
        assert_eq!(joined("http://127.0.0.1:20128/v1/"), "http://127.0.0.1:20128/api/keys");
        assert_eq!(joined("https://example.com/gateway/"), "https://example.com/gateway/api/keys");
        assert!(parse_base("localhost:20128").is_err());
    }

    #[test]
    fn a_refusal_says_what_the_gateway_said_field_by_field() {
        let body = json!({"error": {"code": "VALID_001", "message": "Invalid request",
            "details": [{"field": "apiKey", "message": "API key is required"}]}});
        let advice = Advice { unreachable: String::new(), unauthorized: "name another".to_owned() };
        let refusal = |status, body: Option<&Value>| refusal(status, body, &advice, FlagNames::default());
        let failure = refusal(StatusCode::BAD_REQUEST, Some(&body));
        assert_eq!(failure.exit(), Exit::Failed);
        assert_eq!(
            failure.to_string(),
            "the gateway refused (400): Invalid request\n  --api-key-stdin: API key is required"
        );
        let refused = refusal(StatusCode::UNAUTHORIZED, Some(&body));
        assert_eq!(refused.exit(), Exit::NotAllowed);
        assert!(refused.to_string().ends_with("\n  name another"), "{refused}");
        let wrong = json!({"error": {"code": WRONG_PASSWORD, "message": "Wrong password"}});
        let refused = refusal(StatusCode::UNAUTHORIZED, Some(&wrong)).to_string();
        assert_eq!(refused, "the gateway refused (401): Wrong password", "the token is not to blame");
        assert!(refusal(StatusCode::BAD_GATEWAY, None).to_string().contains("502"));
    }

    #[test]
    fn only_this_machine_counts_as_loopback() {
        let loopback = |text: &str| is_loopback(&parse_base(text).expect("a base"));
        assert!(loopback("http://localhost:1") && loopback("http://127.0.0.2") && loopback("http://[::1]:1"));
        assert!(!loopback("http://localhost.example.com") && !loopback("http://10.0.0.1"));
    }
}
