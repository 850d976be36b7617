//! Connections that leave the shards: encoders that push, and everybody who wants a page.
//!
//! A shard reads the head of a request, sees that it is not for it, and takes the connection out of its ring: what comes here is
//! a [`Visitor`], an ordinary socket with the bytes read so far and, over HTTPS, the TLS session in the state they left it in. Its
//! [`Stream`] reads those bytes first and then the socket, and encrypts what is written; a client's connection to another server
//! ([`Stream::new`]) is the same thing. Leaves to others: what the bytes mean.
//!
//! An end without TLS's own goodbye is an end like any other: encoders and players rarely say it, and media tells by itself where it was cut.

use std::{
    future::poll_fn,
    io::{self, Read, Write},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustls::Connection;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A connection handed over by a shard.
#[derive(Debug)]
pub struct Visitor {
    /// Its socket, non-blocking. All that was answered so far has been sent.
    pub socket: std::net::TcpStream,
    /// Its TLS session if it came to an HTTPS port, the handshake over.
    pub tls: Option<Box<Connection>>,
    /// What it has said so far and nobody has answered, decrypted: the head of a request and perhaps the beginning of its body.
    pub received: Vec<u8>,
    /// Its own address.
    pub peer: SocketAddr,
    /// The address it came to.
    pub local: SocketAddr,
}

impl Visitor {
    /// The connection as tokio reads and writes it. Fails if the socket cannot be watched (out of memory or watches).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub fn into_stream(self) -> io::Result<Stream> {
        Ok(Stream {
            socket: TcpStream::from_std(self.socket)?,
            tls: self.tls,
            received: io::Cursor::new(self.received),
            peer: self.peer,
            local: self.local,
        })
    }
}

/// A connection, encrypted or not. What is written is on its way after a flush.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    tls: Option<Box<Connection>>,
    received: io::Cursor<Vec<u8>>,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Stream {
    /// A connection of ours to another server, encrypted if there is a session (`rustls::ClientConnection`). Await
    /// [`Stream::handshake`] to learn of certificates nobody trusts before anything is said; else reads and writes tell.
    pub fn new(socket: TcpStream, tls: Option<Connection>) -> io::Result<Stream> {
        Ok(Stream {
            peer: socket.peer_addr()?,
            local: socket.local_addr()?,
            socket,
            tls: tls.map(Box::new),
            received: io::Cursor::default(),
        })
    }

    /// Waits until both sides have agreed on keys; at once without TLS.
    pub async fn handshake(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_handshake(context)).await
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// This end's address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether anybody on the way could read along.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &mut self.tls else {
            return Poll::Ready(Ok(()));
        };
        while tls.is_handshaking() {
            ready!(poll_send(&self.socket, tls, context))?;
            if tls.is_handshaking() && !ready!(poll_fetch(&self.socket, tls, context))? {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        poll_send(&self.socket, tls, context)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &mut *self;
        if stream.received.position() < stream.received.get_ref().len() as u64 {
            return Pin::new(&mut stream.received).poll_read(context, buffer);
        }
        let Some(tls) = &mut stream.tls else {
            return Pin::new(&mut stream.socket).poll_read(context, buffer);
        };
        loop {
            // What TLS itself has to say (keys, alerts) goes out with the next chance; reading does not wait for it.
            if let Poll::Ready(Err(error)) = poll_send(&stream.socket, tls, context) {
                return Poll::Ready(Err(error));
            }
            match tls.reader().read(buffer.initialize_unfilled()) {
                Ok(taken) => {
                    buffer.advance(taken);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            if !ready!(poll_fetch(&stream.socket, tls, context))? && tls.is_handshaking() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = &mut *self;
        if stream.tls.is_none() {
            return Pin::new(&mut stream.socket).poll_write(context, bytes);
        }
        // Nothing new before the last is out, so that a slow reader is felt by the writer.
        ready!(stream.poll_handshake(context))?;
        let tls = stream.tls.as_mut().expect("returned above if none");
        let taken = tls.writer().write(bytes)?;
        match poll_send(&stream.socket, tls, context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_handshake(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut *self;
        if let Some(tls) = &mut stream.tls {
            tls.send_close_notify(); // said once, however often it is asked
            ready!(poll_send(&stream.socket, tls, context))?;
        }
        Pin::new(&mut stream.socket).poll_shutdown(context)
    }
}

/// Sends all that the session has ready.
fn poll_send(
    socket: &TcpStream,
    tls: &mut Connection,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while tls.wants_write() {
        ready!(socket.poll_write_ready(context))?;
        match tls.write_tls(&mut Nonblocking(socket)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(()))
}

/// Gives the session what has come; false at the end of it.
fn poll_fetch(
    socket: &TcpStream,
    tls: &mut Connection,
    context: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    loop {
        ready!(socket.poll_read_ready(context))?;
        match tls.read_tls(&mut Nonblocking(socket)) {
            Ok(taken) => {
                if let Err(error) = tls.process_new_packets() {
                    let _ = tls.write_tls(&mut Nonblocking(socket)); // the alert, if there is room
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
                return Poll::Ready(Ok(taken > 0));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// A socket for rustls, which reads and writes without waiting; WouldBlock arms the next readiness.
struct Nonblocking<'a>(&'a TcpStream);

impl Read for Nonblocking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Nonblocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
