//! One viewer goes ahead: does the target answer, what does it serve, and does it agree to be load tested?
//!
//! Thousands of viewers are an attack on whoever did not ask for them. So a target that is neither this machine nor in a private
//! network must say yes: with a channel of kind `probe`, with the word `load-test` in what it says about itself (`allow_load_test = true`
//! in funnel's configuration), or, for any HTTP server, with a page at [`WELL_KNOWN`].

use std::collections::HashSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use funnel_asf::Header;
use funnel_asf::probe::{Probe, is_probe};

use crate::news::{Heard, News, Over, Said};
use crate::outcome::Served;
use crate::target::Target;

/// What the scout found.
#[derive(Debug)]
pub struct Findings {
    /// For the report.
    pub served: Served,
    /// The marked source, if it is one.
    pub probe: Option<Probe>,
}

/// Opens the target once and watches until its header (or first media) is there.
///
/// # Errors
/// In words for the user: no connection, a refusal, no answer, no consent.
pub fn scout(target: &Target, rate: Option<u64>) -> Result<Findings, String> {
    let findings = match target.announced() {
        Some(header) => findings(target, None, Some(header)),
        None => look(&target.by_stream())?,
    };
    let (served, probe) = (findings.served, findings.probe);
    // Who joins a group asks nothing of who sends to it.
    let allowed = target.announced().is_some()
        || is_ours(target.host())
        || probe.is_some()
        || served
            .server
            .as_deref()
            .is_some_and(funnel_session::allows_load_test)
        || says_yes(target);
    if !allowed {
        return Err(refusal(target));
    }
    let known = probe
        .map(|probe| probe.bits_per_second().into())
        .or(rate)
        .or(served.bits_per_s);
    Ok(Findings {
        served: Served {
            protocol: target.protocol().to_owned(),
            bits_per_s: known,
            ..served
        },
        probe,
    })
}

fn look(target: &Target) -> Result<Findings, String> {
    let address = target.address;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .map_err(|error| format!("cannot connect to {address}: {error}"))?;
    let began = Instant::now();
    let mut said = Said::default();
    let mut talk = target.talk(began, None, &mut said);
    let mut seen = Seen::default();
    let mut buffer = vec![0; 16 << 10];
    while !seen.enough && seen.over.is_none() {
        stream
            .write_all(&said.stream)
            .map_err(|error| format!("{address}: {error}"))?;
        said.stream.clear();
        let left = PATIENCE.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(silent(address, &seen));
        }
        let _ = stream.set_read_timeout(Some(left));
        let heard = match stream.read(&mut buffer) {
            Ok(0) => Heard::Closed,
            Ok(size) => Heard::Stream(&buffer[..size]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(silent(address, &seen));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(format!("{address}: {error}")),
        };
        talk.hear(Instant::now(), heard, &mut said, &mut |news| {
            seen.take(news)
        });
    }
    talk.leave(Instant::now(), &mut said);
    let _ = stream.write_all(&said.stream);
    if let (Some(over), false) = (&seen.over, seen.enough) {
        return Err(format!("{}: {}", target.text, words(over)));
    }
    Ok(findings(target, seen.server, seen.header.as_deref()))
}

fn findings(target: &Target, server: Option<String>, header: Option<&[u8]>) -> Findings {
    let header = header.and_then(|bytes| Header::parse(bytes).ok());
    let probe = header.as_ref().and_then(is_probe);
    Findings {
        served: Served {
            protocol: target.protocol().to_owned(),
            server,
            bits_per_s: header
                .as_ref()
                .map(|header| header.bit_rate().into())
                .filter(|&bits: &u64| bits > 0),
            packet_bytes: header.as_ref().map(Header::packet_bytes),
            marked: probe.is_some(),
        },
        probe,
    }
}

#[derive(Default)]
struct Seen {
    server: Option<String>,
    header: Option<Vec<u8>>,
    enough: bool,
    over: Option<Over>,
}

impl Seen {
    fn take(&mut self, news: News<'_>) {
        match news {
            News::Server(name) => {
                self.server = Some(name.chars().filter(|c| !c.is_control()).take(100).collect())
            }
            News::Header(header) => {
                self.header = Some(header.to_vec());
                self.enough = true;
            }
            News::Packet { .. } | News::Bytes(_) => self.enough = true,
            News::Playing => {}
            News::Over(over) => {
                self.over.get_or_insert(over);
            }
        }
    }
}

fn silent(address: SocketAddr, seen: &Seen) -> String {
    let what = if seen.server.is_some() {
        "answers, but sends no media"
    } else {
        "does not answer"
    };
    format!("{address} {what} for {} s", PATIENCE.as_secs())
}

/// For people.
pub fn words(over: &Over) -> String {
    match over {
        Over::Ended => "the stream ended".into(),
        Over::Refused(why) => format!("refused: {why}"),
        Over::TimedOut => "no answer".into(),
        Over::NoDatagrams => "its datagrams do not come".into(),
        Over::Closed => "the server closed the connection".into(),
        Over::Broken(how) => format!("broken protocol: {how}"),
    }
}

