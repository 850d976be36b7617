//! Judges a run that is over: what each player got, and whether anybody's trouble reached anybody else.

use std::time::Duration;

use funnel_engine::Reason;
use funnel_session::HResult;
use funnel_session::client::CloseReason;

use crate::player::{Player, Role, Speech};
use crate::tap::Run;
use crate::world::World;

/// Everything that was wrong, empty when nothing was.
pub fn verdict(world: &World) -> Vec<String> {
    let mut faults = world.outcome.faults.clone();
    for player in &world.players {
        let plan = &player.plan;
        let who = match plan.speech {
            Speech::Mms => plan.manner.name.to_string(),
            speech => format!("{speech:?}"),
        };
        let about = format!(
            "player {} ({:?} {who} on {})",
            plan.id, plan.role, plan.path
        );
        faults.extend(
            player
                .tap
                .faults
                .iter()
                .map(|what| format!("{about}: {what}")),
        );
        let judged = judge(player).into_iter();
        faults.extend(judged.map(|what| format!("{about}: {what}")));
    }
    let turns = world.outcome.turns;
    let seconds = world.config.drains_at.as_secs().max(1);
    if world.outcome.idle_turns > seconds * IDLE_TURNS_PER_SECOND {
        let idle = world.outcome.idle_turns;
        faults.push(format!("{idle} idle turns of {turns} in {seconds} s"));
    }
    faults
}

/// Compares two runs of one seed: what well-behaved players of channels nobody can influence got in both.
pub fn same_bytes(with: &World, without: &World) -> Vec<String> {
    let mut faults = Vec::new();
    let well_behaved = with.players.iter().filter(|player| {
        player.plan.role != Role::Troublesome && player.plan.path != "show" && !is_bounded(player)
            // Who is in the middle of its handshake when the drain begins may or may not get through.
            && player.plan.joins_at + HANDSHAKE < with.config.drains_at
    });
    for player in well_behaved {
        let id = player.plan.id;
        let Some(other) = without.players.iter().find(|other| other.plan.id == id) else {
            continue;
        };
        // Elsewhere a StopPlaying may cross a StreamChange on the wire, and the player takes the answer for the end.
        let is_even = ["news", "radio"].contains(&&*player.plan.path);
        let (a, b) = (player.tap.runs.len(), other.tap.runs.len());
        if is_even && a != b {
            faults.push(format!(
                "player {id}: {a} runs with the others, {b} without"
            ));
        }
        for (number, (a, b)) in player.tap.runs.iter().zip(&other.tap.runs).enumerate() {
            if let Some(what) = differ(a, b, player.tap.selects) {
                faults.push(format!("player {id}, run {number}: {what}"));
            }
        }
    }
    faults
}

fn judge(player: &Player) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(_) = player.connected_at else {
        return faults;
    };
    let Some((reason, stats)) = &player.left else {
        faults.push("the server never let it go".into());
        return faults;
    };
    // A base log counts every number; in a filtered log numbers without packets are nobody's loss.
    if !player.tap.selects && player.tap.skipped() > stats.packets_skipped {
        let (missed, admitted) = (player.tap.skipped(), stats.packets_skipped);
        faults.push(format!("misses {missed} packets, {admitted} are admitted"));
    }
    // Whoever hangs up does so before the kernel's last answer is told.
    if matches!(reason, Reason::Closed(_)) && (player.tap.packets() as u64) > stats.packets {
        let (got, counted) = (player.tap.packets(), stats.packets);
        faults.push(format!("got {got} packets, {counted} are counted"));
    }
    if player.plan.role != Role::Troublesome {
        faults.extend(judge_well_behaved(player, reason, stats.jumps));
    }
    faults
}

fn judge_well_behaved(player: &Player, reason: &Reason, jumps: u32) -> Vec<String> {
    let mut faults = Vec::new();
    // Who wishes to be served slowly may fall out of a short log by that; it is counted like any other lag.
    if !is_bounded(player) && (jumps != 0 || player.tap.skipped() != 0) {
        faults.push(format!("reads fast enough and yet jumped {jumps} times"));
    }
    if !matches!(reason, Reason::Closed(_) | Reason::PeerClosed) {
        faults.push(format!("was let go because of {reason:?}"));
    }
    let late = player.tap.runs.iter().map(|run| run.late_max).max();
    if let Some(late) = late.filter(|late| !is_bounded(player) && *late > LATE_MAX) {
        faults.push(format!("got a packet {late:?} after its publication"));
    }
    if player.played > player.tap.packets() {
        faults.push("its session played more than the wire held".into());
    }
    match player.closed {
        Some(CloseReason::Finished | CloseReason::Refused(_)) => {}
        None if player.is_silent => {}
        // Nothing but a close can be said to who has not spoken yet when the drain begins.
        Some(CloseReason::ConnectionLost)
            if *reason == Reason::Closed(HResult::NS_E_NO_NEW_CONNECTIONS) => {}
        ref other => {
            let (ended, steps) = (player.tap.ended, &player.plan.steps);
            faults.push(format!(
                "its session ended with {other:?}, the server's with {reason:?} after {ended:?}, steps {steps:?}"
            ));
        }
    }
    if let Some(hr) = player
        .end
        .filter(|hr| *hr != HResult::S_OK && *hr != HResult::NS_E_SHUTDOWN)
    {
        faults.push(format!("was told to end with {hr}"));
    }
    faults
}

/// Whether its fast start is bounded: it wished so, or it is served over UDP.
fn is_bounded(player: &Player) -> bool {
    let wishes = player.plan.acceleration;
    player.plan.udp.is_some() || wishes.bandwidth.is_some() || wishes.link.is_some()
}

/// Two runs of one player may begin a clean point and end a train apart; what both hold must be the same.
fn differ(a: &Run, b: &Run, selects: bool) -> Option<String> {
    let (Some(first_a), Some(first_b)) = (a.packets.first(), b.packets.first()) else {
        return None;
    };
    let begin = first_a.location.max(first_b.location);
    // Where they joined at different clean points the later one's first packets are trimmed.
    let settle = if first_a.location == first_b.location {
        0
    } else {
        JOIN_PACKETS
    };
    let from = begin + settle;
    let last = |run: &Run| run.packets.last().map_or(0, |packet| packet.location);
    let to = last(a).min(last(b));
    // That each body is a form of the packet of that number is the tap's finding already. Which form, with or without
    // padding, follows from what the shard has seen of the log, and so from when its first viewer came.
    let part = |run: &Run| -> Vec<u64> {
        (run.packets.iter())
            .filter(|packet| (from..=to).contains(&packet.location))
            .map(|packet| packet.location)
            .collect()
    };
    // A switch takes effect at a clean point that may be another; only what is the same stays comparable.
    if selects {
        return None;
    }
    (part(a) != part(b)).then(|| format!("packets {from} to {to} differ"))
}

/// More than any player's handshake takes.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// Wheel ticks are 5 ms: more idle turns than that is spinning.
const IDLE_TURNS_PER_SECOND: u64 = 250;
/// A train (400 ms), the way, the reading, a late shard.
const LATE_MAX: Duration = Duration::from_millis(900);
/// Packets after which every joiner takes the ordinary forms.
const JOIN_PACKETS: u64 = 64;
