//! `[channels.NAME.multicast]` and `[multicast]`: groups, and which of them cannot or should not be used.
//!
//! The rules are those of `docs/protocol/msb-nsc.md` §12.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;

use super::fault::Fault;
use super::read::place_of;
use super::schema::CHANNEL_MULTICAST;
use super::walk::{Entry, Section, Walk, join, shortened};
use super::{ChannelMulticast, Config, Interface, Multicast};

/// Groups of earlier channels, with their places.
pub(super) type Groups = Vec<(SocketAddr, Range<usize>)>;

/// A channel's group, if it is sound and no other channel has it.
pub(super) fn of_channel(
    walk: &mut Walk,
    channel: &Section<'_>,
    earlier: &mut Groups,
) -> Option<ChannelMulticast> {
    let entry = walk.entry(channel, "multicast")?;
    let section = walk.section(entry, CHANNEL_MULTICAST)?;
    let source_specific = walk.boolean(&section, "source_specific").unwrap_or(false);
    let interface = interface(walk, &section);
    let ttl = walk.integer(&section, "ttl", 0..=255, "").unwrap_or(8);
    let span = walk.integer(&section, "span", 0..=14, " packets");
    let log_url = log_url(walk, &section);
    let entry = walk.required(&section, "address", EXAMPLES)?;
    let address = group(walk, &entry, source_specific)?;
    is_free(walk, &entry, address, earlier).then_some(())?;
    earlier.push((address, entry.value_span()));
    let multicast = ChannelMulticast {
        address,
        ttl,
        interface,
        source_specific,
        span: span.unwrap_or(10),
        log_url,
    };
    check_together(walk, &section, &multicast);
    Some(multicast)
}

const EXAMPLES: &str = "a group and a port: \"239.192.48.179:30864\", \"[ff15::48:179]:30864\"";

/// The address itself.
fn group(walk: &mut Walk, entry: &Entry<'_>, source_specific: bool) -> Option<SocketAddr> {
    let text = walk.text_of(entry)?;
    let Ok(address) = text.parse::<SocketAddr>() else {
        let message = format!("`{}` is not a group and a port", shortened(&text));
        walk.add(entry.fault(message).help(EXAMPLES));
        return None;
    };
    let ip = address.ip();
    let fault = if !ip.is_multicast() {
        Some((format!("{ip} is not a multicast address"), EXAMPLES))
    } else if address.port() < PORT_MIN {
        Some((
            format!("port {} cannot be used", address.port()),
            "allowed: 1024 to 65535",
        ))
    } else if is_source_specific(ip) && !source_specific {
        Some((
            format!(
                "{ip} is for source-specific multicast, which Windows Media players do not know"
            ),
            "take a group of 239.0.0.0/8 or ff15::/16, or set source_specific = true if only funnel is to receive it",
        ))
    } else {
        match address {
            SocketAddr::V4(address) => fault_of_v4(*address.ip()),
            SocketAddr::V6(address) if address.scope_id() != 0 => Some((
                "the group names a zone".to_owned(),
                "leave it out, and name the interface with the key `interface`",
            )),
            SocketAddr::V6(address) => fault_of_v6(*address.ip()),
        }
    };
    if let Some((message, help)) = fault {
        walk.add(entry.fault(message).help(help));
        return None;
    }
    if let Some((message, help)) = doubt(ip) {
        walk.add(entry.fault(message).help(help).warning());
    }
    Some(address)
}

fn fault_of_v4(ip: Ipv4Addr) -> Option<(String, &'static str)> {
    let [a, b, c, _] = ip.octets();
    ([a, b, c] == [224, 0, 0]).then(|| {
        (
            format!("{ip} is for the network's own protocols and never leaves a subnet"),
            "groups for one's own use are in 239.0.0.0/8: 239.255.x.x within a site, 239.192.x.x within an organization",
        )
    })
}

