//! Multicast: sockets that send to a group, sockets that hear one.
//!
//! IPv4 and IPv6 have options of their own for the sending side and share the protocol-independent joins (RFC 3678), which name
//! the interface by its number.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use nix::{ifaddrs::getifaddrs, net::if_::if_nametoindex};
use socket2::{SockAddr, SockAddrStorage, Socket};

use super::{datagrams::udp_socket, set_option};

/// A network interface of this machine.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Interface {
    index: u32,
}

impl Interface {
    /// The interface of that name (`eth0`), or that has that address (`192.0.2.1`, `2001:db8::1`). NotFound, with a sentence: there is none.
    pub fn find(name_or_address: &str) -> io::Result<Interface> {
        let (name, missing) = match name_or_address.parse::<IpAddr>() {
            Ok(address) => (
                name_of(address)?,
                format!("{address} is no address of this machine"),
            ),
            Err(_) => (
                Some(name_or_address.to_owned()),
                format!("this machine has no network interface {name_or_address:?}"),
            ),
        };
        name.and_then(|name| if_nametoindex(name.as_str()).ok())
            .map(|index| Interface { index })
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, missing))
    }

    /// Its number, from 1.
    pub fn index(self) -> u32 {
        self.index
    }
}

/// How a group is sent to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GroupOptions {
    /// Where the datagrams leave. `None`: where the route to the group leads, or to the source.
    pub interface: Option<Interface>,
    /// Routers they may pass, plus one (TTL; IPv6: hop limit). 1: they stay in the local network.
    pub ttl: u8,
    /// Receivers on this machine hear them too.
    pub loopback: bool,
    /// The address they come from, which source-specific receivers must know. `None`: the interface's.
    pub source: Option<IpAddr>,
}

/// A socket that sends to `group` as told, bound to a port of the kernel's choice. The group is named again with each send
/// (`Batch::send_to`): that works as soon as there is a route, be it later than the socket.
pub fn group_sender(group: SocketAddr, options: &GroupOptions) -> io::Result<Socket> {
    check(group)?;
    let socket = udp_socket(group)?;
    let index = options.interface.map_or(0, Interface::index);
    match group {
        SocketAddr::V4(_) => {
            let interface = libc::ip_mreqn {
                imr_multiaddr: libc::in_addr { s_addr: 0 },
                imr_address: libc::in_addr { s_addr: 0 },
                imr_ifindex: index as libc::c_int,
            };
            // SAFETY: the option is an `ip_mreqn`.
            unsafe { set_option(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &interface)? };
            socket.set_multicast_ttl_v4(options.ttl.into())?;
            socket.set_multicast_loop_v4(options.loopback)?;
        }
        SocketAddr::V6(_) => {
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_hops_v6(options.ttl.into())?;
            socket.set_multicast_loop_v6(options.loopback)?;
        }
    }
    let any = match group {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    };
    let source = SocketAddr::new(options.source.unwrap_or(any), 0);
    socket.bind(&scoped(source, options.interface).into())?;
    Ok(socket)
}

/// A socket that hears `group`, and nothing else, on `interface` (`None`: where the route to the group leads), from anybody or only
/// from `source`. Any number of sockets may hear the same group and port.
pub fn group_receiver(
    group: SocketAddr,
    interface: Option<Interface>,
    source: Option<IpAddr>,
) -> io::Result<Socket> {
    check(group)?;
    let socket = udp_socket(group)?;
    socket.set_reuse_address(true)?;
    // Or it would hear the group also from sources and interfaces that others joined it on.
    let level = match group {
        SocketAddr::V4(_) => {
            socket.set_multicast_all_v4(false)?;
            libc::IPPROTO_IP
        }
        SocketAddr::V6(_) => {
            socket.set_multicast_all_v6(false)?;
            if let Some(Interface { index }) = interface {
                // That looks at the group only, not, as IPv4's does, at the interface too.
                let (level, name) = (libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX);
                // SAFETY: the option is an `int`.
                unsafe { set_option(&socket, level, name, &(index as libc::c_int))? };
            }
            libc::IPPROTO_IPV6
        }
    };
    let group = scoped(group, interface);
    socket.bind(&group.into())?;
    let gsr_interface = interface.map_or(0, Interface::index);
    match source {
        None => {
            let join = libc::group_req {
                gr_interface: gsr_interface,
                gr_group: storage(group),
            };
            // SAFETY: the option is a `group_req`.
            unsafe { set_option(&socket, level, libc::MCAST_JOIN_GROUP, &join)? };
        }
        Some(source) => {
            let join = libc::group_source_req {
                gsr_interface,
                gsr_group: storage(group),
                gsr_source: storage(SocketAddr::new(source, 0)),
            };
            // SAFETY: the option is a `group_source_req`.
            unsafe { set_option(&socket, level, libc::MCAST_JOIN_SOURCE_GROUP, &join)? };
        }
    }
    Ok(socket)
}

fn check(group: SocketAddr) -> io::Result<()> {
    if group.ip().is_multicast() {
        return Ok(());
    }
    let sentence = format!("{} is no multicast address", group.ip());
    Err(io::Error::new(io::ErrorKind::InvalidInput, sentence))
}

/// The address with the interface's number as its scope, which IPv6 wants with link-local addresses and groups.
fn scoped(mut address: SocketAddr, interface: Option<Interface>) -> SocketAddr {
    if let (SocketAddr::V6(six), Some(interface)) = (&mut address, interface)
        && six.scope_id() == 0
    {
        six.set_scope_id(interface.index);
    }
    address
}

fn name_of(address: IpAddr) -> io::Result<Option<String>> {
    let has_it = getifaddrs()?.find(|interface| {
        let own = interface.address.as_ref();
        let own = own.and_then(|own| match address {
            IpAddr::V4(_) => own.as_sockaddr_in().map(|own| IpAddr::V4(own.ip())),
            IpAddr::V6(_) => own.as_sockaddr_in6().map(|own| IpAddr::V6(own.ip())),
        });
        own == Some(address)
    });
    Ok(has_it.map(|interface| interface.interface_name))
}

fn storage(address: SocketAddr) -> libc::sockaddr_storage {
    let mut storage: SockAddrStorage = SockAddr::from(address).as_storage();
    // SAFETY: it is one.
    *unsafe { storage.view_as::<libc::sockaddr_storage>() }
}
