//! The server's certificate: read at start, and read again when its files change.
//!
//! Whoever renews certificates replaces two files, one after the other, and tells nobody. So both are read every few seconds, and used
//! once they have stood still from one look to the next: a certificate without its key yet is not reported. A pair that cannot be
//! used is, once, and the last good one stays.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_control::config::Tls;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets};

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{} cannot be read: {kind}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Whose key it is under `[tls]`.
        key: &'static str,
        /// Why.
        kind: io::ErrorKind,
    },
    /// The file is no PEM, or has not in it what it should.
    #[error("{} has no {what} in PEM in it: {source}", .path.display())]
    NotPem {
        /// Which.
        path: PathBuf,
        /// Whose key it is under `[tls]`.
        key: &'static str,
        /// What was looked for.
        what: &'static str,
        /// What was found.
        source: pem::Error,
    },
    /// They do not belong together, or are of a kind nobody knows.
    #[error("{} and {} cannot be used together: {source}", .certificate.display(), .key.display())]
    Refused {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl TlsError {
    /// The key of the configuration it is about.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Unreadable { key, .. } | Self::NotPem { key, .. } => key,
            Self::Refused { .. } => "tls.certificate",
        }
    }
}

/// The files under `[tls]`, and what was read of them.
#[derive(Debug)]
pub struct Certificate {
    files: Tls,
    /// Encrypts what returning players bring back instead of a handshake; outlives certificates.
    tickets: Arc<dyn ProducesTickets>,
    /// What was made use of, or found useless.
    used: Contents,
    /// As it stood at the last look.
    seen: Contents,
    next_look: Instant,
}

/// Certificate and key as they stand in their files.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Contents {
    certificate: Result<Vec<u8>, io::ErrorKind>,
    key: Result<Vec<u8>, io::ErrorKind>,
}

impl Contents {
    fn read(files: &Tls) -> Self {
        let read = |path: &Path| fs::read(path).map_err(|error| error.kind());
        Self {
            certificate: read(&files.certificate),
            key: read(&files.key),
        }
    }
}

impl Certificate {
    /// Reads the files, and what connections are shown.
    ///
    /// # Errors
    /// One sentence about the file that is not as it should be.
    pub fn load(files: &Tls, now: Instant) -> Result<(Self, Arc<ServerConfig>), TlsError> {
        let refused = |source| refused(files, source);
        let contents = Contents::read(files);
        let certificate = Self {
            files: files.clone(),
            tickets: ring::Ticketer::new().map_err(refused)?,
            used: contents.clone(),
            seen: contents,
            next_look: now + LOOK_EVERY,
        };
        let config = certificate.config()?;
        Ok((certificate, config))
    }

    /// Looks at the files now and then; call it often. What connections are shown from now on, if that has changed.
    pub fn look(&mut self, now: Instant) -> Option<Result<Arc<ServerConfig>, TlsError>> {
        if now < self.next_look {
            return None;
        }
        self.next_look = now + LOOK_EVERY;
        let contents = Contents::read(&self.files);
        let stands_still = self.seen == contents;
        self.seen = contents;
        if !stands_still || self.seen == self.used {
            return None;
        }
        self.used = self.seen.clone();
        Some(self.config())
    }

    /// What connections are shown, of what was read last.
    fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let refused = |source| refused(&self.files, source);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_no_client_auth()
            .with_single_cert(self.chain()?, self.private_key()?)
            .map_err(refused)?;
        config.alpn_protocols = ["http/1.1", "http/1.0"].map(Vec::from).to_vec();
        config.ticketer = Arc::clone(&self.tickets);
        // Sessions are in their tickets: nothing for the shards to share and to wait for.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let (path, key) = (&self.files.certificate, "tls.certificate");
        let pem = self.used.certificate.as_ref();
        let pem = pem.map_err(|&kind| unreadable(path, key, kind))?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let chain = chain.and_then(|chain| match chain[..] {
            [] => Err(pem::Error::NoItemsFound),
            _ => Ok(chain),
        });
        chain.map_err(|source| not_pem(path, key, "certificate", source))
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let (path, key) = (&self.files.key, "tls.key");
        let pem = self.used.key.as_ref();
        let pem = pem.map_err(|&kind| unreadable(path, key, kind))?;
        PrivateKeyDer::from_pem_slice(pem)
            .map_err(|source| not_pem(path, key, "private key", source))
    }
}

