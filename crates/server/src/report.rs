//! Writes what an engine reports to the log: who came, who was refused, who left and why.
//!
//! Ordinary comings and goings are `info`. Players that break the protocol, and refusals, are peer-controlled: beyond a
//! few lines per period they are only counted, and the count is one line.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use funnel_control::access::ClientLogRecord;
use funnel_engine::{Counters, Reason, Report, ViewerStats};
use funnel_session::ClientLog;
use funnel_session::server::Desk;
use tracing::{info, warn};

pub(crate) struct Reporter {
    shard: usize,
    period_began: Option<Instant>,
    lines: u32,
    suppressed: u32,
    /// Datagrams dropped unread, as said last.
    unheard: u64,
    /// The kernel cannot hand connections over, and that was said.
    said_no_hand_over: bool,
}

impl Reporter {
    pub(crate) fn new(shard: usize) -> Self {
        Self {
            shard,
            period_began: None,
            lines: 0,
            suppressed: 0,
            unheard: 0,
            said_no_hand_over: false,
        }
    }

    pub(crate) fn write(&mut self, reports: impl Iterator<Item = Report>, now: Instant) {
        for report in reports {
            match report {
                Report::ClientLog { peer, channel, log } => {
                    if self.allow(now) {
                        record(peer.ip(), channel, &log).emit();
                    }
                }
                Report::Opened {
                    peer,
                    agent,
                    channel,
                } => {
                    if self.allow(now) {
                        info!(shard = self.shard, %peer, channel, agent, "viewer opened");
                    }
                }
                Report::Refused {
                    peer,
                    agent,
                    wanted,
                    hr,
                } => {
                    if self.allow(now) {
                        info!(shard = self.shard, %peer, agent, wanted = %shorten(&wanted), %hr, "viewer refused");
                    }
                }
                Report::Fragments {
                    channel,
                    packet_bytes,
                    fitting_bytes,
                } => warn!(
                    shard = self.shard,
                    channel,
                    packet_bytes,
                    fitting_bytes,
                    "packets larger than a datagram: over UDP they travel as IP fragments, and one lost fragment loses the packet; let the encoder make smaller ones"
                ),
                Report::SegmentationOff { errno } => {
                    let error = std::io::Error::from_raw_os_error(errno);
                    warn!(
                        shard = self.shard,
                        %error,
                        "the kernel or a network device does not cut trains into datagrams (UDP_SEGMENT): over UDP each packet is sent alone from now on, which costs several times the CPU"
                    );
                }
                Report::Left {
                    peer,
                    agent,
                    channel,
                    reason,
                    stats,
                } => {
                    if self.allow(now) {
                        self.left(
                            &peer.to_string(),
                            &agent,
                            channel.as_deref(),
                            &reason,
                            &stats,
                        );
                    }
                }
            }
        }
    }

    pub(crate) fn accept_failed(&mut self, errno: i32, now: Instant) {
        if self.allow(now) {
            let error = std::io::Error::from_raw_os_error(errno);
            warn!(shard = self.shard, %error, "a connection could not be accepted: the table of connections is full, or the kernel refused");
        }
    }

    /// A connection that no player made could not leave the ring, and is closed.
    pub(crate) fn not_handed_over(&mut self, error: &std::io::Error, now: Instant) {
        if error.raw_os_error() == Some(EOPNOTSUPP) {
            if !std::mem::replace(&mut self.said_no_hand_over, true) {
                warn!(
                    shard = self.shard,
                    "this kernel cannot hand connections over (Linux 6.8 and newer can): encoders that push, browsers and requests for announcements are turned away"
                );
            }
        } else if self.allow(now) {
            info!(shard = self.shard, %error, "a connection could not be handed over");
        }
    }

    /// A desk had no place for a connection, which is closed.
    pub(crate) fn turned_away(&mut self, desk: Desk, now: Instant) {
        if self.allow(now) {
            let who = match desk {
                Desk::Ingest => "an encoder",
                Desk::Pages => "a request for a page",
            };
            warn!(
                shard = self.shard,
                "{who} was turned away: too many at once, or funnel is stopping"
            );
        }
    }

    /// A connection to an HTTPS port that does not speak TLS, or not as we do.
    pub(crate) fn tls_failed(&mut self, peer: SocketAddr, error: &rustls::Error, now: Instant) {
        if self.allow(now) {
            info!(shard = self.shard, %peer, %error, "a TLS connection failed");
        }
    }

    /// Says how many datagrams were dropped unread since the last time, if there were any. Call it now and then.
    pub(crate) fn unheard(&mut self, total: u64) {
        let since = total.saturating_sub(self.unheard);
        self.unheard = total;
        if since > 0 {
            warn!(
                shard = self.shard,
                datagrams = since,
                "datagrams were dropped unread: they asked for nothing, or came in a flood"
            );
        }
    }

    /// A UDP socket receives no more.
    pub(crate) fn deaf(&self, result: i32) {
        let error = std::io::Error::from_raw_os_error(-result);
        warn!(
            shard = self.shard,
            %error,
            "a UDP socket receives no more: packets that are lost stay lost for viewers who ask there, until funnel is restarted"
        );
    }

