//! An outbound proxy, as it was configured and ready to be used.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use omniroute_core::{
    address::{AddressError, AddressPolicy},
    settings::Secret,
};
use url::Host;

/// SOCKS5 has one byte for the length of each (RFC 1929).
const LONGEST_CREDENTIAL: usize = 255;

/// What it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP with `CONNECT`, in the clear as far as the proxy.
    Http,
    /// The same over TLS.
    Https,
    /// SOCKS5 (RFC 1928), which resolves names itself.
    Socks5,
}

/// Which of the proxy's own addresses are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    #[default]
    Auto,
    Ipv4,
    Ipv6,
}

/// As an operator configured it.
#[derive(Clone, Copy)]
pub struct ProxySpec<'a> {
    /// `http`, `https` or `socks5`.
    pub kind: &'a str,
    /// Name or address, without port and brackets.
    pub host: &'a str,
    pub port: u32,
    /// Both empty: none are sent.
    pub username: &'a str,
    pub password: &'a str,
    /// `auto`, `ipv4` or `ipv6`; empty means `auto`.
    pub family: &'a str,
}

/// What is wrong with a [`ProxySpec`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxySpecError {
    #[error("must be one of http, https, socks5")]
    Kind,
    #[error("is no host name and no address")]
    Host,
    #[error("may not be used: {0}")]
    Address(#[from] AddressError),
    #[error("must be between 1 and 65535")]
    Port,
    #[error("must be one of auto, ipv4, ipv6")]
    Family,
    #[error("is an address of the other family than `family` says")]
    OtherFamily,
    #[error("must not contain a colon: HTTP puts one behind it")]
    Colon,
    #[error("must have at most {LONGEST_CREDENTIAL} bytes and no control characters")]
    Credential(Field),
}

/// Of the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Username,
    Password,
}

/// Ready to be used. Cheap to compare: two are the same if one was made from the other.
pub struct OutboundProxy {
    id: String,
    kind: ProxyKind,
    host: Host,
    port: u16,
    family: Family,
    username: Secret,
    password: Secret,
    /// Differs from that of every other one, earlier versions of this one included.
    route: u64,
    used: Arc<ProxyUse>,
}

/// What has gone through a proxy since the process started, over all versions of it.
#[derive(Debug, Default)]
pub struct ProxyUse {
    succeeded: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    opened: AtomicU64,
    opening_us: AtomicU64,
}

/// The numbers of a [`ProxyUse`] at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Requests that were answered, whatever the provider said.
    pub succeeded: u64,
    pub failed: u64,
    pub timed_out: u64,
    /// Connections, and how long it took in all to open them.
    pub opened: u64,
    pub opening_us: u64,
}

// === impl ProxyKind ===

impl ProxyKind {
    pub const WORDS: [&'static str; 3] = ["http", "https", "socks5"];

    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            "socks5" => Some(Self::Socks5),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        }
    }

    /// Where such proxies usually listen.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 8080,
            Self::Https => 443,
            Self::Socks5 => 1080,
        }
    }
}

// === impl Family ===

impl Family {
    pub const WORDS: [&'static str; 3] = ["auto", "ipv4", "ipv6"];

    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "" | "auto" => Some(Self::Auto),
            "ipv4" => Some(Self::Ipv4),
            "ipv6" => Some(Self::Ipv6),
            _ => None,
        }
    }

    pub const fn fits(self, address: IpAddr) -> bool {
        match self {
            Self::Auto => true,
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
        }
    }
}

// === impl ProxySpecError ===

impl ProxySpecError {
    /// The field that is wrong, as REST names it.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Kind => "type",
            Self::Host | Self::Address(_) | Self::OtherFamily => "host",
            Self::Port => "port",
            Self::Family => "family",
            Self::Colon | Self::Credential(Field::Username) => "username",
            Self::Credential(Field::Password) => "password",
        }
    }
}

// === impl OutboundProxy ===