fn unreadable(path: &Path, key: &'static str, kind: io::ErrorKind) -> TlsError {
    TlsError::Unreadable {
        path: path.to_owned(),
        key,
        kind,
    }
}

fn not_pem(path: &Path, key: &'static str, what: &'static str, source: pem::Error) -> TlsError {
    TlsError::NotPem {
        path: path.to_owned(),
        key,
        what,
        source,
    }
}

fn refused(files: &Tls, source: rustls::Error) -> TlsError {
    TlsError::Refused {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    }
}

/// How often the files are read.
const LOOK_EVERY: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use rcgen::CertifiedKey;
    use tempfile::TempDir;

    use super::*;

    /// A folder with a certificate and its key.
    fn issued() -> (TempDir, Tls) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = Tls {
            certificate: folder.path().join("chain.pem"),
            key: folder.path().join("key.pem"),
        };
        renew(&files.certificate, &files.key);
        (folder, files)
    }

    /// Writes a new pair.
    fn renew(certificate: &Path, key: &Path) {
        let name = "localhost".to_owned();
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([name]).expect("a certificate");
        fs::write(certificate, cert.pem()).expect("written");
        fs::write(key, signing_key.serialize_pem()).expect("written");
    }

    /// Looks, and looks again when the files have stood still.
    fn after_a_while(
        certificate: &mut Certificate,
        now: &mut Instant,
    ) -> Option<Result<Arc<ServerConfig>, TlsError>> {
        *now += LOOK_EVERY;
        assert!(
            certificate.look(*now).is_none(),
            "they may be being written"
        );
        *now += LOOK_EVERY;
        certificate.look(*now)
    }

    #[test]
    fn a_new_pair_is_used_and_a_broken_one_is_told_once() {
        let (folder, files) = issued();
        let mut now = Instant::now();
        let (mut certificate, first) = Certificate::load(&files, now).expect("a sound pair");
        assert!(first.ticketer.enabled());
        assert!(
            after_a_while(&mut certificate, &mut now).is_none(),
            "as before"
        );

        // The certificate first, its key later.
        let next = folder.path().join("next.pem");
        renew(&files.certificate, &next);
        now += LOOK_EVERY;
        assert!(certificate.look(now).is_none(), "half a pair is no news");
        fs::rename(&next, &files.key).expect("in place");
        let renewed = after_a_while(&mut certificate, &mut now).expect("news");
        let renewed = renewed.expect("a sound pair");
        assert!(
            Arc::ptr_eq(&renewed.ticketer, &first.ticketer),
            "tickets live on"
        );

        // A certificate whose key never comes.
        renew(&files.certificate, &next);
        let error = after_a_while(&mut certificate, &mut now).expect("news");
        let error = error.expect_err("they do not belong together");
        assert!(
            error.to_string().contains("cannot be used together"),
            "{error}"
        );
        assert!(
            after_a_while(&mut certificate, &mut now).is_none(),
            "said once"
        );
        fs::remove_file(&files.key).expect("there");
        let error = after_a_while(&mut certificate, &mut now).expect("news");
        assert_eq!(error.expect_err("gone").key(), "tls.key");
        fs::rename(&next, &files.key).expect("in place");
        after_a_while(&mut certificate, &mut now)
            .expect("news")
            .expect("a sound pair again");
    }

    #[test]
    fn each_fault_names_its_file_and_its_key() {
        let (_folder, files) = issued();
        let load = |certificate: &Path, key: &Path| {
            let files = Tls {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            };
            let error = Certificate::load(&files, Instant::now()).expect_err("not sound");
            (error.key(), error.to_string())
        };
        let (certificate, key) = (&files.certificate, &files.key);
        let (at, text) = load(key, key);
        assert!(
            at == "tls.certificate" && text.contains("has no certificate"),
            "{text}"
        );
        let (at, text) = load(certificate, certificate);
        assert!(
            at == "tls.key" && text.contains("has no private key"),
            "{text}"
        );
        let (at, text) = load(certificate, Path::new("/gone"));
        assert_eq!(
            (at, &text[..]),
            ("tls.key", "/gone cannot be read: entity not found")
        );
    }
}
