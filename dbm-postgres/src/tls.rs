//! TLS, by rustls.

use std::sync::Arc;

use dbm_core::Result;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::settings::{Settings, invalid};

/// The connector for all connections: reading the roots of the system takes a while.
pub(crate) fn connector(settings: &Settings) -> Result<MakeRustlsConnect> {
    let roots = match &settings.root_certificates {
        Some(file) => {
            let unreadable =
                |error| invalid(format!("root_certificates {}: {error}", file.display()));
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
                let added = roots.add(certificate.map_err(unreadable)?);
                added.map_err(|error| invalid(format!("root_certificates: {error}")))?;
            }
            roots
        }
        None if settings.server.get_ssl_mode() == SslMode::Disable => RootCertStore::empty(),
        None => {
            let mut roots = RootCertStore::empty();
            // None at all is no error yet: the server may have no TLS.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(tls))
}
