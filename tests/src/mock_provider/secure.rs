//! The provider behind TLS, where it speaks HTTP/2 with whoever can, as most real ones do.

use std::{path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// How it speaks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Secure {
    /// Requests that an HTTP/2 connection takes at once.
    pub max_concurrent_streams: Option<u32>,
}

/// A certificate for 127.0.0.1, and what is needed to trust it.
pub(crate) struct Identity {
    pub(crate) acceptor: TlsAcceptor,
    directory: TempDir,
}

/// The certificate of the CA, in its directory.
const CA: &str = "ca.pem";

// === impl Identity ===

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Identity {
    /// # Errors
    /// When nothing can be written.
    pub(crate) fn new() -> std::io::Result<Self> {
        let other = std::io::Error::other::<rcgen::Error>;
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().map_err(other)?).map_err(other)?;
        let key = KeyPair::generate().map_err(other)?;
        let own = CertificateParams::new(["127.0.0.1".to_owned()]).and_then(|own| own.signed_by(&key, &ca));
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(std::io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![own.map_err(other)?.der().clone()], key)
            .map_err(std::io::Error::other)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join(CA), ca.pem())?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), directory })
    }

    /// A file with the certificate of the CA.
    pub(crate) fn ca(&self) -> PathBuf {
        self.directory.path().join(CA)
    }
}
