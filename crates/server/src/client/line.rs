//! A TCP connection, encrypted or not. Bytes are read without waiting; requests are written at once.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use funnel_ingest::trust::session;
use funnel_session::url::Url;
use nix::poll::PollTimeout;
use rustls::{ClientConfig, ClientConnection};

use super::ConnectError;

/// A connection, open for reading without waiting.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Line {
    /// Connects to host and port of the URL, with TLS if there is a configuration for it. Each step may take so long.
    ///
    /// # Errors
    /// Nobody is there, or nobody to be trusted.
    pub fn open(
        url: &Url,
        tls: Option<&Arc<ClientConfig>>,
        within: Duration,
    ) -> Result<Self, ConnectError> {
        let tls = tls.map(|config| session(config, &url.host)).transpose()?;
        let mut line = Self {
            stream: connect(url, within)?,
            tls: tls.map(Box::new),
        };
        line.prepare(within)
            .map_err(|source| ConnectError::Handshake {
                authority: url.authority(),
                source,
            })?;
        Ok(line)
    }

    /// Handshakes, with waiting; from then on nothing waits.
    fn prepare(&mut self, within: Duration) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            self.stream.set_read_timeout(Some(within))?;
            while tls.is_handshaking() {
                let moved = tls.complete_io(&mut self.stream)?;
                if moved == (0, 0) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        self.stream.set_nonblocking(true)
    }

    /// Sends all of it. A request is small: if the system has no room for it, something is wrong.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return self.stream.write_all(bytes);
        };
        tls.writer().write_all(bytes)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        Ok(())
    }

    /// What has come, at most as much as there is room for. 0: the server closed.
    ///
    /// # Errors
    /// `WouldBlock`: nothing has come. Else the connection is lost.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.stream.read(buffer);
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Without TLS's own goodbye: media tells by itself where it was cut.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            tls.read_tls(&mut self.stream)?;
            tls.process_new_packets().map_err(io::Error::other)?;
            while tls.wants_write() {
                tls.write_tls(&mut self.stream)?; // keys, alerts
            }
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// For `poll`, rounded up: waking too early would be waking for nothing.
pub fn rounded_up(time: Duration) -> PollTimeout {
    let ms = i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
}

/// Whether there is only nothing to be had at the moment.
pub fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// Connects to the first address of the host that answers, each attempt within this time.
pub fn connect(url: &Url, within: Duration) -> Result<TcpStream, ConnectError> {
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
