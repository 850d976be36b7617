//! Our own player: the sans-I/O client sessions on sockets, over MMS ([`mms`]) and HTTP ([`http`]).

mod http;
mod line;
mod mms;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use funnel_ingest::trust::{Trust, TrustError};
use funnel_session::HResult;
use funnel_session::client::{CloseReason, Event, Options, Stage, UdpStats};
use funnel_session::url::Url;

use self::http::HttpConnection;
use self::mms::MmsConnection;

/// What plays one channel. Call [`turn`](Self::turn) until it is no longer open.
#[derive(Debug)]
pub enum Connection {
    /// `mms://`, `mmst://`, `mmsu://`.
    Mms(MmsConnection),
    /// `http://`, `https://`, `mmsh://`.
    Http(HttpConnection),
}

impl Connection {
    /// Connects to the first address of the host that answers, IPv4 or IPv6. `answer_within` of `options` bounds each attempt.
    /// With `mmsu://` the media comes over UDP, else by this connection. `trust` is for `https://`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(url: &Url, options: Options, trust: &Trust) -> Result<Self, ConnectError> {
        if url.scheme.is_http() {
            HttpConnection::open(url, &options, trust).map(Self::Http)
        } else {
            MmsConnection::open(url, options).map(Self::Mms)
        }
    }

    /// False once [`Event::Close`] was told.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Mms(connection) => connection.is_open(),
            Self::Http(connection) => connection.is_open(),
        }
    }

    /// What became of the packets, if they come over UDP.
    pub fn udp_stats(&self) -> Option<UdpStats> {
        match self {
            Self::Mms(connection) => connection.udp_stats(),
            Self::Http(_) => None,
        }
    }

    /// Says good-bye; the turns that follow tell [`Event::Close`].
    pub fn leave(&mut self) {
        match self {
            Self::Mms(connection) => connection.leave(),
            Self::Http(connection) => connection.leave(),
        }
    }

    /// Sends and tells all there is to send and tell, then waits for the server, at most for `patience`.
    pub fn turn(&mut self, patience: Duration, tell: impl FnMut(Event<'_>)) {
        match self {
            Self::Mms(connection) => connection.turn(patience, tell),
            Self::Http(connection) => connection.turn(patience, tell),
        }
    }

    /// Why a connection that was needed later could not be made.
    pub fn trouble(&self) -> Option<&ConnectError> {
        match self {
            Self::Mms(_) => None,
            Self::Http(connection) => connection.trouble(),
        }
    }
}

