//! Certificates for HTTPS, made for the test: an authority that nobody but the test's players trusts.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::{Path, PathBuf};

/// A certificate for `localhost`, `127.0.0.1` and `::1`, as PEM files.
pub struct Certificate {
    /// The authority's certificate: what a player must be told to trust.
    pub authority: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes an authority and the server's certificate; their files go into `folder`.
    pub fn new(folder: &Path) -> Certificate {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params
            .distinguished_name
            .push(DnType::CommonName, "funnel's tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = folder.join("authority.pem");
        let own = params.self_signed(&key).expect("signed by itself");
        std::fs::write(&authority, own.pem()).expect("the authority's file");
        let issuer = Issuer::new(params, key);
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let params = CertificateParams::new(names).expect("good names");
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &issuer).expect("signed");
        let made = Certificate {
            authority,
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        };
        std::fs::write(&made.certificate, signed.pem()).expect("the certificate's file");
        std::fs::write(&made.key, key.serialize_pem()).expect("the key's file");
        made
    }
}
