//! TLS to other servers: whose certificates are believed, and the session for one connection.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem, pem::PemObject as _},
};
use thiserror::Error;

/// Whose word counts for who a server is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Trust {
    /// The authorities the system trusts.
    #[default]
    System,
    /// The certificates of a PEM file, and nobody else.
    Authorities(PathBuf),
    /// Nobody's: any certificate will do. Encrypted, but perhaps with the wrong one.
    Anybody,
}

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file cannot be read, or is no PEM.
    #[error("{}: {source}", path.display())]
    File {
        /// The PEM file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// The file has no certificate in it that can be used.
    #[error("{}: no certificate of an authority in it", .0.display())]
    Empty(PathBuf),
    /// The system has no certificates of authorities.
    #[error("the system has no trusted certificates (package ca-certificates?){}", .0.as_deref().map(|error| format!(": {error}")).unwrap_or_default())]
    System(Option<String>),
    /// A host that no certificate can be for.
    #[error("no certificate can be for {0}")]
    Host(String),
    /// A bug: the protocol versions or algorithms are not there.
    #[error(transparent)]
    Tls(#[from] Error),
}

impl Trust {
    /// What sessions are made with; to be kept, since it remembers servers and reads files.
    ///
    /// # Errors
    /// There is nobody to trust.
    pub fn config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match self {
            Trust::System => builder.with_root_certificates(system()?),
            Trust::Authorities(path) => builder.with_root_certificates(authorities(path)?),
            Trust::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Credulous(provider))),
        };
        Ok(Arc::new(builder.with_no_client_auth()))
    }
}

/// The session for one connection to `host`, a name or an address.
///
/// # Errors
/// No certificate can be for such a host.
pub fn session(config: &Arc<ClientConfig>, host: &str) -> Result<ClientConnection, TrustError> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| TrustError::Host(host.to_owned()))?;
    Ok(ClientConnection::new(Arc::clone(config), name)?)
}

fn system() -> Result<RootCertStore, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let error = found.errors.first().map(ToString::to_string);
        return Err(TrustError::System(error));
    }
    Ok(roots)
}

fn authorities(path: &Path) -> Result<RootCertStore, TrustError> {
    let failed = |source| TrustError::File {
        path: path.to_owned(),
        source,
    };
    let read = std::fs::read(path).map_err(|error| failed(pem::Error::Io(error)))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read).collect();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates.map_err(failed)?);
    if added == 0 {
        return Err(TrustError::Empty(path.to_owned()));
    }
    Ok(roots)
}

/// Believes any certificate, but still wants its key to have signed the handshake.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rcgen::CertifiedKey;
    use rustls::{ServerConfig, ServerConnection, pki_types::PrivateKeyDer};

    use super::*;

    fn certificate(host: &str) -> (String, ServerConfig) {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        (cert.pem(), config)
    }

    /// Lets both sides talk until one has no more to say; whether the client trusts the server.
    fn is_trusted(trust: &Trust, host: &str, server: ServerConfig) -> Result<bool, TrustError> {
        let mut client = session(&trust.config()?, host)?;
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut &wire[..]).unwrap();
            server.process_new_packets().unwrap();
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut &wire[..]).unwrap();
            if client.process_new_packets().is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    #[test]
    fn only_who_is_named_is_trusted() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let (pem, config) = certificate("studio.example");
        file.write_all(pem.as_bytes()).unwrap();
        let named = Trust::Authorities(file.path().to_owned());
        let trusts = |trust, host| is_trusted(trust, host, config.clone()).unwrap();
        assert!(trusts(&named, "studio.example"));
        assert!(!trusts(&named, "other.example"));
        assert!(trusts(&Trust::Anybody, "other.example") && trusts(&Trust::Anybody, "::1"));
        let (_, stranger) = certificate("studio.example");
        assert!(!is_trusted(&named, "studio.example", stranger).unwrap());
        // The system's authorities, if it has any, have never heard of it.
        let by_system = is_trusted(&Trust::System, "studio.example", config.clone());
        assert!(matches!(by_system, Ok(false) | Err(TrustError::System(_))));
    }

    #[test]
    fn a_file_of_no_use_is_said() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"not a certificate\n").unwrap();
        let error = |path: &Path| {
            let trust = Trust::Authorities(path.to_owned());
            trust.config().unwrap_err().to_string()
        };
        assert!(error(file.path()).ends_with("no certificate of an authority in it"));
        assert!(error(Path::new("/nowhere/ca.pem")).starts_with("/nowhere/ca.pem: "));
        let config = Trust::Anybody.config().unwrap();
        assert!(matches!(session(&config, "a b"), Err(TrustError::Host(_))));
    }
}
