//! Our own player's connection: the sans-I/O client session on a blocking socket.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_session::HResult;
use funnel_session::client::{CloseReason, Event, Input, Options, Output, Session, Stage};
use funnel_session::url::{Scheme, Url};

/// One connection to one channel. Call [`turn`](Self::turn) until it is no longer open.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    session: Session,
    buffer: Box<[u8]>,
    is_open: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `mmsu://`
    #[error("mmsu:// asks for media over UDP, which funnel does not speak: use mmst://{}/{}", .0.authority(), .0.path)]
    Udp(Url),
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
}

impl Connection {
    /// Connects to the first address of the host that answers, IPv4 or IPv6. `answer_within` of `options` bounds each attempt.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(url: &Url, options: Options) -> Result<Self, ConnectError> {
        if url.scheme == Scheme::Mmsu {
            return Err(ConnectError::Udp(url.clone()));
        }
        let stream = connect(url, options.answer_within)?;
        let options = Options {
            local_address: stream
                .local_addr()
                .map_or(options.local_address, |address| address.ip().to_string()),
            ..options
        };
        Ok(Self {
            stream,
            session: Session::new(Arc::new(url.clone()), Arc::new(options), Instant::now()),
            buffer: vec![0; READ_BYTES].into(),
            is_open: true,
        })
    }

    /// False once [`Event::Close`] was told.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Says good-bye; the turns that follow tell [`Event::Close`].
    pub fn leave(&mut self) {
        self.session.handle_input(Instant::now(), Input::Close);
    }

    /// Sends and tells all there is to send and tell, then waits for the server, at most for `patience`.
    pub fn turn(&mut self, patience: Duration, mut tell: impl FnMut(Event<'_>)) {
        let Some(wake_at) = self.drain(&mut tell) else {
            return;
        };
        let wait = wake_at.map_or(patience, |at| {
            patience.min(at.saturating_duration_since(Instant::now()))
        });
        // Zero would mean "for ever".
        let _ = self
            .stream
            .set_read_timeout(Some(wait.max(Duration::from_millis(1))));
        let result = self.stream.read(&mut self.buffer);
        let input = match &result {
            Ok(0) => Input::Closed,
            Ok(count) => Input::Received(&self.buffer[..*count]),
            Err(error) if is_pause(error) => Input::Timeout,
            Err(_) => Input::Closed,
        };
        self.session.handle_input(Instant::now(), input);
        self.drain(&mut tell);
    }

    /// Until the session is idle; its deadline, or `None` when the connection is over.
    fn drain(&mut self, tell: &mut impl FnMut(Event<'_>)) -> Option<Option<Instant>> {
        let mut is_lost = false;
        while self.is_open {
            match self.session.poll_output() {
                Output::Send(bytes) => is_lost = is_lost || self.stream.write_all(bytes).is_err(),
                Output::Datagram(_) => {} // no connection asks for UDP yet
                Output::Event(event) => {
                    self.is_open = !matches!(event, Event::Close(_));
                    tell(event);
                }
                Output::Idle { .. } if is_lost => {
                    is_lost = false;
                    self.session.handle_input(Instant::now(), Input::Closed);
                }
                Output::Idle { wake_at } => return Some(wake_at),
            }
        }
        None
    }
}

/// Room for a few packets.
const READ_BYTES: usize = 64 << 10;

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn connect(url: &Url, within: Duration) -> Result<TcpStream, ConnectError> {
    let unknown = |source| ConnectError::Resolve {
        host: url.host.clone(),
        source,
    };
    let addresses = (url.host.as_str(), url.port)
        .to_socket_addrs()
        .map_err(unknown)?;
    let mut last = unknown(io::Error::from(io::ErrorKind::NotFound));
    for address in addresses {
        match TcpStream::connect_timeout(&address, within) {
            Ok(stream) => {
                // Wishes only: without them it is slower or waits longer.
                let _ = stream.set_nodelay(true);
                let _ = stream.set_write_timeout(Some(within));
                return Ok(stream);
            }
            Err(source) => {
                last = ConnectError::Connect {
                    authority: url.authority(),
                    address,
                    source,
                }
            }
        }
    }
    Err(last)
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
        CloseReason::Framing(error) => format!("{url}: the server does not speak MMS: {error}"),
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
        HResult::E_ACCESSDENIED | HResult::NS_E_SERVER_ACCESSDENIED => " (not allowed)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    fn end_of(url: &Url) -> CloseReason {
        let options = Options {
            answer_within: Duration::from_millis(300),
            ..Options::default()
        };
        let mut connection = Connection::open(url, options).expect("somebody listens");
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

    fn server(answer: impl FnOnce(TcpStream) + Send + 'static) -> Url {
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
        let error = Connection::open(&url, Options::default())
            .expect_err("nobody listens")
            .to_string();
        assert!(
            error.starts_with(&format!("{free} cannot be reached at {free}: ")),
            "{error}"
        );
        let udp = Connection::open(&"mmsu://h/x".parse().expect("a URL"), Options::default())
            .expect_err("UDP");
        assert!(udp.to_string().ends_with("use mmst://h/x"), "{udp}");
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
