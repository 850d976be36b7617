//! What a viewer's sequence numbers meant: where in which log the packet of a number lies, so that it can be sent again.
//!
//! A sequence number counts the packets a viewer got, a cursor the packets of a log. Joins, jumps, switches and packets
//! that are not for the viewer bend the line between the two, so each straight piece has a mark where it begins. In a
//! whole log nearly always one mark serves for ever; where packets are left out, marks stand close together and the way
//! from a mark to the packet is walked, by the same steps as the first time.

use arrayvec::ArrayVec;

use crate::viewer::Run;

/// Names a log this shard reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LogId {
    /// Place in the table of feeds.
    pub(crate) feed: u32,
    /// Tells it from those that had the place before.
    pub(crate) number: u32,
}

/// The marks of one viewer.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    newest: Option<Mark>,
    /// Where the last train ended.
    end: Option<(LogId, Run)>,
    /// The marks before the newest, oldest first.
    older: ArrayVec<Mark, OLDER_MAX>,
}

/// Where a piece of the way begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Mark {
    pub(crate) log: LogId,
    pub(crate) run: Run,
    /// First sequence number that is not of this piece.
    until: u32,
    /// No packet of the log is left out, and all are sent in their usual form.
    straight: bool,
}

/// The line of the newest mark, kept where every train looks: a train along it changes nothing but the place where it ends,
/// which is where the viewer stands. So the trail itself is written only at bends, and when somebody wants to read it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Piece {
    log: LogId,
    /// Low half of the cursor less the sequence number.
    offset: u32,
}

impl Piece {
    /// Every train is to be noted.
    pub(crate) const NONE: Self = Self {
        log: LogId {
            feed: u32::MAX,
            number: u32::MAX,
        },
        offset: 0,
    };

    fn of(log: LogId, at: Run) -> Self {
        Self {
            log,
            offset: (at.cursor as u32).wrapping_sub(at.sequence),
        }
    }

    /// Whether a train lies on the line from its first packet to its last.
    #[inline]
    pub(crate) fn holds(&self, log: LogId, start: Run, end: Run) -> bool {
        is_straight(start, end) && *self == Self::of(log, start)
    }
}

/// No packet between is left out, and all are sent in their usual form.
#[inline]
fn is_straight(start: Run, end: Run) -> bool {
    let packets = end.sequence.wrapping_sub(start.sequence);
    start.joined_at.is_none() && end.cursor - start.cursor == u64::from(packets)
}

impl Trail {
    /// The viewer's next packet has this number: all before it are of the newest piece, if trains along it were not noted.
    pub(crate) fn settle(&mut self, piece: &mut Piece, sequence: u32) {
        if std::mem::replace(piece, Piece::NONE) == Piece::NONE {
            return;
        }
        if let Some(last) = &mut self.newest {
            last.until = sequence;
            self.end = Some((last.log, last.nearest(sequence)));
        }
    }

    /// Notes a train that leaves: where the viewer stood before and stands behind it.
    pub(crate) fn note(&mut self, piece: &mut Piece, log: LogId, start: Run, end: Run) {
        self.settle(piece, start.sequence);
        self.add(log, start, end);
        *piece = match &self.newest {
            Some(last) if last.straight => Piece::of(log, start),
            _ => Piece::NONE,
        };
    }

    fn add(&mut self, log: LogId, start: Run, end: Run) {
        let straight = is_straight(start, end);
        let goes_on = self.end == Some((log, start));
        self.end = Some((log, end));
        if let Some(last) = self.newest.as_mut().filter(|_| goes_on) {
            let near = start.sequence.wrapping_sub(last.run.sequence) < STRIDE;
            if if last.straight { straight } else { near } {
                last.until = end.sequence;
                return;
            }
        }
        let before = self.newest.replace(Mark {
            log,
            run: start,
            until: end.sequence,
            straight,
        });
        if self.older.is_full() {
            self.older.remove(0);
        }
        self.older.extend(before);
    }

    /// The last train, which began at `start`, did not leave after all.
    pub(crate) fn take_back(&mut self, piece: &mut Piece, start: Run) {
        *piece = Piece::NONE;
        if let (Some(last), Some((_, end))) = (&mut self.newest, &mut self.end) {
            last.until = start.sequence;
            *end = start;
        }
    }

    /// The mark before the packet with this number.
    pub(crate) fn find(&self, sequence: u32) -> Option<&Mark> {
        self.newest
            .iter()
            .chain(self.older.iter().rev())
            .find(|mark| {
                let begin = mark.run.sequence;
                sequence.wrapping_sub(begin) < mark.until.wrapping_sub(begin)
            })
    }

    /// Whether no packet with this number has left yet.
    pub(crate) fn is_ahead(&self, sequence: u32) -> bool {
        let ahead = |(_, end): (LogId, Run)| sequence.wrapping_sub(end.sequence) < 1 << 31;
        self.end.is_some_and(ahead)
    }

    /// Forgets all of it.
    pub(crate) fn clear(&mut self) {
        self.newest = None;
        self.older.clear();
        self.end = None;
    }
}

