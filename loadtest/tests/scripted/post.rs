//! The scripted server's UDP: one socket with its listener's address and port. Requests to send again name their player's
//! session, and wait here until its thread looks.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Mutex;

use funnel_wire::mms::ResendRequest;

pub struct Post {
    socket: UdpSocket,
    /// Sequence numbers asked for, by client id.
    asked: Mutex<HashMap<u32, Vec<u32>>>,
}

impl Post {
    /// `None` if somebody else has the port.
    pub fn beside(listener: &TcpListener) -> Option<Post> {
        let socket = UdpSocket::bind(listener.local_addr().expect("it is bound")).ok()?;
        socket.set_nonblocking(true).expect("it is a socket");
        Some(Post {
            socket,
            asked: Mutex::default(),
        })
    }

    pub fn send(&self, to: SocketAddr, datagram: &[u8]) {
        let sent = self.socket.send_to(datagram, to);
        assert_eq!(sent.expect("loopback takes it"), datagram.len());
    }

    /// What this player has asked for since the last time.
    pub fn asked(&self, client_id: u32) -> Vec<u32> {
        let mut asked = self.asked.lock().expect("no thread panicked");
        let mut datagram = [0; 2_048];
        while let Ok((bytes, _)) = self.socket.recv_from(&mut datagram) {
            let request = ResendRequest::decode(&datagram[..bytes]).expect("a good request");
            let sequences = request.sequences.iter().map(|sequence| sequence.get());
            let waiting = asked.entry(request.client_id).or_default();
            waiting.extend(sequences);
        }
        asked.remove(&client_id).unwrap_or_default()
    }
}
