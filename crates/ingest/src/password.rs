//! Who may push, as the configuration keeps it: never the password itself.
//!
//! Two forms. Argon2id is the better keeper, but a server that knows nothing else of a password can check it only if the encoder sends it in
//! the clear (Basic). `digest:` is what Digest needs, and gives away that login, though not the password, to who reads the file.

use std::{fmt, str::FromStr};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use funnel_session::push::{REALM, ha1};

/// The one who may push.
#[derive(Clone, Debug)]
pub struct Login {
    /// Name.
    pub user: String,
    /// How the password is known again.
    pub password: Password,
}

/// A password that can be recognised. Made by [`Password::argon2`] or [`Password::digest`] and parsed from what they display.
#[derive(Clone, Eq, PartialEq)]
pub struct Password(Form);

#[derive(Clone, Eq, PartialEq)]
pub(crate) enum Form {
    /// In the PHC format, parsed once.
    Argon2(String),
    /// MD5 of `user:funnel:password`.
    Digest([u8; 16]),
}

/// Why a text is no [`Password`].
#[derive(Clone, Debug, thiserror::Error)]
#[error("this is not a password_hash that `funnel password` made: {0}")]
pub struct PasswordError(String);

impl Password {
    /// Argon2id with a random salt: for encoders that use Basic. Takes some 20 ms and 19 MiB.
    ///
    /// # Errors
    /// Without random numbers from the system, or memory.
    pub fn argon2(password: &str) -> Result<Self, PasswordError> {
        match Argon2::default().hash_password(password.as_bytes()) {
            Ok(hash) => Ok(Self(Form::Argon2(hash.to_string()))),
            Err(error) => Err(PasswordError(error.to_string())),
        }
    }

    /// For encoders that use Digest or Basic.
    pub fn digest(user: &str, password: &str) -> Self {
        Self(Form::Digest(ha1(user, REALM, password)))
    }

    pub(crate) fn form(&self) -> &Form {
        &self.0
    }
}

/// Whether `password` belongs to an Argon2 `hash`. Takes some 20 ms.
pub(crate) fn matches(hash: &str, password: &[u8]) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

impl FromStr for Password {
    type Err = PasswordError;

    fn from_str(text: &str) -> Result<Self, PasswordError> {
        let Some(digest) = text.strip_prefix("digest:") else {
            let hash = PasswordHash::new(text).map_err(|error| PasswordError(error.to_string()))?;
            if hash.algorithm.as_str() != "argon2id" || hash.hash.is_none() {
                return Err(PasswordError("it is not argon2id".into()));
            }
            return Ok(Self(Form::Argon2(text.to_owned())));
        };
        match u128::from_str_radix(digest, 16) {
            Ok(value) if digest.len() == 32 && !digest.starts_with('+') => {
                Ok(Self(Form::Digest(value.to_be_bytes())))
            }
            _ => Err(PasswordError("32 hexadecimal digits follow digest:".into())),
        }
    }
}

impl fmt::Display for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Argon2(hash) => out.write_str(hash),
            Form::Digest(hash) => write!(out, "digest:{:032x}", u128::from_be_bytes(*hash)),
        }
    }
}

/// Nothing of it: debug output ends in logs.
impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            Form::Argon2(_) => "Password(argon2id)",
            Form::Digest(_) => "Password(digest)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_no_other() {
        let password = Password::argon2("open sesame").expect("random numbers");
        let again: Password = password.to_string().parse().expect("its own text");
        let Form::Argon2(hash) = again.form() else {
            panic!("{again:?}");
        };
        assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
        assert!(matches(hash, b"open sesame"));
        assert!(!matches(hash, b"open sesam") && !matches(hash, b"") && !matches("", b""));
        let other = Password::argon2("open sesame").expect("random numbers");
        assert_ne!(other, password, "each has a salt of its own");
    }

    #[test]
    fn the_form_for_digest_is_rfc_2617s_and_survives_text() {
        let password = Password::digest("alice", "secret");
        assert_eq!(
            password.to_string(),
            format!("digest:{:x}", md5::compute("alice:funnel:secret"))
        );
        assert_eq!(
            password.to_string().parse::<Password>().ok(),
            Some(password)
        );
    }

    #[test]
    fn other_texts_are_refused_and_debug_output_tells_nothing() {
        for text in [
            "",
            "secret",
            "digest:12",
            "digest:+2345678901234567890123456789012",
            "$argon2id$",
            "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(text.parse::<Password>().is_err(), "{text}");
        }
        let login = Login {
            user: "u".into(),
            password: Password::digest("u", "p"),
        };
        assert!(!format!("{login:?}").contains(&login.password.to_string()[7..]));
    }
}