impl Mark {
    /// Where the packet with this number lies, or a place before it from which to walk there.
    pub(crate) fn nearest(&self, sequence: u32) -> Run {
        if !self.straight {
            return self.run;
        }
        Run {
            cursor: self.run.cursor + u64::from(sequence.wrapping_sub(self.run.sequence)),
            sequence,
            ..self.run
        }
    }
}

/// Marks per viewer besides the newest: with packets left out all the time, half as many times [`STRIDE`] packets back. A player sees 8
/// bits of the numbers, so it cannot name packets further back than 256 (protocol page §4.4).
const OLDER_MAX: usize = 11;
/// Sequence numbers from one mark to the next on a way that is walked.
const STRIDE: u32 = 64;

#[cfg(test)]
mod tests {
    use funnel_session::server::Framing;

    use super::*;

    const LOG: LogId = LogId { feed: 3, number: 9 };

    fn run(cursor: u64, sequence: u32, joined_at: Option<u64>) -> Run {
        Run {
            framing: Framing::default(),
            cursor,
            sequence,
            joined_at,
        }
    }

    #[test]
    fn a_straight_way_needs_one_mark_for_ever() {
        let (mut trail, mut piece) = (Trail::default(), Piece::NONE);
        let mut at = run(5000, u32::MAX - 20, None); // the numbers wrap on the way
        let mut noted = 0;
        for _ in 0..1000 {
            let end = run(at.cursor + 5, at.sequence.wrapping_add(5), None);
            if !piece.holds(LOG, at, end) {
                trail.note(&mut piece, LOG, at, end);
                noted += 1;
            }
            at = end;
        }
        assert_eq!(noted, 1);
        trail.settle(&mut piece, at.sequence);
        assert!(trail.older.is_empty());
        for back in [1, 7, 4999, 5000] {
            let sequence = at.sequence.wrapping_sub(back);
            let mark = trail.find(sequence).expect("it was sent");
            assert_eq!(
                mark.nearest(sequence),
                run(at.cursor - u64::from(back), sequence, None)
            );
        }
        assert!(trail.find(at.sequence).is_none(), "not sent yet");
        assert!(trail.is_ahead(at.sequence) && !trail.is_ahead(at.sequence.wrapping_sub(1)));
        assert!(trail.find(at.sequence.wrapping_sub(5001)).is_none());
    }

    #[test]
    fn bends_have_marks_and_gaps_between_runs_belong_to_nobody() {
        let (mut trail, mut piece) = (Trail::default(), Piece::NONE);
        trail.note(&mut piece, LOG, run(100, 0, Some(100)), run(104, 4, None)); // joins
        trail.note(&mut piece, LOG, run(104, 4, None), run(170, 70, None)); // still walked
        trail.note(&mut piece, LOG, run(170, 70, None), run(180, 80, None)); // straight from here
        trail.note(&mut piece, LOG, run(180, 80, None), run(188, 84, None)); // leaves some out
        trail.note(&mut piece, LOG, run(188, 84, None), run(190, 86, None)); // still walked
        trail.note(&mut piece, LOG, run(300, 86, None), run(301, 87, None)); // jumped
        trail.settle(&mut piece, 87); // the run ends
        trail.note(&mut piece, LOG, run(301, 256, None), run(303, 258, None)); // another one
        let found = |sequence| trail.find(sequence).map(|mark| mark.nearest(sequence));
        assert_eq!(found(2), Some(run(100, 0, Some(100))));
        assert_eq!(found(69), Some(run(100, 0, Some(100))));
        assert_eq!(found(77), Some(run(177, 77, None)));
        assert_eq!(found(83), Some(run(180, 80, None)));
        assert_eq!(found(85), Some(run(180, 80, None)));
        assert_eq!(found(86), Some(run(300, 86, None)));
        assert_eq!(found(87), None);
        assert_eq!(found(255), None);
        assert_eq!(found(257), Some(run(302, 257, None)));
    }

    #[test]
    fn what_was_taken_back_is_not_found_until_it_is_sent() {
        let (mut trail, mut piece) = (Trail::default(), Piece::NONE);
        trail.note(&mut piece, LOG, run(0, 0, None), run(5, 5, None));
        trail.note(&mut piece, LOG, run(5, 5, None), run(10, 10, None));
        trail.take_back(&mut piece, run(5, 5, None));
        assert!(trail.find(4).is_some());
        assert!(trail.find(5).is_none());
        trail.note(&mut piece, LOG, run(5, 5, None), run(8, 8, None));
        assert!(trail.older.is_empty());
        assert!(trail.find(7).is_some());
        assert!(trail.find(8).is_none());
    }

    #[test]
    fn old_marks_make_room() {
        let (mut trail, mut piece) = (Trail::default(), Piece::NONE);
        for n in 0..1000 {
            let cursor = u64::from(n) * 10; // a packet in ten
            trail.note(
                &mut piece,
                LOG,
                run(cursor, n, None),
                run(cursor + 10, n + 1, None),
            );
        }
        assert!(trail.find(999).is_some());
        assert!(trail.find(1000 - 256).is_some());
        assert!(trail.find(0).is_none());
    }
}
