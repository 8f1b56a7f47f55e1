//! The caller's side: a ring of segments that many writers fill at once.
//!
//! ```text
//!            reserve / copy / commit                 seal (whoever crosses the end, or a flush)
//!   Queued ------------------------> Active ------------------------> Writing -----> Queued
//!          activate (second arrival                                   hand over, write, sync,
//!          at the gate)                                               recycle
//! ```
//!
//! # Who may touch what, when
//!
//! 1. A writer owns the bytes `at..at + len` of a segment from the moment its addition to `tail`
//!    is granted until it has added `len` to a stripe or, if it finds that the sealer has counted
//!    that one already, to `fill` as well; nobody else touches them in between.
//! 2. Whoever closes a segment's `tail` (one thread: the one whose addition crosses the end, or
//!    whose exchange succeeds) is its *sealer*. It alone writes `sealed` and `next`, then arrives
//!    at the next segment's gate, then counts the stripes, then adds that and the bias to `fill`.
//! 3. The second to arrive at a segment's gate (its predecessor's sealer, or the leader that
//!    freed it) *activates* it: it alone writes `place`, `sequence` and `salt`, `gate`, the
//!    stripes and `fill`, and chooses the segment's memory for this life (its own, or such as the sink has lent it at
//!    its place in the file), then opens `tail`, then raises `current`.
//! 4. Once `fill` says complete, the segment's memory, `sealed` and `next` belong to the leader of
//!    the flush, until it gives back what was lent, stores `QUEUED` and arrives at the gate.
//! 5. `next` of segment *s* stays as it is until *s+1* has been activated: *s* cannot be sealed
//!    again before that.
//!
//! # What pairs with what
//!
//! | release | acquire | carries |
//! | --- | --- | --- |
//! | `tail` store (activate) | `tail` addition (reserve, claim), load (seal, `next_lsn`) | rule 3's fields, where the memory is, and rule 4's hand-back of it |
//! | stripe addition (commit) | stripe addition (sweep) | the writer's bytes, if they are counted |
//! | `fill` addition (commit) | `fill` load (leader) | the writer's bytes, if they came later |
//! | `fill` addition (seal) | `fill` load (leader, `next_lsn`) | rule 2's fields, and all bytes counted |
//! | `fill` store (recycle) | `fill` load (`next_lsn`) | the same, after the life has ended |
//! | `gate` addition | `gate` addition | rule 2's fields, or the end of the leader's reads and of what was lent |
//! | `current` maximum | `current` load (reserve, claim, `next_lsn`) | that the segment it names is open, or was |
//! | `base` store of a place | `base` load (`next_lsn`) | all that came before the life that it is of |
//!
//! Additions continue the releases of those before them, so the leader's one load pairs with every
//! late commit and the seal, the sealer's with every commit to a stripe, and a reservation with the
//! activation, however many others came in between. So does the mark in `current` that says full.
//!
//! # Why there are stripes
//!
//! A line that two processors add to travels between them with each addition, which takes longer than
//! to copy a small record. The tail has to travel, since it is what orders records; the count of
//! committed bytes need not, as only its end matters. So writers count on lines of their own until
//! the segment is sealed, and only those whose stripe has been counted meet at `fill`. The idea is
//! that of a sloppy counter (Boyd-Wickizer et al., *An Analysis of Linux Scalability to Many Cores*,
//! OSDI 2010); figures are in wal-bench's README.
//!
//! Weakening any one of them fails a test under a checker of memory orderings (`tests/loom_*.rs`; the
//! list, and the three that no test can tell, are in `wal-model/src/bugs/orderings.rs`).
//!
//! `next_lsn` reads a segment that may be recycled under its hands. Whatever it reads of a later
//! life was stored after the segment had been recycled, and that came after `current` was raised
//! past it: by the sealer before it lets the segment be complete, or by the leader, which frees
//! segments in order. So if `current` still names the segment at the end, nothing was.
//!
//! A stale writer whose addition lands in a later life of the slot has reserved there like anyone
//! else: it takes base, salt and sequence *after* its addition, so they are that life's. It raises
//! `current` itself, since the activator may not have come to that yet, and whoever it tells of its
//! record must find it covered by `next_lsn`.

pub mod place;
pub mod word;

mod buffer;
mod ring;

pub(crate) use buffer::{Buffer, Filler};
pub(crate) use ring::{Claim, Direct, Duty, Grant, Lend, Occupancy, Ring, START, Sealed};
