//! A server with several addresses in one network: datagrams come from the address the player called. Firewalls and
//! careful players take them from nowhere else.

use crate::lab::frame::{Fate, Frame, Toward};
use crate::lab::lan::Lan;
use crate::recorder::record;
use crate::support::media;
use crate::support::server::Setup;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ListenOn {
    EachAddress,
    /// Of one socket for all addresses the kernel's choice would be the machine's first.
    Everything,
}

#[test]
fn of_a_server_that_names_all_its_addresses() {
    the_second_address_is_called(ListenOn::EachAddress);
}

#[test]
fn of_a_server_that_listens_everywhere() {
    the_second_address_is_called(ListenOn::Everything);
}

fn the_second_address_is_called(listen_on: ListenOn) {
    let second = ["10.77.0.99", "fd77::99"].map(|text| text.parse::<IpAddr>().expect("an address"));
    let mut setup = Setup::new();
    for name in ["four", "six"] {
        setup.file_once(name, &media::file("metadata-unicode.wmv"), 2.0);
    }
    let mut lan = Lan::new();
    let machine = lan.host();
    // Requests for what is lost must find their way too.
    let mut random = fastrand::Rng::with_seed(5);
    let (far, line) = lan.host_behind(move |frame: &Frame<'_>| {
        let is_lossy = frame.toward == Toward::Host && frame.location() > Some(5);
        if is_lossy && random.f64() < 0.1 {
            Fate::Lose
        } else {
            Fate::Pass
        }
    });
    for address in second {
        machine.add_address(address);
    }
    let addresses = match listen_on {
        ListenOn::EachAddress => vec![machine.ipv4(), machine.ipv6(), second[0], second[1]],
        ListenOn::Everything => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    };
    let server = machine.serve_at(&addresses, setup);
    for (address, name) in second.into_iter().zip(["four", "six"]) {
        let recorded = record(&far, &server, name, &server.url("mmsu", address, name));
        let report = recorded.ran.report();
        assert_eq!(
            (recorded.packets, recorded.missing),
            (76, 0),
            "{address}: {report}"
        );
        assert!(recorded.recovered > 0, "{address}: {report}");
    }
    assert!(line.counts().to_switch.came > 0);
    server.stop();
}
