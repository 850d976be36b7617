//! The real binary and real players on networks made for the test: namespaces on a switch, MTU 1500, lines
//! that lose datagrams (`lab`). One module a theme. A missing program or right fails the test with a
//! sentence that says what to do.

mod datagrams_come_from_the_address_called;
mod hostile_datagrams;
mod lab;
mod losses_are_repaired_or_told;
mod multicast_reaches_every_receiver;
mod recorder;
mod relays_in_a_chain;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the tests on loopback use the rest")]
mod support;
mod the_lab_does_what_it_counts;
mod udp_is_blocked;
mod vlc_plays_over_udp;
