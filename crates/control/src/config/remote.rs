//! Sources and channels that are on other machines: pushed, pulled, redirected to.

use std::net::SocketAddr;

use super::read::place_of;
use super::source::readable_file;
use super::walk::{Entry, Section, Walk, join, shortened};
use super::{Fault, PullConfig, PushConfig};

/// `kind = "push"`
pub(super) fn push(walk: &mut Walk, section: &Section<'_>) -> Option<PushConfig> {
    let user = walk
        .entry(section, "user")
        .and_then(|entry| user(walk, &entry));
    let password_hash = walk
        .entry(section, "password_hash")
        .and_then(|entry| password_hash(walk, &entry));
    let takeover = walk.boolean(section, "takeover").unwrap_or(false);
    let tcp = walk
        .entry(section, "tcp")
        .and_then(|entry| tcp(walk, &entry));
    let has = |key| section.table.contains_key(key);
    for (there, missing, help) in [
        ("user", "password_hash", "`funnel password USER` makes one"),
        (
            "password_hash",
            "user",
            "the name the encoder gives, as the hash was made for",
        ),
    ] {
        if has(there) && !has(missing) {
            let fault = Fault::new(
                join(&section.path, there),
                Some(place_of(section, there)),
                format!("`{there}` needs `{missing}`"),
            );
            walk.add(fault.help(help));
        }
    }
    if !has("user") && !has("password_hash") {
        let fault = Fault::new(
            section.path.clone(),
            Some(section.span.clone()),
            "everybody who reaches this server may push to this channel",
        );
        walk.add(
            fault
                .help("add user and password_hash: `funnel password USER` prints both lines")
                .warning(),
        );
    }
    if let Some(tcp) = tcp.filter(|tcp| has("user") && !tcp.ip().is_loopback()) {
        let fault = Fault::new(
            join(&section.path, "tcp"),
            Some(place_of(section, "tcp")),
            format!("whoever reaches {tcp} pushes without a password"),
        );
        walk.add(
            fault
                .help("raw TCP has no passwords: listen on 127.0.0.1, or guard the port with a firewall")
                .warning(),
        );
    }
    Some(PushConfig {
        user,
        password_hash,
        takeover,
        tcp,
    })
}

fn user(walk: &mut Walk, entry: &Entry<'_>) -> Option<String> {
    let text = walk.text_of(entry)?;
    if is_user_name(&text) {
        return Some(text);
    }
    let fault = entry.fault(format!("`{}` cannot be a user's name", shortened(&text)));
    walk.add(fault.help("1 to 64 characters, without : \" and \\"));
    None
}

/// Whether somebody who pushes may be called that: 1 to 64 characters, without `:`, `"` and `\`.
pub fn is_user_name(text: &str) -> bool {
    // A colon ends the name in Basic and in the hash of Digest (RFC 7617 §2, RFC 7616 §3.4.2).
    (1..=64).contains(&text.len())
        && text
            .chars()
            .all(|letter| !letter.is_control() && !matches!(letter, ':' | '"' | '\\'))
}

fn password_hash(walk: &mut Walk, entry: &Entry<'_>) -> Option<String> {
    let text = walk.text_of(entry)?;
    let is_digest = text
        .strip_prefix("digest:")
        .is_some_and(|hash| hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_digest || text.starts_with("$argon2id$") {
        return Some(text);
    }
    let fault = entry.fault("this is not a hash that funnel made");
    walk.add(
        fault.help("`funnel password USER` asks for the password and prints the line to paste"),
    );
    None
}

fn tcp(walk: &mut Walk, entry: &Entry<'_>) -> Option<SocketAddr> {
    let text = walk.text_of(entry)?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Some(address),
        _ => {
            let fault = entry.fault(format!(
                "`{}` is not an address to listen on",
                shortened(&text)
            ));
            walk.add(fault.help(
                "an address and a port: \"127.0.0.1:9000\", \"0.0.0.0:9000\" (every IPv4 address)",
            ));
            None
        }
    }
}

/// `kind = "pull"`
pub(super) fn pull(walk: &mut Walk, section: &Section<'_>) -> Option<PullConfig> {
    const HOW: &str =
        "url = \"http://origin:8080/NAME\", or mms://, mmst://, mmsu://, mmsh://, https://";
    const SCHEMES: [&str; 6] = ["http", "https", "mms", "mmst", "mmsu", "mmsh"];
    let on_demand = walk.boolean(section, "on_demand").unwrap_or(false);
    let ca = walk.entry(section, "ca").and_then(|entry| {
        readable_file(
            walk,
            &entry,
            "ca = \"FILE\", certificates in PEM that are trusted",
        )
    });
    let entry = walk.required(section, "url", HOW)?;
    let url = url(walk, &entry, &SCHEMES, HOW)?;
    Some(PullConfig { url, on_demand, ca })
}

/// `redirect = "…"`: the channel is elsewhere, and has no source here.
pub(super) fn redirect(
    walk: &mut Walk,
    section: &Section<'_>,
    entry: &Entry<'_>,
) -> Option<String> {
    const HOW: &str = "redirect = \"mms://other.example.org/NAME\"";
    const SCHEMES: [&str; 4] = ["mms", "mmst", "mmsu", "http"];
    for key in ["source", "fallback", "multicast", "start"] {
        if section.table.contains_key(key) {
            let fault = Fault::new(
                join(&section.path, key),
                Some(place_of(section, key)),
                format!("a channel that is elsewhere has no `{key}`"),
            );
            walk.add(fault.help(format!("leave out `{key}` or `redirect`")));
        }
    }
    let url = url(walk, entry, &SCHEMES, HOW)?;
    let authority = url.split('/').nth(2).unwrap_or_default();
    if authority.contains('@') {
        let fault =
            entry.fault("every player is told this address, and would be told the login in it");
        walk.add(fault.help("leave out what stands in front of the @"));
        return None;
    }
    Some(url)
}

/// Scheme, host and no character that could end it early; what it leads to is found out when it is used.
fn url(walk: &mut Walk, entry: &Entry<'_>, schemes: &[&str], help: &str) -> Option<String> {
    let text = walk.text_of(entry)?;
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_url = schemes.contains(&scheme)
        && !authority.is_empty()
        && text.len() <= URL_BYTES_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if is_url {
        return Some(text);
    }
    let message = match authority.contains('@') {
        true => "this is not a URL that can be used here".to_owned(), // there may be a password in it
        false => format!("`{}` is not a URL that can be used here", shortened(&text)),
    };
    walk.add(entry.fault(message).help(help));
    None
}

/// Windows Media Player takes no longer ones in a redirect (`docs/protocol/wmsp.md` §14.2).
const URL_BYTES_MAX: usize = 256;
