//! What is measured: a URL or an announcement, its protocol, the address behind it, and what a viewer opens to get there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use funnel_session::client::{Input, Options, Transport};
use funnel_session::url::{Scheme, Url};
use funnel_uring::net::{DatagramOptions, Interface, datagram_socket, group_receiver};
use funnel_wire::nsc::{Announcement, FILE_BYTES_MAX};
use socket2::Socket;

use crate::group::Group;
use crate::http;
use crate::mms::Mms;
use crate::news::{Heard, News, Over, Said};
use crate::tally::Datagrams;

/// Where viewers go, and how they speak.
#[derive(Clone, Debug)]
pub struct Target {
    /// As given.
    pub text: String,
    /// Where its host name leads; of an announcement, the group.
    pub address: SocketAddr,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Mms(Arc<Url>, Arc<Options>),
    Http(Arc<http::HttpUrl>),
    Group(Arc<Announcement>, Option<Interface>),
}

/// How media comes to viewers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// Over their connections.
    Stream,
    /// As datagrams, a socket for each viewer beside its connection.
    Datagrams,
    /// As datagrams nobody here listens to; connections are for talking.
    Unheard,
    /// To a group that each viewer joins; there are no connections.
    Group,
}

/// One viewer's side of the conversation.
#[derive(Debug)]
pub enum Talk {
    /// MMS over TCP or UDP.
    Mms(Box<Mms>),
    /// A plain GET.
    Http(Box<http::Stream>),
    /// A multicast.
    Group(Box<Group>),
}

impl Target {
    /// Understands the URL and looks its host up, or reads the announcement. `options` are for MMS, `interface` for multicast.
    ///
    /// # Errors
    /// In words for the user.
    pub fn find(text: &str, options: Options, interface: Option<&str>) -> Result<Target, String> {
        let scheme = text
            .split_once("://")
            .map(|(scheme, _)| scheme.to_ascii_lowercase());
        let kind = if text.ends_with(".nsc") && !text.contains("://") {
            let interface = interface.map(Interface::find).transpose();
            let interface = interface.map_err(|error| format!("--interface: {error}"))?;
            Kind::Group(Arc::new(announcement(text)?), interface)
        } else if matches!(scheme.as_deref(), Some("http" | "https" | "mmsh")) {
            Kind::Http(Arc::new(
                http::HttpUrl::from_str(text).map_err(|error| error.to_string())?,
            ))
        } else {
            let url = Url::from_str(text)
                .map_err(|error| format!("{error}, or a file .nsc for a multicast"))?;
            Kind::Mms(Arc::new(url.clone()), Arc::new(over(&url, options)?))
        };
        let address = match &kind {
            Kind::Mms(url, _) => resolve(&url.host, url.port)?,
            Kind::Http(url) => resolve(&url.host, url.port)?,
            Kind::Group(announcement, _) => {
                (announcement.group(), announcement.port().get()).into()
            }
        };
        Ok(Target {
            text: text.to_owned(),
            address,
            kind,
        })
    }

