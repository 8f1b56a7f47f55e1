//! Asking where the stream ends: the loads of `next_lsn`, one by one.

use wal_core::segment::word::Tail;

use super::config::{Machine, START};
use super::state::State;

/// Which load comes next. Loads whose result would not be used are left out: of an open segment
/// what follows it, of a closed one where it starts.
#[expect(missing_docs, reason = "fields are named in the variant's line")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextLsn {
    /// Load `current`.
    Current,
    /// Load the tail of the segment seen.
    Tail { seen: u64 },
    /// It is open: load its base.
    Base { seen: u64, position: u64 },
    /// It is closed: load its fill.
    Fill { seen: u64 },
    /// Its sealer has said what follows: load where the next starts.
    Follower { seen: u64 },
    /// Load `current` again: if it has not changed, what was loaded is of the life seen.
    CurrentAgain { seen: u64, next: u64 },
    /// It came to nothing: begin again. Asleep until that may come to something else.
    Again { seen: u64 },
}

/// What a load has come to.
pub(super) enum Looked {
    More(NextLsn),
    Is(u64),
}

impl Machine {
    /// Whether another pass can come to something: a thread that spins is not seen to spin.
    pub(super) fn can_look(&self, state: &State, at: NextLsn) -> bool {
        let NextLsn::Again { seen } = at else { return true };
        let segment = &state.segments[self.slot(seen)];
        state.current != seen
            || segment.tail.is_life(seen)
                && (segment.tail.is_open(self.layout.segment) || segment.fill.is_sealed())
    }

    /// One load.
    pub(super) fn look(&self, state: &State, at: NextLsn) -> Looked {
        let segment = |seen: u64| &state.segments[self.slot(seen)];
        Looked::More(match at {
            NextLsn::Current | NextLsn::Again { .. } => NextLsn::Tail { seen: state.current },
            NextLsn::Tail { seen } => {
                let tail: Tail = segment(seen).tail;
                if tail.is_open(self.layout.segment) {
                    NextLsn::Base { seen, position: tail.position() }
                } else {
                    NextLsn::Fill { seen }
                }
            }
            NextLsn::Base { seen, position } => {
                let base = segment(seen).place.base.get();
                let next = if position == START { base } else { base + position };
                NextLsn::CurrentAgain { seen, next }
            }
            NextLsn::Fill { seen } if segment(seen).fill.is_sealed() => NextLsn::Follower { seen },
            NextLsn::Fill { seen } => NextLsn::Again { seen },
            NextLsn::Follower { seen } => {
                NextLsn::CurrentAgain { seen, next: segment(seen).next.base.get() }
            }
            NextLsn::CurrentAgain { seen, next } if state.current == seen => {
                return Looked::Is(next);
            }
            NextLsn::CurrentAgain { seen, .. } => NextLsn::Again { seen },
        })
    }
}
