//! A switch with hosts on it: an Ethernet of MTU 1500 with IPv4 and IPv6, where groups are heard by all.

use super::frame::{Fate, Frame};
use super::line::Line;
use super::namespace::Namespace;
use crate::support::server::{Server, Setup};
use crate::support::wait_until;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The switch. Hosts stay plugged in until they are dropped.
pub struct Lan {
    switch: Namespace,
    hosts: u8,
}

impl Lan {
    pub fn new() -> Lan {
        let switch = Namespace::new();
        // Without an address of its own, and without snooping: every port gets every group.
        switch.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        switch.ip("link add switch type bridge mcast_snooping 0 forward_delay 0");
        switch.ip("link set switch up");
        Lan { switch, hosts: 0 }
    }

    /// A host on a good cable. The kernel passes trains of datagrams through it in one piece (GSO).
    pub fn host(&mut self) -> Host {
        let host = self.empty_host();
        let port = self.port();
        let netns = host.namespace.path();
        self.switch.ip(&format!(
            "link add {port} type veth peer name eth0 netns {netns}"
        ));
        self.plug(&port);
        host.bring_up();
        host
    }

    /// A host at the end of a line on which `rule` decides what becomes of each frame, one by one.
    pub fn host_behind(
        &mut self,
        rule: impl FnMut(&Frame<'_>) -> Fate + Send + 'static,
    ) -> (Host, Line) {
        let host = self.empty_host();
        let port = self.port();
        let line = Line::new((&self.switch, &port), (&host.namespace, "eth0"), rule);
        self.plug(&port);
        host.bring_up();
        (host, line)
    }

    fn empty_host(&mut self) -> Host {
        self.hosts += 1;
        Host {
            namespace: Namespace::new(),
            number: self.hosts,
        }
    }

    fn port(&self) -> String {
        format!("port{}", self.hosts)
    }

    fn plug(&self, port: &str) {
        self.switch.ip(&format!("link set {port} master switch up"));
    }
}

/// One machine of the network; everything of it runs in [`Host::within`].
pub struct Host {
    namespace: Namespace,
    number: u8,
}

impl Host {
    pub fn ipv4(&self) -> IpAddr {
        Ipv4Addr::new(10, 77, 0, self.number).into()
    }

    pub fn ipv6(&self) -> IpAddr {
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, self.number.into()).into()
    }

    /// Runs `job` on this machine: see [`Namespace::within`].
    pub fn within<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        self.namespace.within(job)
    }

    /// See [`Namespace::ip`].
    pub fn ip(&self, arguments: &str) -> String {
        self.namespace.ip(arguments)
    }

    /// Waits until a program on this machine has joined the group.
    pub fn wait_for_join(&self, group: IpAddr) {
        let group = format!(" {group} ");
        wait_until("a receiver joins", Duration::from_secs(10), || {
            let joined = self.ip("maddress show dev eth0").replace('\n', " \n");
            joined.contains(&group)
        });
    }

    /// Gives this machine one more address in the network, to be used at once.
    pub fn add_address(&self, address: IpAddr) {
        self.ip(&match address {
            IpAddr::V4(_) => format!("address add {address}/24 dev eth0"),
            IpAddr::V6(_) => format!("address add {address}/64 dev eth0 nodad"),
        });
        // The kernel adds the way to an IPv6 address a little later.
        wait_until("an address can be used", Duration::from_secs(10), || {
            let family = if address.is_ipv4() { "-4" } else { "-6" };
            let ways = self.ip(&format!("{family} route show table local {address}"));
            !ways.trim().is_empty()
        });
    }

    /// See [`Namespace::sysctl`].
    pub fn sysctl(&self, name: &str, value: &str) {
        self.namespace.sysctl(name, value);
    }

    /// Starts the server on this machine, listening on both its addresses.
    pub fn serve(&self, setup: Setup) -> Server {
        self.serve_at(&[self.ipv4(), self.ipv6()], setup)
    }

    /// As [`Host::serve`], on these addresses, which the machine has.
    pub fn serve_at(&self, addresses: &[IpAddr], mut setup: Setup) -> Server {
        setup.listen_on(addresses);
        self.within(|| setup.start())
    }

    fn bring_up(&self) {
        // Nobody but the test asks the neighbours anything.
        self.namespace.sysctl("net/ipv6/conf/eth0/accept_ra", "0");
        self.ip("link set eth0 up");
        self.add_address(self.ipv4());
        self.add_address(self.ipv6());
        self.ip("route add default dev eth0");
        self.ip("-6 route add default dev eth0");
    }
}