    /// For people.
    pub fn protocol(&self) -> &'static str {
        match (&self.kind, self.way()) {
            (Kind::Http(_), _) => "HTTP",
            (_, Way::Stream) => "MMS over TCP",
            (_, Way::Datagrams) => "MMS over UDP",
            (_, Way::Unheard) => "MMS over UDP, media unheard",
            (_, Way::Group) => "multicast",
        }
    }

    /// How media comes to viewers.
    pub fn way(&self) -> Way {
        match &self.kind {
            Kind::Http(_) => Way::Stream,
            Kind::Mms(_, options) if options.transport == Transport::Tcp => Way::Stream,
            Kind::Mms(_, options) if options.blind => Way::Unheard,
            Kind::Mms(..) => Way::Datagrams,
            Kind::Group(..) => Way::Group,
        }
    }

    /// The first header an announcement has; a server has to be asked.
    pub fn announced(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Group(announcement, _) => announcement
                .formats()
                .iter()
                .next()
                .map(|first| first.header()),
            Kind::Mms(..) | Kind::Http(_) => None,
        }
    }

    /// The same server, asked to send over the connection: who only wants to know what there is needs no more.
    pub fn by_stream(&self) -> Target {
        let kind = match &self.kind {
            Kind::Mms(url, options) => {
                let options = Options {
                    transport: Transport::Tcp,
                    blind: false,
                    ..Options::clone(options)
                };
                Kind::Mms(Arc::clone(url), Arc::new(options))
            }
            other => other.clone(),
        };
        Target {
            kind,
            ..self.clone()
        }
    }

    /// A socket for one viewer's datagrams, if it listens to any; `source` is the address of its connection.
    ///
    /// # Errors
    /// The kernel has none.
    pub fn ears(&self, source: Option<IpAddr>) -> io::Result<Option<Socket>> {
        let options = DatagramOptions {
            receive_buffer_bytes: Some(RECEIVE_BUFFER_BYTES),
            ..DatagramOptions::default()
        };
        let any: IpAddr = match self.address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        match (&self.kind, self.way()) {
            (Kind::Group(announcement, interface), _) => {
                group_receiver(self.address, *interface, announcement.adapter).map(Some)
            }
            (_, Way::Datagrams) => {
                datagram_socket((source.unwrap_or(any), 0).into(), &options).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Host for other requests to the same server.
    pub fn host(&self) -> IpAddr {
        self.address.ip()
    }

    /// Begins a conversation on a new connection, with datagrams at `ears`; what is to be sent first is put into `said`.
    pub fn talk(&self, now: Instant, ears: Option<SocketAddr>, said: &mut Said) -> Talk {
        match &self.kind {
            Kind::Mms(url, options) => {
                let options = match options.transport {
                    Transport::Tcp => Arc::clone(options),
                    Transport::Udp { port } => Arc::new(Options {
                        transport: Transport::Udp {
                            port: ears.map_or(port, |ears| ears.port()),
                        },
                        local_address: ears
                            .map_or(options.local_address.clone(), |ears| ears.ip().to_string()),
                        ..Options::clone(options)
                    }),
                };
                let mut mms = Mms::new(Arc::clone(url), options, self.host(), now);
                mms.take(now, None, said, &mut |_| {});
                Talk::Mms(Box::new(mms))
            }
            Kind::Http(url) => {
                said.stream.extend_from_slice(&http::Stream::request(url));
                Talk::Http(Box::new(http::Stream::new()))
            }
            Kind::Group(announcement, _) => {
                Talk::Group(Box::new(Group::new(Arc::clone(announcement), now)))
            }
        }
    }
}

impl Talk {
    /// Something has happened.
    pub fn hear(
        &mut self,
        now: Instant,
        heard: Heard<'_>,
        said: &mut Said,
        tell: &mut impl FnMut(News<'_>),
    ) {
        match (self, heard) {
            (Talk::Mms(mms), heard) => mms.hear(now, heard, said, tell),
            (Talk::Group(group), heard) => group.hear(now, heard, tell),
            (Talk::Http(stream), Heard::Stream(bytes)) => stream.received(bytes, tell),
            (Talk::Http(_), Heard::Closed) => tell(News::Over(Over::Closed)),
            (Talk::Http(_), Heard::Datagram(..) | Heard::Time) => {}
        }
    }

    /// When it wants to hear that time has passed.
    pub fn wake_at(&self) -> Option<Instant> {
        match self {
            Talk::Mms(mms) => mms.wake_at(),
            Talk::Group(group) => group.wake_at(),
            Talk::Http(_) => None,
        }
    }

    /// What became of datagrams so far.
    pub fn datagrams(&self) -> Datagrams {
        match self {
            Talk::Mms(mms) => mms.datagrams(),
            Talk::Group(group) => group.datagrams(),
            Talk::Http(_) => Datagrams::default(),
        }
    }

    /// Says good-bye, if the protocol has a word for it.
    pub fn leave(&mut self, now: Instant, said: &mut Said) {
        if let Talk::Mms(mms) = self {
            mms.take(now, Some(Input::Close), said, &mut |_| {});
        }
    }
}

/// The options with the transport the URL asks for, if it asks for one.
///
/// # Errors
/// It is another than the options'.
fn over(url: &Url, options: Options) -> Result<Options, String> {
    let transport = match (url.scheme, options.transport) {
        (Scheme::Mmst, Transport::Udp { .. }) => {
            return Err("mmst:// asks for TCP; use mms:// or mmsu:// with --transport udp".into());
        }
        (Scheme::Mmsu, _) => Transport::Udp { port: DEAF_PORT },
        (_, transport) => transport,
    };
    Ok(Options {
        transport,
        ..options
    })
}

fn announcement(path: &str) -> Result<Announcement, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("{path}: too large for an announcement"));
    }
    Announcement::parse(&bytes).map_err(|fault| format!("{path}: {fault}"))
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    let found = (host, port).to_socket_addrs();
    let mut found: Vec<SocketAddr> = found.map_err(|error| format!("{host}: {error}"))?.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    let first = found.first().copied();
    first.ok_or_else(|| format!("{host} has no address"))
}

/// Where viewers without ears say they listen: RTP's, which nobody here has open.
pub const DEAF_PORT: u16 = 5_004;
/// A second at several Mb/s, as the kernel counts; it caps it at `net.core.rmem_max`.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
