//! A connection that was handed over, and a client's own: both as streams, plain and over TLS.

use std::{
    io::{self, Read},
    net::SocketAddr,
    sync::Arc,
};

use funnel_ingest::{Stream, Visitor};
use rcgen::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HEAD: &[u8] = b"POST /show HTTP/1.1\r\n\r\n";
const BODY_BYTES: usize = 1_000_000;

struct House {
    server: Arc<ServerConfig>,
    trusting: Arc<ClientConfig>,
}

impl House {
    fn new() -> House {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        House {
            server: Arc::new(server),
            trusting: client_of(roots),
        }
    }
}

fn client_of(roots: RootCertStore) -> Arc<ClientConfig> {
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn session(config: Arc<ClientConfig>) -> Connection {
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(config, name).unwrap().into()
}

fn listener() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn stream_of(socket: std::net::TcpStream, tls: Option<Connection>) -> Stream {
    socket.set_nonblocking(true).unwrap();
    Stream::new(tokio::net::TcpStream::from_std(socket).unwrap(), tls).unwrap()
}

/// What a shard does: accepts, reads the head, lets go. All that came is in `received`, decrypted.
fn taken_over(listener: &std::net::TcpListener, tls: Option<Arc<ServerConfig>>) -> Visitor {
    let (mut socket, peer) = listener.accept().unwrap();
    let mut received = vec![0; HEAD.len()];
    let tls = tls.map(|config| {
        let mut tls = ServerConnection::new(config).unwrap();
        let mut stream = rustls::Stream::new(&mut tls, &mut socket);
        stream.read_exact(&mut received).unwrap();
        Box::new(Connection::from(tls))
    });
    if tls.is_none() {
        socket.read_exact(&mut received).unwrap();
    }
    socket.set_nonblocking(true).unwrap();
    Visitor {
        local: socket.local_addr().unwrap(),
        socket,
        tls,
        received,
        peer,
    }
}

fn body() -> Vec<u8> {
    (0..BODY_BYTES)
        .map(|index| (index * 7 % 251) as u8)
        .collect()
}

#[tokio::main(flavor = "current_thread")]
async fn conversation(server: Option<Arc<ServerConfig>>, client: Option<Connection>) {
    let encrypted = server.is_some();
    let (listener, address) = listener();
    let shard = std::thread::spawn(move || taken_over(&listener, server));
    let asking = async {
        let mut stream = stream_of(std::net::TcpStream::connect(address).unwrap(), client);
        stream.write_all(HEAD).await.unwrap();
        stream.write_all(&body()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(stream.peer(), address);
        answer
    };
    let answering = async {
        let visitor = tokio::task::spawn_blocking(move || shard.join().unwrap());
        let visitor = visitor.await.unwrap();
        let peer = visitor.peer;
        let mut stream = visitor.into_stream().unwrap();
        assert_eq!((stream.peer(), stream.local()), (peer, address));
        assert_eq!(stream.is_encrypted(), encrypted);
        let mut heard = vec![0; HEAD.len() + BODY_BYTES];
        stream.read_exact(&mut heard).await.unwrap();
        assert!(
            heard.starts_with(HEAD),
            "what the shard had read comes first"
        );
        assert!(heard[HEAD.len()..] == body());
        stream.write_all(&body()).await.unwrap();
        stream.shutdown().await.unwrap();
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert!(answer == body());
}

#[test]
fn a_plain_one_is_heard_from_its_first_byte() {
    conversation(None, None);
}

#[test]
fn an_encrypted_one_goes_on_with_its_session() {
    let house = House::new();
    conversation(
        Some(house.server.clone()),
        Some(session(house.trusting.clone())),
    );
}

#[test]
fn an_end_without_a_goodbye_is_an_end() {
    let house = House::new();
    let heard = until_cut(&house);
    assert_eq!(heard.unwrap(), HEAD);
}

#[tokio::main(flavor = "current_thread")]
async fn until_cut(house: &House) -> io::Result<Vec<u8>> {
    let (listener, address) = listener();
    let server = house.server.clone();
    let shard = std::thread::spawn(move || taken_over(&listener, Some(server)));
    let socket = std::net::TcpStream::connect(address).unwrap();
    let same = socket.try_clone().unwrap();
    let mut client = stream_of(socket, Some(session(house.trusting.clone())));
    client.write_all(HEAD).await.unwrap();
    client.flush().await.unwrap();
    let visitor = tokio::task::spawn_blocking(move || shard.join().unwrap());
    let mut stream = visitor.await.unwrap().into_stream().unwrap();
    same.shutdown(std::net::Shutdown::Write).unwrap(); // FIN, and nothing of TLS
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.map(|_| heard)
}

#[test]
fn a_certificate_nobody_trusts_is_told_by_the_handshake() {
    let house = House::new();
    let error = refused(&house).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

#[tokio::main(flavor = "current_thread")]
async fn refused(house: &House) -> io::Result<()> {
    let (listener, address) = listener();
    let server = house.server.clone();
    let shard = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(server).unwrap();
        tls.complete_io(&mut socket).unwrap_err()
    });
    let wary = session(client_of(RootCertStore::empty()));
    let socket = std::net::TcpStream::connect(address).unwrap();
    let outcome = stream_of(socket, Some(wary)).handshake().await;
    let told = shard.join().unwrap();
    assert!(told.to_string().contains("UnknownCA"), "{told}");
    outcome
}
