//! Where the log may start: what its truncations were asked for, and what they said.

use std::collections::BTreeMap;

use crate::lsn::Lsn;

/// The front of the log, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Front {
    /// The furthest position that a truncation was asked for: what lies at or behind it stays.
    asked: Lsn,
    /// The furthest start that a truncation has reported: what lies before it stays away.
    reported: Lsn,
    /// By writer: the truncation whose end it has not reported.
    under_way: BTreeMap<u32, Asked>,
    pub(super) truncations: u64,
    pub(super) freeing: u64,
}

/// What one truncation was asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    lsn: Lsn,
    /// The record there had been reported durable.
    durable: bool,
}

impl Front {
    /// A process begins: what the one before it was about is over.
    pub(super) fn begin_life(&mut self) {
        self.under_way.clear();
    }

    /// A writer is about to truncate what lies before `lsn`.
    pub(super) fn begin(&mut self, writer: u32, lsn: Lsn, durable: bool) {
        self.asked = self.asked.max(lsn);
        self.under_way.insert(writer, Asked { lsn, durable });
    }

    /// It has, and was told that the log starts at `start`. No file is `longest` bytes long. `None`
    /// if there was no such truncation.
    pub(super) fn end(
        &mut self,
        writer: u32,
        start: Lsn,
        longest: u64,
    ) -> Option<Result<(), String>> {
        let Asked { lsn, durable } = self.under_way.remove(&writer)?;
        if let Err(wrong) = self.not_too_far(start) {
            return Some(Err(wrong));
        }
        // The file that a durable position lies in is the oldest one left.
        if durable && start.advance(longest) <= lsn {
            return Some(Err(format!("NOT FREED: the log starts at {start}, truncated at {lsn}")));
        }
        self.truncations += 1;
        self.freeing += u64::from(start > self.reported);
        self.reported = self.reported.max(start);
        Some(Ok(()))
    }

    /// Whether a truncation is under way.
    pub(super) fn is_truncating(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Checks that the log may start at `start` after the death of a process.
    pub(super) fn check(&self, start: Lsn) -> Result<(), String> {
        self.not_too_far(start)?;
        if start < self.reported {
            let reported = self.reported;
            return Err(format!("BACK AGAIN: the log starts at {start}, truncated to {reported}"));
        }
        Ok(())
    }

    fn not_too_far(&self, start: Lsn) -> Result<(), String> {
        if start > self.asked {
            let asked = self.asked;
            return Err(format!("TOO FAR: the log starts at {start}, truncated at {asked}"));
        }
        Ok(())
    }

    /// The log starts at `start`, until the next truncation: no earlier one has any more effect.
    pub(super) fn settle(&mut self, start: Lsn) {
        (self.asked, self.reported) = (start, start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file is shorter than this.
    const LONGEST: u64 = 100;

    fn front(steps: &[(u64, bool, u64)]) -> Result<Front, String> {
        let mut front = Front::default();
        for &(lsn, durable, start) in steps {
            front.begin(3, Lsn::new(lsn), durable);
            front.end(3, Lsn::new(start), LONGEST).unwrap()?;
        }
        Ok(front)
    }

    fn name(result: Result<impl Sized, String>) -> String {
        let Err(wrong) = result else { return "right".to_owned() };
        wrong.split(':').next().unwrap().to_owned()
    }

    #[test]
    fn a_truncation_stops_at_its_position_and_less_than_a_file_before_it() {
        for (start, expected) in
            [(1000, "right"), (901, "right"), (900, "NOT FREED"), (1001, "TOO FAR")]
        {
            assert_eq!(name(front(&[(1000, true, start)])), expected, "{start}");
        }
        assert_eq!(name(front(&[(1000, false, 0)])), "right", "nothing is durable there yet");
        assert_eq!(name(front(&[(1000, true, 950), (500, true, 950)])), "right", "no way back");
        assert!(Front::default().end(3, Lsn::ZERO, LONGEST).is_none());
    }

    #[test]
    fn a_log_starts_between_what_was_reported_and_what_was_asked_for() {
        let mut front = front(&[(1000, true, 950), (990, true, 940)]).unwrap();
        assert_eq!((front.truncations, front.freeing), (2, 1));
        front.begin(3, Lsn::new(2000), true);
        assert!(front.is_truncating());
        for (start, expected) in
            [(949, "BACK AGAIN"), (950, "right"), (2000, "right"), (2001, "TOO FAR")]
        {
            assert_eq!(name(front.check(Lsn::new(start))), expected, "{start}");
        }
        front.begin_life();
        assert!(!front.is_truncating());
        assert_eq!(name(front.check(Lsn::new(2000))), "right", "it was asked for all the same");
        front.settle(Lsn::new(960));
        assert_eq!(name(front.check(Lsn::new(959))), "BACK AGAIN");
        assert_eq!(name(front.check(Lsn::new(961))), "TOO FAR", "of its own accord");
    }
}