fn fault_of_v6(ip: Ipv6Addr) -> Option<(String, &'static str)> {
    matches!(scope(ip), 0 | 0xF).then(|| {
        (
            format!("{ip} has a reserved scope"),
            "ff15::/16 is for a site, ff18::/16 for an organization, ff1e::/16 for the world",
        )
    })
}

/// What works but will surprise.
fn doubt(ip: IpAddr) -> Option<(String, &'static str)> {
    const OTHER_V4: &str = "239.255.x.x is for a site, 239.192.x.x for an organization";
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, last] = ip.octets();
            if [a, b, c] == [224, 0, 1] {
                let message = format!("{ip} is assigned to some other protocol");
                return Some((message, OTHER_V4));
            }
            // Ethernet knows the low 23 bits only; those of 224.0.0.x go everywhere.
            (b & 0x7F == 0 && c == 0).then(|| {
                let message = format!(
                    "{ip} is the same as 224.0.0.{last} to Ethernet switches, which send it to every port"
                );
                (message, "take a group whose second and third number are not both 0 (or 128 and 0): 239.192.48.179")
            })
        }
        IpAddr::V6(ip) if scope(ip) == 1 => Some((
            format!("{ip} has the scope of one machine: nobody else will receive it"),
            "ff15::/16 is for a site",
        )),
        IpAddr::V6(ip) if ip.segments()[0] & 0xF0 == 0 => Some((
            format!("{ip} is in the range of assigned groups"),
            "groups for one's own use have a 1 before the scope: ff15::/16 is for a site",
        )),
        IpAddr::V6(_) => None,
    }
}

/// 232.0.0.0/8 and ff3x::/32 (RFC 4607).
fn is_source_specific(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 232,
        IpAddr::V6(ip) => ip.segments()[0] & 0xFFF0 == 0xFF30 && ip.segments()[1] == 0,
    }
}

/// 1 this machine, 2 the link, 5 the site, 8 the organization, 14 the world.
fn scope(ip: Ipv6Addr) -> u16 {
    ip.segments()[0] & 0xF
}

fn is_free(walk: &mut Walk, entry: &Entry<'_>, address: SocketAddr, earlier: &Groups) -> bool {
    if let Some((_, place)) = earlier.iter().find(|(other, _)| *other == address) {
        let fault = entry.fault(format!("{address} is the group of two channels"));
        walk.add(
            fault
                .label("the second one")
                .other(place.clone(), "the first one")
                .help("give each channel a group of its own"),
        );
        return false;
    }
    let port = address.port();
    if let Some((other, place)) = earlier.iter().find(|(other, _)| other.port() == port) {
        let fault = entry.fault(format!(
            "{address} has the port of {other}: receivers of one may get the packets of both"
        ));
        walk.add(
            fault
                .label("the second one")
                .other(place.clone(), "the first one")
                .help("give each group a port of its own")
                .warning(),
        );
    }
    true
}

fn interface(walk: &mut Walk, section: &Section<'_>) -> Option<Interface> {
    const HOW: &str = "the name of a network interface, \"eth0\", or one of this machine's addresses, \"192.0.2.7\"";
    let entry = walk.entry(section, "interface")?;
    let text = walk.text_of(&entry)?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        if ip.is_unspecified() || ip.is_multicast() {
            let message = format!("{ip} is not the address of an interface");
            walk.add(entry.fault(message).help(HOW));
            return None;
        }
        return Some(Interface::Address(ip));
    }
    // IFNAMSIZ less the NUL.
    let is_name = (1..=15).contains(&text.len())
        && text
            .chars()
            .all(|letter| !letter.is_whitespace() && !letter.is_control() && letter != '/');
    if !is_name {
        let message = format!("`{}` is not a network interface", shortened(&text));
        walk.add(entry.fault(message).help(HOW));
        return None;
    }
    Some(Interface::Name(text))
}

