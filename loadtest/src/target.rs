//! What is measured: a URL, its protocol, the address behind it.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use funnel_session::client::{Input, Options};
use funnel_session::url::{Scheme, Url};

use crate::http;
use crate::mms::Mms;
use crate::news::{News, Over};

/// Where viewers go, and how they speak.
#[derive(Clone, Debug)]
pub struct Target {
    /// As given.
    pub text: String,
    /// Where its host name leads.
    pub address: SocketAddr,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Mms(Arc<Url>, Arc<Options>),
    Http(Arc<http::HttpUrl>),
}

/// One viewer's side of the conversation.
#[derive(Debug)]
pub enum Talk {
    /// MMS over TCP.
    Mms(Box<Mms>),
    /// A plain GET.
    Http(Box<http::Stream>),
}

impl Target {
    /// Understands the URL and looks its host up. `options` are for MMS.
    ///
    /// # Errors
    /// In words for the user.
    pub fn find(text: &str, options: Options) -> Result<Target, String> {
        let schemes = ["http://", "https://", "mmsh://"];
        let kind = if schemes.iter().any(|scheme| text.starts_with(scheme)) {
            Kind::Http(Arc::new(
                http::HttpUrl::from_str(text).map_err(|error| error.to_string())?,
            ))
        } else {
            let url = Url::from_str(text)
                .map_err(|error| format!("{error}, or http:// for other servers"))?;
            if url.scheme == Scheme::Mmsu {
                return Err("mmsu:// (MMS over UDP) is not measured yet; use mms://".into());
            }
            Kind::Mms(Arc::new(url), Arc::new(options))
        };
        let (host, port) = match &kind {
            Kind::Mms(url, _) => (url.host.as_str(), url.port),
            Kind::Http(url) => (url.host.as_str(), url.port),
        };
        let found = (host, port)
            .to_socket_addrs()
            .map_err(|error| format!("{host}: {error}"))?;
        let mut found: Vec<SocketAddr> = found.collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        let address = *found.first().ok_or(format!("{host} has no address"))?;
        Ok(Target {
            text: text.to_owned(),
            address,
            kind,
        })
    }

    /// For people.
    pub fn protocol(&self) -> &'static str {
        match self.kind {
            Kind::Mms(..) => "MMS over TCP",
            Kind::Http(_) => "HTTP",
        }
    }

    /// Host for other requests to the same server.
    pub fn host(&self) -> IpAddr {
        self.address.ip()
    }

    /// Begins a conversation on a new connection; what is to be sent first is put into `send`.
    pub fn talk(&self, now: Instant, send: &mut Vec<u8>) -> Talk {
        match &self.kind {
            Kind::Mms(url, options) => {
                let mut mms = Mms::new(Arc::clone(url), Arc::clone(options), now);
                mms.take(now, None, send, &mut |_| {});
                Talk::Mms(Box::new(mms))
            }
            Kind::Http(url) => {
                send.extend_from_slice(&http::Stream::request(url));
                Talk::Http(Box::new(http::Stream::new()))
            }
        }
    }
}

impl Talk {
    /// Bytes have come.
    pub fn received(
        &mut self,
        now: Instant,
        bytes: &[u8],
        send: &mut Vec<u8>,
        tell: &mut impl FnMut(News<'_>),
    ) {
        match self {
            Talk::Mms(mms) => mms.take(now, Some(Input::Received(bytes)), send, tell),
            Talk::Http(stream) => stream.received(bytes, tell),
        }
    }

    /// The server closed the connection.
    pub fn closed(&mut self, now: Instant, send: &mut Vec<u8>, tell: &mut impl FnMut(News<'_>)) {
        match self {
            Talk::Mms(mms) => mms.take(now, Some(Input::Closed), send, tell),
            Talk::Http(_) => tell(News::Over(Over::Closed)),
        }
    }

    /// Time has passed.
    pub fn look(&mut self, now: Instant, send: &mut Vec<u8>, tell: &mut impl FnMut(News<'_>)) {
        if let Talk::Mms(mms) = self
            && mms.wake_at().is_some_and(|at| at <= now)
        {
            mms.take(now, Some(Input::Timeout), send, tell);
        }
    }

    /// Says good-bye, if the protocol has a word for it.
    pub fn leave(&mut self, now: Instant, send: &mut Vec<u8>) {
        if let Talk::Mms(mms) = self {
            mms.take(now, Some(Input::Close), send, &mut |_| {});
        }
    }
}
