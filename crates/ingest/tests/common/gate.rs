//! What shards do for encoders: takes connections, reads the head of the first request, hands both in at the door.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use funnel_ingest::{Ingest, Visitor};

use super::PATIENCE;

/// A port whose visitors go to the door of `ingest`, until the test ends.
pub fn open(ingest: &Ingest) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let door = ingest.door();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let door = door.clone();
            thread::spawn(move || {
                let visitor = read_head(socket).expect("a head");
                let _ = door.blocking_send(visitor);
            });
        }
    });
    address
}

fn read_head(mut socket: TcpStream) -> io::Result<Visitor> {
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    while !received.windows(4).any(|end| end == b"\r\n\r\n") {
        match socket.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => received.extend_from_slice(&piece[..count]),
        }
    }
    socket.set_nonblocking(true)?;
    let (peer, local) = (socket.peer_addr()?, socket.local_addr()?);
    Ok(Visitor {
        socket,
        tls: None,
        received,
        peer,
        local,
    })
}

/// An encoder by hand.
pub struct Encoder(TcpStream);

impl Encoder {
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("somebody listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        Self(socket)
    }

    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("taken");
    }

    /// The next answer's head.
    pub fn answer(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            let count = self.0.read(&mut byte).expect("an answer in time");
            assert!(count > 0, "closed after {}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        String::from_utf8(head).expect("a head is text")
    }

    /// Everything until the server closes.
    pub fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("closed in time");
        rest
    }
}

/// A program that runs until it ends or the test does.
pub struct Program(Child);

impl Program {
    pub fn run(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a program");
        let child = Command::new(program)
            .args(words)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} must be installed: {error}"));
        Self(child)
    }

    /// Waits for its end.
    pub fn finish(mut self) -> ExitStatus {
        super::wait_for("the end of a program", || {
            self.0.try_wait().expect("a child").or_else(|| {
                thread::sleep(Duration::from_millis(20));
                None
            })
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