fn log_url(walk: &mut Walk, section: &Section<'_>) -> Option<String> {
    let entry = walk.entry(section, "log_url")?;
    let text = walk.text_of(&entry)?;
    let rest = text.strip_prefix("http://").unwrap_or_default();
    let is_url = !rest.is_empty()
        && !rest.starts_with('/')
        && text.len() <= LOG_URL_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_url {
        let message = format!(
            "`{}` is not a URL that players can log to",
            shortened(&text)
        );
        walk.add(
            entry
                .fault(message)
                .help("http://HOST/PATH; players know no https here"),
        );
        return None;
    }
    Some(text)
}

/// Values that do not go with each other.
fn check_together(walk: &mut Walk, section: &Section<'_>, multicast: &ChannelMulticast) {
    let ip = multicast.address.ip();
    let fault = |key: &str, message: String| {
        Fault::new(
            join(&section.path, key),
            Some(place_of(section, key)),
            message,
        )
    };
    let source = match &multicast.interface {
        Some(Interface::Address(source)) => Some(*source),
        _ => None,
    };
    if let Some(source) = source.filter(|source| source.is_ipv4() != ip.is_ipv4()) {
        let message = format!("{source} cannot send to {ip}: one is IPv4, the other IPv6");
        walk.add(
            fault("interface", message)
                .help("name the interface, or give its address of that kind"),
        );
    } else if multicast.source_specific && source.is_none() {
        let message = "receivers must be told who sends, and no address is given".to_owned();
        walk.add(fault("source_specific", message).help(
            "interface = \"192.0.2.7\": the address of this machine that the datagrams come from",
        ));
    } else if multicast.source_specific {
        let message = "Windows Media players cannot receive a source-specific group".to_owned();
        walk.add(
            fault("source_specific", message)
                .help("funnel record --source-specific can")
                .warning(),
        );
    }
    let is_link_local = matches!(ip, IpAddr::V6(ip) if scope(ip) == 2);
    if is_link_local && multicast.interface.is_none() {
        let message = format!("{ip} is a group of one link, and no interface is named");
        walk.add(fault("address", message).help("add interface = \"eth0\""));
    }
    if multicast.ttl == 0 {
        let message = "with ttl = 0 nothing leaves this machine".to_owned();
        walk.add(
            fault("ttl", message)
                .help("1 reaches the subnet, 8 a site with a few routers")
                .warning(),
        );
    }
}

/// `[multicast]`
pub(super) fn shared(walk: &mut Walk, section: &Section<'_>) -> Multicast {
    let directory = walk
        .entry(section, "nsc_directory")
        .and_then(|entry| folder(walk, &entry));
    Multicast {
        nsc_directory: directory,
    }
}

fn folder(walk: &mut Walk, entry: &Entry<'_>) -> Option<PathBuf> {
    let text = walk.text_of(entry)?;
    let path = walk.surroundings.folder.join(&text);
    if !text.is_empty() && path.is_dir() {
        return Some(path);
    }
    let message = match text.is_empty() {
        true => "the path is empty".to_owned(),
        false => format!("{} is not a folder", path.display()),
    };
    walk.add(entry.fault(message).help(
        "a folder that exists, best one that a web server shows; relative paths begin at the folder of the configuration file",
    ));
    None
}

/// Groups nobody can find: neither at `http://HOST/NAME.nsc` nor in a file.
pub(super) fn warn_about_unannounced(walk: &mut Walk, config: &Config) {
    let listen = &config.listen;
    if !listen.http.is_empty() || !listen.https.is_empty() {
        return;
    }
    let mut channels = config.channels.iter();
    let first = channels.find(|channel| channel.multicast.is_some());
    if let (None, Some(channel)) = (&config.multicast.nsc_directory, first) {
        let path = format!("{}.multicast", join("channels", &channel.name));
        let span = walk.span_of(&path);
        let message =
            "the .nsc file is neither written nor shown over HTTP, so no player finds the group"
                .to_owned();
        walk.add(
            Fault::new(path, span, message)
                .help("[listen] http, or [multicast] nsc_directory = \"FOLDER\"")
                .warning(),
        );
    }
}

/// Ports below belong to the system's services.
const PORT_MIN: u16 = 1024;
/// What a string of an `.nsc` file holds.
const LOG_URL_BYTES_MAX: usize = 2048;