impl OutboundProxy {
    /// # Errors
    /// With the field that is wrong.
    pub fn compile(
        id: impl Into<String>,
        spec: &ProxySpec<'_>,
        policy: AddressPolicy,
        used: Arc<ProxyUse>,
    ) -> Result<Self, ProxySpecError> {
        static ROUTES: AtomicU64 = AtomicU64::new(1);

        let kind = ProxyKind::parse(spec.kind).ok_or(ProxySpecError::Kind)?;
        let family = Family::parse(spec.family).ok_or(ProxySpecError::Family)?;
        let host = parse_host(spec.host).ok_or(ProxySpecError::Host)?;
        let port = u16::try_from(spec.port).ok().filter(|port| *port > 0).ok_or(ProxySpecError::Port)?;
        policy.check_url(&format!("http://{host}:{port}/"))?;
        if literal(&host).is_some_and(|address| !family.fits(address)) {
            return Err(ProxySpecError::OtherFamily);
        }
        for (field, text) in [(Field::Username, spec.username), (Field::Password, spec.password)] {
            if text.len() > LONGEST_CREDENTIAL || text.chars().any(char::is_control) {
                return Err(ProxySpecError::Credential(field));
            }
        }
        if kind != ProxyKind::Socks5 && spec.username.contains(':') {
            return Err(ProxySpecError::Colon);
        }
        Ok(Self {
            id: id.into(),
            kind,
            host,
            port,
            family,
            username: Secret::new(spec.username),
            password: Secret::new(spec.password),
            route: ROUTES.fetch_add(1, Ordering::Relaxed),
            used,
        })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub const fn kind(&self) -> ProxyKind {
        self.kind
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    pub const fn family(&self) -> Family {
        self.family
    }

    /// A number that no other proxy has, nor another version of this one: connections are kept by it.
    pub const fn route(&self) -> u64 {
        self.route
    }

    pub fn used(&self) -> &ProxyUse {
        &self.used
    }

    /// Its own host; an IPv6 address stands in brackets.
    pub fn host(&self) -> String {
        self.host.to_string()
    }

    /// Its own address, where that is what was configured.
    pub fn address(&self) -> Option<IpAddr> {
        literal(&self.host)
    }

    /// Its own name, where it has one.
    pub fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Domain(name) => Some(name),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    /// User name and password, where it wants them.
    pub(crate) fn credentials(&self) -> Option<(&str, &str)> {
        (self.username.is_set() || self.password.is_set()).then(|| (self.username.expose(), self.password.expose()))
    }

    /// For `Proxy-Authorization`.
    pub(crate) fn basic(&self) -> Option<Secret> {
        let (username, password) = self.credentials()?;
        let pair = Secret::new(format!("{username}:{password}"));
        Some(Secret::new(format!("Basic {}", STANDARD.encode(pair.expose()))))
    }
}

/// Whether two configurations make the same proxy, credentials included.
impl PartialEq for OutboundProxy {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, self.kind, &self.host, self.port, self.family)
            == (&other.id, other.kind, &other.host, other.port, other.family)
            && self.username == other.username
            && self.password == other.password
    }
}

impl fmt::Debug for OutboundProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundProxy").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn parse_host(text: &str) -> Option<Host> {
    let text = text.trim();
    if let Ok(IpAddr::V6(address)) = text.parse() {
        return Some(Host::Ipv6(address));
    }
    Host::parse(text).ok().filter(|host| !matches!(host, Host::Domain(name) if name.is_empty()))
}

fn literal(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(IpAddr::V4(*address)),
        Host::Ipv6(address) => Some(IpAddr::V6(*address)),
    }
}

// === impl ProxyUse ===

impl ProxyUse {
    pub fn succeeded(&self) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
    }

    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub fn timed_out(&self) {
        self.timed_out.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was opened.
    pub fn opened(&self, took: Duration) {
        self.opening_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub fn now(&self) -> Used {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Used {
            succeeded: load(&self.succeeded),
            failed: load(&self.failed),
            timed_out: load(&self.timed_out),
            opened: load(&self.opened),
            opening_us: load(&self.opening_us),
        }
    }
}
