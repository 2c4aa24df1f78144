//! Whose certificates are trusted.

use std::path::{Path, PathBuf};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// CAs of the operator's own.
#[derive(Clone, Debug, Default)]
pub struct ExtraRoots(Vec<CertificateDer<'static>>);

/// The file of the operator's CAs cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("UPSTREAM_TLS_CA: {} {problem}", file.display())]
pub struct RootsError {
    file: PathBuf,
    problem: String,
}

// === impl ExtraRoots ===

impl ExtraRoots {
    /// Reads a file of certificates (PEM). An empty path means none.
    ///
    /// # Errors
    /// When it cannot be read, or something in it is no certificate of a CA.
    pub fn read(file: &Path) -> Result<Self, RootsError> {
        if file.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let wrong = |problem: String| RootsError { file: file.to_owned(), problem };
        let unreadable = |error| wrong(format!("cannot be read: {error}"));
        let certificates = CertificateDer::pem_file_iter(file).map_err(unreadable)?;
        let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(unreadable)?;
        if certificates.is_empty() {
            return Err(wrong("holds no certificate".to_owned()));
        }
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store.add(certificate.clone()).map_err(|error| wrong(format!("holds a certificate of no use: {error}")))?;
        }
        Ok(Self(certificates))
    }

    /// These and the public ones.
    pub(super) fn with_public_ones(self) -> RootCertStore {
        let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        store.add_parsable_certificates(self.0);
        store
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_of_certificates_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ca.pem");
        let mut told = vec![ExtraRoots::read(&file).expect_err("absent").to_string()];
        for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, text).expect("written");
            told.push(ExtraRoots::read(&file).expect_err(text).to_string());
        }
        assert!(told.iter().all(|text| text.starts_with("UPSTREAM_TLS_CA: ") && text.contains("ca.pem")), "{told:?}");
        assert!(told[0].contains("cannot be read") && told[2].contains("holds no certificate"), "{told:?}");
        assert!(ExtraRoots::read(Path::new("")).expect("none").0.is_empty());
    }
}