/// Room for a few packets, or for the largest datagram.
const READ_BYTES: usize = 64 << 10;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `mmsu://` needs a UDP socket beside the connection.
    #[error("no socket for media over UDP: {0}")]
    Datagrams(io::Error),
    /// No such name.
    #[error("{host} cannot be found: {source}")]
    Resolve {
        /// As in the URL.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody there.
    #[error("{authority} cannot be reached at {address}: {source}")]
    Connect {
        /// Host and port as in the URL.
        authority: String,
        /// The last address tried.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The server is there, but not to be trusted, or speaks no TLS.
    #[error("no TLS with {authority}: {source}")]
    Handshake {
        /// Host and port as in the URL.
        authority: String,
        /// What TLS said.
        source: io::Error,
    },
    /// There is nobody to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Why a session brought nothing, or no more, in one sentence.
pub fn explain(url: &Url, refused_at: Option<Stage>, reason: &CloseReason) -> String {
    match reason {
        CloseReason::Finished => format!("{url}: the server ended the session"),
        CloseReason::Refused(hr) => {
            let stage = refused_at.map_or_else(String::new, |stage| format!(" at {stage:?}"));
            format!("{url} was refused{stage}: {hr}{}", meaning(*hr))
        }
        CloseReason::Redirected => format!("{url}: the channel is at another address"),
        CloseReason::ConnectionLost => {
            format!("{url}: the server closed the connection without a word")
        }
        CloseReason::TimedOut => format!("{url}: the server did not answer in time"),
        CloseReason::NoDatagrams => format!(
            "{url}: nothing comes over UDP, perhaps because of a firewall or address translation on the way; mmst://{}/{} asks for TCP",
            url.authority(),
            url.path
        ),
        CloseReason::Framing(error) => format!("{url}: the server does not speak MMS: {error}"),
        CloseReason::Http(fault) => format!("{url}: the server does not speak HTTP: {fault}"),
        CloseReason::Answered(status) => format!("{url} was refused: {status}"),
        CloseReason::NoStream => {
            format!(
                "{url}: what the server has there is no stream of Windows Media and no ASF file"
            )
        }
        CloseReason::Damaged(what) => format!("{url}: the server sent a damaged {what}"),
        _ => format!("{url}: {reason:?}"),
    }
}

/// What the codes a viewer meets mean, in words.
fn meaning(hr: HResult) -> &'static str {
    match hr {
        HResult::NS_E_FILE_NOT_FOUND
        | HResult::ERROR_FILE_NOT_FOUND
        | HResult::ERROR_PATH_NOT_FOUND => " (there is no channel of this name)",
        HResult::NS_E_PUBLISHING_POINT_STOPPED => " (the channel has no source at the moment)",
        HResult::NS_E_TOO_MANY_SESS | HResult::NS_E_MAX_CLIENTS => " (the server is full)",
        HResult::NS_E_INSUFFICIENT_BANDWIDTH => " (the server's bandwidth is used up)",
        HResult::NS_E_NO_NEW_CONNECTIONS | HResult::NS_E_SHUTDOWN => {
            " (the server is shutting down)"
        }
        HResult::NS_E_UDP_DISABLED => " (the server sends no media over UDP; mmst:// asks for TCP)",
        HResult::E_ACCESSDENIED | HResult::NS_E_SERVER_ACCESSDENIED => " (not allowed)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;
    use std::time::Instant;

    use funnel_session::server;

    use super::*;

    pub(super) fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    fn end_of(url: &Url) -> CloseReason {
        let options = Options {
            answer_within: Duration::from_millis(300),
            ..Options::default()
        };
        let mut connection =
            Connection::open(url, options, &Trust::System).expect("somebody listens");
        let mut end = None;
        while connection.is_open() {
            connection.turn(Duration::from_secs(5), |event| {
                if let Event::Close(reason) = event {
                    end = Some(reason);
                }
            });
        }
        end.expect("told before it is over")
    }

    pub(super) fn server(answer: impl FnOnce(TcpStream) + Send + 'static) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        thread::spawn(move || answer(listener.accept().expect("a client").0));
        url(&format!("mms://127.0.0.1:{port}/x"))
    }

    #[test]
    fn a_server_that_hangs_up_and_one_that_is_silent_are_told_apart() {
        assert_eq!(end_of(&server(drop)), CloseReason::ConnectionLost);
        let (silent, listener) = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            (
                url(&format!(
                    "mms://{}/x",
                    listener.local_addr().expect("bound")
                )),
                listener,
            )
        };
        assert_eq!(end_of(&silent), CloseReason::TimedOut);
        drop(listener);
    }

    #[test]
    fn no_connection_is_one_sentence() {
        let free = TcpListener::bind("127.0.0.1:0")
            .expect("a free port")
            .local_addr()
            .expect("bound");
        let url = url(&format!("mms://{free}/x"));
        let error = Connection::open(&url, Options::default(), &Trust::System)
            .expect_err("nobody listens")
            .to_string();
        assert!(
            error.starts_with(&format!("{free} cannot be reached at {free}: ")),
            "{error}"
        );
    }

    pub(super) fn server_session() -> server::Session {
        server::Session::new(Arc::new(server::Settings::default()), 1, Instant::now())
    }

    #[test]
    fn a_refusal_has_its_code_name_and_meaning() {
        let reason = CloseReason::Refused(HResult::NS_E_FILE_NOT_FOUND);
        assert_eq!(
            explain(&url("mms://h/x"), Some(Stage::OpenFile), &reason),
            "mms://h/x was refused at OpenFile: 0xC00D001A NS_E_FILE_NOT_FOUND (there is no channel of this name)"
        );
    }
}
