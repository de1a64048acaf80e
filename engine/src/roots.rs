//! Whom we trust to vouch for servers that are reached over TLS: whoever this system trusts, and whoever
//! the operator names in a file of certificates (PEM, RFC 7468) besides.
//!
//! There is one list for all who connect: shards, trials and `ureq`'s agents. A certificate is never taken
//! unverified, and it must be for the host of the URL (RFC 9525).

use std::{fs, io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject as _},
};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use crate::settings::StartError;

/// Whom we trust, and how TLS is spoken.
#[derive(Clone)]
pub struct Roots {
    client: Arc<ClientConfig>,
    agents: TlsConfig,
}

impl Roots {
    /// Those of this system, and those of the operator's file.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, with its remedy. A system that trusts nobody is no error: who
    /// calls no server over TLS needs nobody.
    pub fn load(file: Option<&Path>) -> Result<Self, StartError> {
        let mut store = RootCertStore::empty();
        let mut certificates = rustls_native_certs::load_native_certs().certs;
        // Systems keep certificates that are too old to be read; nobody needs those.
        store.add_parsable_certificates(certificates.iter().cloned());
        if let Some(file) = file {
            for certificate in of_file(file)? {
                store
                    .add(certificate.clone())
                    .map_err(|_| unusable(file, "it holds something that is no certificate"))?;
                certificates.push(certificate);
            }
        }
        Ok(Self::of(store, &certificates))
    }

    fn of(store: RootCertStore, certificates: &[CertificateDer<'static>]) -> Self {
        let provider = Arc::new(ring::default_provider());
        Self {
            agents: agents(&provider, certificates),
            client: client(provider, store),
        }
    }

    /// For those who speak TLS themselves.
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    /// For an agent of `ureq`, which else would trust nobody: `Config::builder().tls_config(…)`.
    pub fn agents(&self) -> TlsConfig {
        self.agents.clone()
    }
}

fn client(provider: Arc<CryptoProvider>, store: RootCertStore) -> Arc<ClientConfig> {
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3")
        .with_root_certificates(store)
        .with_no_client_auth();
    // What we speak within (RFC 7301); a server that would rather speak another says so at once.
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(client)
}

fn agents(provider: &Arc<CryptoProvider>, certificates: &[CertificateDer<'static>]) -> TlsConfig {
    let certificates = certificates.iter();
    let roots = certificates.map(|certificate| Certificate::from_der(certificate).to_owned());
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
        .unversioned_rustls_crypto_provider(Arc::clone(provider))
        .build()
}

fn of_file(file: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let text =
        fs::read(file).map_err(|error| unusable(file, &format!("it can't be read: {error}")))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unusable(file, "it holds no certificate")),
        Err(_) => Err(unusable(file, "it is not in the PEM format")),
    }
}

fn unusable(file: &Path, why: &str) -> StartError {
    StartError::new(
        format!("the certificates {} can't be used: {why}", file.display()),
        "name a PEM file with the certificate of each authority that vouches for your engines with \
         --engine-ca-file, or leave it out",
    )
}

/// Why there is no connection, in words that name no address: a certificate has reasons of its own.
pub fn why(error: &io::Error) -> String {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => why_no_tls(error).to_owned(),
        None => error.kind().to_string(),
    }
}

/// The same of an error of TLS itself.
pub fn why_no_tls(error: &rustls::Error) -> &'static str {
    use CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer => "nobody whom we trust vouches for its certificate",
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "its certificate is for another host"
            }
            Bad::Expired | Bad::ExpiredContext { .. } => "its certificate has expired",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => "its certificate is not valid yet",
            _ => "its certificate can't be trusted",
        },
        _ => "it does not speak TLS as we do",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Roots, StartError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        fs::write(&file, text).unwrap();
        Roots::load(Some(&file))
    }

    #[test]
    fn a_file_that_vouches_for_nobody_is_refused_with_a_remedy() {
        let check = |text: &str, expected: &str| {
            let error = load(text).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(error.contains("--engine-ca-file"), "{error}");
        };
        check("", "no certificate");
        check("a certificate", "no certificate");
        check("-----BEGIN CERTIFICATE-----\n%", "PEM");
        let no_certificate = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        check(no_certificate, "no certificate");
        let error = Roots::load(Some(Path::new("/nowhere/ca.pem")))
            .err()
            .unwrap();
        assert!(error.problem.contains("can't be read"), "{error}");
    }

    #[test]
    fn an_error_says_what_is_wrong_with_a_certificate_and_names_nobody() {
        let check = |bad: CertificateError, expected: &str| {
            let error = io::Error::other(rustls::Error::InvalidCertificate(bad));
            assert!(why(&error).contains(expected), "{error}");
        };
        check(CertificateError::UnknownIssuer, "nobody whom we trust");
        check(CertificateError::NotValidForName, "another host");
        check(CertificateError::Expired, "expired");
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(why(&refused), "connection refused");
    }
}