    pub(crate) fn finish(&mut self, counters: &Counters) {
        self.flush();
        let Counters {
            accepted,
            sends,
            packets,
            bytes,
            jumps,
            packets_skipped,
            lag_closed,
            refused,
            faults,
            datagrams,
            ..
        } = counters;
        if *accepted > 0 {
            info!(
                shard = self.shard,
                accepted,
                sends,
                packets,
                bytes,
                jumps,
                packets_skipped,
                lag_closed,
                refused,
                faults,
                "totals"
            );
        }
        if *datagrams > 0 || counters.datagrams_invalid > 0 {
            self.finish_udp(counters);
        }
    }

    fn finish_udp(&self, counters: &Counters) {
        let Counters {
            datagrams,
            datagram_sends,
            datagram_retries,
            datagrams_lost,
            plain_viewers,
            resend_requests,
            resent,
            resends_gone,
            resends_refused,
            datagrams_invalid,
            ..
        } = counters;
        info!(
            shard = self.shard,
            datagrams,
            datagram_sends,
            datagram_retries,
            datagrams_lost,
            plain_viewers,
            resend_requests,
            resent,
            resends_gone,
            resends_refused,
            datagrams_invalid,
            "totals over UDP"
        );
    }

    fn left(
        &self,
        peer: &str,
        agent: &str,
        channel: Option<&str>,
        reason: &Reason,
        stats: &ViewerStats,
    ) {
        let ViewerStats {
            packets,
            bytes,
            packets_skipped,
            jumps,
            lag_ms_max,
        } = *stats;
        let channel = channel.unwrap_or("-");
        let shard = self.shard;
        let why = why(reason);
        match reason {
            Reason::Lag(_) | Reason::PeerFault(_) | Reason::Kernel(_) | Reason::Unflushed => {
                warn!(shard, %peer, channel, agent, packets, bytes, lag_ms_max, jumps, packets_skipped, "viewer closed: {why}");
            }
            Reason::HandedOver => {}
            Reason::Closed(_) | Reason::PeerClosed => {
                info!(shard, %peer, channel, agent, packets, bytes, lag_ms_max, jumps, packets_skipped, "viewer left: {why}");
            }
        }
    }

    /// Whether one more line fits into this period.
    fn allow(&mut self, now: Instant) -> bool {
        if self
            .period_began
            .is_none_or(|began| now.saturating_duration_since(began) >= PERIOD)
        {
            self.flush();
            self.period_began = Some(now);
            self.lines = 0;
        }
        self.lines += 1;
        let allowed = self.lines <= LINES_PER_PERIOD;
        self.suppressed += u32::from(!allowed);
        allowed
    }

    fn flush(&mut self) {
        if self.suppressed > 0 {
            info!(
                shard = self.shard,
                lines = self.suppressed,
                seconds = PERIOD.as_secs(),
                "more about viewers was left out"
            );
            self.suppressed = 0;
        }
    }
}

fn why(reason: &Reason) -> String {
    match reason {
        Reason::Closed(hr) => format!("session ended ({hr})"),
        Reason::HandedOver => "handed over".into(),
        Reason::PeerClosed => "the player closed the connection".into(),
        Reason::PeerFault(fault) => format!("the player broke the protocol ({fault})"),
        Reason::Lag(time) => format!("lag: it took nothing for {:.1} s", time.as_secs_f64()),
        Reason::Unflushed => "lag: it did not take the last messages".into(),
        Reason::Kernel(errno) => std::io::Error::from_raw_os_error(*errno).to_string(),
    }
}

/// Peer-controlled text: escaped, and no longer than a line bears.
fn shorten(text: &str) -> String {
    text.chars()
        .take(80)
        .flat_map(char::escape_default)
        .collect()
}

fn record(peer: std::net::IpAddr, channel: String, log: &ClientLog) -> ClientLogRecord {
    ClientLogRecord {
        peer,
        channel,
        url: log.url.clone(),
        agent: log.user_agent.clone(),
        system: log.os.clone(),
        language: log.language.clone(),
        transport: log.transport.clone(),
        audio_codec: log.audio_codec.clone(),
        video_codec: log.video_codec.clone(),
        hresult: log.result,
        played_ms: log.played_ms,
        received_bytes: log.bytes_received,
        received_packets: log.packets_received,
        lost_net_packets: log.packets_lost_net,
        lost_client_packets: log.packets_lost_client,
        recovered_packets: log.packets_recovered_resent,
        resend_requests: log.resend_requests,
        buffering_count: log.buffering_count,
        buffering_ms: log.buffering_ms,
        bandwidth_bits_per_s: log.average_bits_per_s,
        quality_percent: log.reception_quality_min,
    }
}

/// Linux, `errno.h`: the kernel does not know the operation.
const EOPNOTSUPP: i32 = 95;
const PERIOD: Duration = Duration::from_secs(10);
/// Lines about viewers per shard and period; a flash crowd or an attack is counted beyond.
const LINES_PER_PERIOD: u32 = 200;