/// This machine, a private network (RFC 1918, RFC 4193, link-local), or one that is for tests by definition: benchmarking
/// (RFC 2544, 198.18.0.0/15) and documentation (RFC 5737, RFC 3849).
fn is_ours(address: IpAddr) -> bool {
    let is_private = match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let is_benchmarking = a == 198 && (18..20).contains(&b);
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_documentation()
                || is_benchmarking
        }
        IpAddr::V6(v6) => {
            let is_documentation = v6.segments()[..2] == [0x2001, 0x0db8];
            v6.is_loopback()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || is_documentation
        }
    };
    is_private || is_own(address)
}

/// One of this machine's addresses: what we would send from is where we would send to.
fn is_own(address: IpAddr) -> bool {
    own_address(address) == Some(address)
}

/// The address this machine has towards another.
pub fn own_address(other: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if other.is_ipv4() {
        [0, 0, 0, 0].into()
    } else {
        [0u16; 8].into()
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Connecting a UDP socket sends nothing.
    socket.connect((other, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// A page at [`WELL_KNOWN`] on the HTTP port that begins with `yes`.
fn says_yes(target: &Target) -> bool {
    let ports: HashSet<u16> = [80, target.address.port()].into();
    ports.into_iter().any(|port| {
        let ask = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect_timeout(
                &SocketAddr::new(target.host(), port),
                WELL_KNOWN_PATIENCE,
            )?;
            stream.set_read_timeout(Some(WELL_KNOWN_PATIENCE))?;
            write!(
                stream,
                "GET {WELL_KNOWN} HTTP/1.0\r\nHost: {}\r\n\r\n",
                in_url(target.host())
            )?;
            let (began, mut answer) = (Instant::now(), Vec::new());
            let mut piece = [0; 512];
            // Whoever says it byte by byte says no.
            while answer.len() < WELL_KNOWN_BYTES_MAX && began.elapsed() < WELL_KNOWN_PATIENCE {
                match stream.read(&mut piece)? {
                    0 => break,
                    size => answer.extend_from_slice(&piece[..size]),
                }
            }
            Ok(is_yes(&answer))
        };
        ask().unwrap_or(false)
    })
}

fn is_yes(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let mut status = head.split_whitespace();
    let is_ok = status
        .next()
        .is_some_and(|version| version.starts_with("HTTP/1."))
        && status.next() == Some("200");
    let mut words = body.split(|c: char| !c.is_alphanumeric());
    let first = words.find(|word| !word.is_empty());
    is_ok && first.is_some_and(|word| word.eq_ignore_ascii_case("yes"))
}

fn refusal(target: &Target) -> String {
    format!(
        "{} is another machine ({}), and it has not agreed to be load tested.\n\
         Thousands of viewers are an attack on whoever did not ask for them. If the server is yours, let it say so:\n\
         - funnel: measure a channel with source = {{ kind = \"probe\", … }}, or set allow_load_test = true under [server]\n\
         - any server: put a page that begins with the word yes at http://{}{WELL_KNOWN}",
        target.text,
        target.host(),
        in_url(target.host()),
    )
}

/// IPv6 in brackets.
fn in_url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// Where any HTTP server can agree.
pub const WELL_KNOWN: &str = "/.well-known/load-test";
const WELL_KNOWN_BYTES_MAX: usize = 4 << 10;
const WELL_KNOWN_PATIENCE: Duration = Duration::from_secs(2);
/// How long the scout waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_private_networks_need_no_consent() {
        for ours in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "198.18.0.1",
            "198.19.255.1",
            "192.0.2.7",
            "2001:db8::5",
            "10.99.98.97",
            "172.31.0.9",
            "192.168.1.2",
            "169.254.7.7",
            "fd00::7",
            "fe80::7",
        ] {
            assert!(is_ours(ours.parse().expect("an address")), "{ours}");
        }
        for foreign in [
            "8.8.8.8",
            "198.20.0.1",
            "172.32.0.1",
            "100.64.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_ours(foreign.parse().expect("an address")), "{foreign}");
        }
    }

    #[test]
    fn the_refusal_says_where_the_page_belongs() {
        let options = funnel_session::client::Options::default();
        let target =
            Target::find("mms://[2606:4700::1111]/live", options, None).expect("an address");
        let page = "http://[2606:4700::1111]/.well-known/load-test";
        assert!(refusal(&target).ends_with(page), "{}", refusal(&target));
    }

    #[test]
    fn a_yes_is_a_page_that_says_so() {
        assert!(is_yes(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nYes, please"));
        assert!(is_yes(b"HTTP/1.1 200 OK\r\n\r\n\nyes\n"));
        assert!(!is_yes(
            b"HTTP/1.1 200 OK\r\n\r\nYesterday's pages are gone"
        ));
        assert!(!is_yes(b"HTTP/1.0 404 Not Found\r\n\r\nyes"));
        assert!(!is_yes(b"HTTP/1.1 200 OK\r\n\r\n<html>welcome</html>"));
        assert!(!is_yes(b"ICY 200 OK\r\n\r\nyes"));
        assert!(!is_yes(b"yes"));
    }
}
