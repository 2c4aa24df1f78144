//! Where a gateway under test lives: a temporary directory, free ports, secrets.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

/// Removed when it is dropped.
pub(super) struct Site {
    root: tempfile::TempDir,
    /// Whose certificates are trusted, beside the public ones.
    ca: Option<PathBuf>,
    /// `None`: SQLite, in the directory.
    database: Option<String>,
    pub(super) proxy: SocketAddr,
    pub(super) control_plane: SocketAddr,
    pub(super) grpc: SocketAddr,
}

pub(super) const PASSWORD: &str = "bench-admin-password-01";
pub(super) const MASTER_KEY: &str = "bench-master-key-0123456789abcdef";
pub(super) const PEPPER: &str = "bench-pepper-0123456789abcdef";
const JWT_SECRET: &str = "bench-jwt-secret-0123456789abcdef";
const JOIN_TOKEN: &str = "bench-join-token-0123456789abcdef";

type Environment = Vec<(&'static str, String)>;

// === impl Site ===

impl Site {
    pub(super) fn new() -> anyhow::Result<Self> {
        let root = tempfile::Builder::new().prefix("omniroute-bench-").tempdir()?;
        let [proxy, control_plane, grpc] = free_ports()?.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Ok(Self { root, ca: None, database: None, proxy, control_plane, grpc })
    }

    pub(super) fn trusting(self, ca: PathBuf) -> Self {
        Self { ca: Some(ca), ..self }
    }

    /// On the database of this URL.
    pub(super) fn on_database(self, url: String) -> Self {
        Self { database: Some(url), ..self }
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn of_control_plane(&self) -> Environment {
        let ca = self.ca.iter().map(|ca| ("UPSTREAM_TLS_CA", ca.display().to_string()));
        let mut environment = vec![
            ("DATA_DIR", self.directory("control-plane")),
            ("CONTROL_PLANE_PORT", self.control_plane.port().to_string()),
            ("GRPC_PORT", self.grpc.port().to_string()),
            ("STORAGE_ENCRYPTION_KEY", MASTER_KEY.to_owned()),
            ("JWT_SECRET", JWT_SECRET.to_owned()),
            ("API_KEY_SECRET", PEPPER.to_owned()),
            ("OMNIROUTE_JOIN_TOKEN", JOIN_TOKEN.to_owned()),
            ("INITIAL_PASSWORD", PASSWORD.to_owned()),
            ("ALLOW_PRIVATE_UPSTREAMS", "true".to_owned()),
            ("CONTROL_PLANE_DRAIN", "2s".to_owned()),
            // As `omniroute up` starts it: what the check of a password takes goes back at once.
            ("MIMALLOC_PURGE_DELAY", "0".to_owned()),
        ];
        environment.extend(ca);
        environment.extend(self.database.iter().map(|url| ("DATABASE_URL", url.clone())));
        environment
    }

    /// `name` tells proxies apart that keep their files under the same site.
    pub(super) fn of_proxy(&self, name: &str) -> Environment {
        let ca = self.ca.iter().map(|ca| ("UPSTREAM_TLS_CA", ca.display().to_string()));
        let mut environment = vec![
            ("DATA_DIR", self.directory(name)),
            ("PORT", self.proxy.port().to_string()),
            ("CONTROL_PLANE_URL", format!("http://{}", self.grpc)),
            ("OMNIROUTE_JOIN_TOKEN", JOIN_TOKEN.to_owned()),
            ("DRAIN_DEADLINE", "2s".to_owned()),
        ];
        environment.extend(ca);
        environment
    }

    pub(super) fn of_launcher(&self) -> Environment {
        vec![
            ("HOME", self.directory("home")),
            ("DATA_DIR", self.directory("data")),
            ("PORT", self.proxy.port().to_string()),
            ("CONTROL_PLANE_PORT", self.control_plane.port().to_string()),
            ("GRPC_PORT", self.grpc.port().to_string()),
            ("INITIAL_PASSWORD", PASSWORD.to_owned()),
            ("SHUTDOWN_TIMEOUT", "2s".to_owned()),
        ]
    }

    fn directory(&self, name: &str) -> String {
        self.root().join(name).display().to_string()
    }
}

/// Ports that nobody has at this moment.
pub(super) fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut listeners = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        // Held until all are found, so that they differ.
        listeners.push(listener);
    }
    Ok(ports)
}
