//! Answers to `401 Unauthorized`: Basic and Digest (§15), with the name and password of the URL.

use funnel_wire::wmsp::{Fields, Method};
use http_auth::{PasswordClient, PasswordParams};

use crate::url::Login;

/// The server's challenge, once it made one.
#[derive(Debug, Default)]
pub(crate) struct Guard(Option<PasswordClient>);

impl Guard {
    /// Takes a challenge; whether it is worth trying again: it is the first one, or the server only wants a fresh answer.
    pub(crate) fn is_challenged(&mut self, fields: &Fields) -> bool {
        let is_stale = fields
            .all("WWW-Authenticate")
            .any(|challenge| challenge.to_ascii_lowercase().contains("stale=true"));
        if self.0.is_some() && !is_stale {
            return false;
        }
        let challenges = fields.all("WWW-Authenticate");
        let client = challenges.fold(PasswordClient::builder(), |builder, challenge| {
            builder.challenges(challenge)
        });
        self.0 = client.build().ok();
        self.0.is_some()
    }

    /// Whether a challenge was taken.
    pub(crate) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// The value of `Authorization` for a request; `None`: nobody has asked, or for an answer that no server would take.
    pub(crate) fn answer(
        &mut self,
        login: &Login,
        method: &Method,
        target: &str,
    ) -> Option<String> {
        let parameters = PasswordParams {
            username: &login.name,
            password: &login.password,
            uri: target,
            method: method.as_str(),
            body: Some(&[]),
        };
        let answer = self.0.as_mut()?.respond(&parameters).ok()?;
        (answer.len() <= ANSWER_BYTES_MAX).then_some(answer)
    }
}

/// A digest repeats what the server said, which may be as long as a head.
const ANSWER_BYTES_MAX: usize = 8192;
