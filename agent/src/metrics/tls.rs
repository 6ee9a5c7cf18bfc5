//! TLS of the metrics' address: certificate and key from files, and whose certificate a reader must have.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::config::MetricsTls;
use crate::posture::capabilities;

/// The files' content, so that a renewed certificate is noticed.
#[derive(PartialEq, Eq)]
pub(super) struct Material {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

impl Material {
    /// Reads the files.
    pub(super) fn read(files: &MetricsTls) -> Result<Self> {
        Ok(Self {
            certificate: content(&files.certificate_file)?,
            key: Zeroizing::new(content(&files.key_file)?),
            client_ca: files.client_ca_file.as_deref().map(content).transpose()?,
        })
    }

    /// What takes connections with them.
    pub(super) fn acceptor(&self, files: &MetricsTls) -> Result<TlsAcceptor> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(&self.certificate, &files.certificate_file)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| {
            let file = files.key_file.display();
            anyhow!("{file}: expected a private key in PEM form: {error}")
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .context("TLS")?;
        let builder = match (&self.client_ca, &files.client_ca_file) {
            (Some(pem), Some(file)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem, file)? {
                    roots
                        .add(certificate)
                        .with_context(|| file.display().to_string())?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = verifier
                    .build()
                    .with_context(|| file.display().to_string())?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(chain, key).with_context(|| {
            let (key, certificate) = (files.key_file.display(), files.certificate_file.display());
            format!("the key in {key} does not suit the certificate in {certificate}")
        })?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn content(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| {
        let mend = capabilities::mend_of_file();
        format!("{} cannot be read ({mend})", file.display())
    })
}

fn certificates(pem: &[u8], file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.with_context(|| format!("{}: it is no PEM", file.display()))?;
    let file = file.display();
    ensure!(
        !read.is_empty(),
        "{file}: expected a certificate in PEM form, found none"
    );
    Ok(read)
}
