//! What there is: the words, the memory, the threads, the disk, and what an onlooker remembers.

use wal_core::segment::place::Place;
use wal_core::segment::word::{Fill, Gate, Stripe, Tail};

use super::config::Op;
use super::next::NextLsn;
use super::seal::{Activating, Sealing};

/// A state of the model. Its `Debug` is made to be read.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// Sequence of the segment that is, or was last, active.
    pub current: u64,
    /// Whether somebody has found that segment closed.
    pub full: bool,
    /// The ring.
    pub segments: Vec<Segment>,
    /// The writers.
    pub writers: Vec<Writer>,
    /// Whoever holds the pipeline.
    pub leader: Leader,
    /// Something happened since the leader last looked, or nobody leads and somebody should.
    pub news: bool,
    /// Segments whose direct frame was given up.
    pub abandoned: Vec<u64>,
    /// What the log still accepts.
    pub lifecycle: Lifecycle,
    /// The written watermark.
    pub written: u64,
    /// The durable watermark.
    pub durable: u64,
    /// Frames that the sink has been given and has finished with, by position.
    pub disk: Vec<Frame>,
    /// What an onlooker remembers.
    pub ghost: Ghost,
    /// What was found after a crash, which ends everything else.
    pub crashed: Option<Recovered>,
}

impl State {
    /// Whether the log takes no further steps.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.lifecycle == Lifecycle::Poisoned
    }

    /// Makes `current` name at least this segment; a later one is not known to be full.
    pub(super) fn raise(&mut self, sequence: u64) {
        if sequence > self.current {
            (self.current, self.full) = (sequence, false);
        }
    }
}

/// A log's life. It only moves forward, and `Poisoned` is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lifecycle {
    /// Everything is accepted.
    Open,
    /// Nothing more is accepted; what is there is being made durable.
    Closing,
    /// The log is durable and marked as closed.
    Closed,
    /// A write or a sync failed.
    Poisoned,
}

/// One slot of the ring.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Space reserved.
    pub tail: Tail,
    /// Bytes committed, by those whom the sealer counts.
    pub stripes: Vec<Stripe>,
    /// Bytes committed by others, and then what is missing.
    pub fill: Fill,
    /// Who has arrived.
    pub gate: Gate,
    /// Where it goes; its file stands for the salt.
    pub place: Place,
    /// Where it was sealed.
    pub sealed: u64,
    /// Length of the frame behind it.
    pub direct: u64,
    /// Where the next goes.
    pub next: Place,
    /// Its memory.
    pub cells: Vec<Cell>,
}

/// Memory of one record: what a checksum over its bytes would vouch for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// Never written.
    Blank,
    /// A record, made for this position of this file.
    Record {
        /// Position it was made for.
        lsn: u64,
        /// File whose salt it carries.
        file: u64,
        /// Readers skip it.
        void: bool,
    },
}

/// A writer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Writer {
    /// Which program it runs.
    pub program: usize,
    /// How many calls it has finished.
    pub done: usize,
    /// The call under way.
    pub op: Option<Op>,
    /// Where it is.
    pub pc: Pc,
    /// End of its last record; 0 if it has none, or gave it up.
    pub last: u64,
    /// It handed a segment over and has not told yet.
    pub owes: bool,
}

/// Space that a writer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Life of the slot that granted it.
    pub sequence: u64,
    /// Position in the segment.
    pub at: u64,
    /// Position in the stream, as the writer has it.
    pub lsn: u64,
    /// File whose salt it took.
    pub file: u64,
}

/// A frame that a writer has claimed for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The segment it goes behind.
    pub sequence: u64,
    /// Where it starts.
    pub base: u64,
    /// Its length, header included.
    pub len: u64,
}

impl Claim {
    /// Where it ends.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.base + self.len
    }
}

/// Where a writer is: named for the step it takes next.
#[expect(missing_docs, reason = "fields are named in the variant's line")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pc {
    /// Load `current`.
    Current,
    /// The tail was closed: say that the segment seen is full.
    Full { seen: u64 },
    /// Add to the tail. `early` is the base of a faulty writer that took it already.
    Add { seen: u64, early: Option<(u64, u64)> },
    /// Load base and salt.
    Base { seen: u64, sequence: u64, at: u64, early: Option<(u64, u64)> },
    /// Came by a stale path: raise `current`.
    Raise(Grant),
    /// Tell of a segment handed over, then go on copying.
    TellThenCopy(Grant),
    /// Copy.
    Copy(Grant),
    /// Add to a stripe.
    Commit(Grant),
    /// It was counted already: add to the fill.
    CommitLate(Grant),
    /// Committed, not copied: only a faulty writer comes here.
    LateCopy(Grant),
    /// Committed last: tell.
    Leave(Grant),
    /// Seal.
    Seal(Sealing),
    /// Tell, then wait for a segment after this one.
    TellThenSpace { sequence: u64 },
    /// Wait for a segment after this one.
    Space { sequence: u64 },
    /// Look at the durable watermark before anything else.
    Durable,
    /// Ask where the stream ends.
    Next(NextLsn),
    /// Register, unless it is durable already.
    Register { need: u64 },
    /// Wait until durable.
    Wait { need: u64 },
    /// Tell, then wait for the turn of one's direct frame.
    TellThenTurn(Claim),
    /// Wait for the turn of one's direct frame.
    Turn(Claim),
    /// It is being written.
    Writing(Claim),
    /// Say that the log is closing.
    Closing,
    /// Tell, then wait until everything before the close mark is durable.
    TellThenSettled(Claim),
    /// Wait until everything before the close mark is durable.
    Settled(Claim),
    /// The program is over.
    Done,
    /// The log refused, for good.
    Refused,
}

/// A sealed segment as the leader read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sealed {
    /// Its sequence.
    pub sequence: u64,
    /// Where it goes.
    pub place: Place,
    /// Its length.
    pub len: u64,
    /// Length of the frame behind it.
    pub direct: u64,
}

/// A segment written and not free yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// Its sequence.
    pub sequence: u64,
    /// Where it starts.
    pub base: u64,
    /// Where the next frame starts.
    pub end: u64,
}

/// A write in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flight {
    /// What is on its way; `None` for a range for which nothing is written. The cells of a
    /// segment's frame are read when the write is done.
    pub frame: Option<Frame>,
    /// Where the next frame starts.
    pub next: u64,
    /// It is over.
    pub done: bool,
    /// The segment whose memory it uses.
    pub held: Option<Held>,
}

/// Whoever leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leader {
    /// Where it is.
    pub pc: LeaderPc,
    /// The writer that leads; without one, somebody else does.
    pub who: Option<usize>,
    /// The segment to submit next.
    pub next: u64,
    /// That segment, if it is submitted and the frame behind it is not.
    pub awaiting: Option<Sealed>,
    /// Writes in flight.
    pub in_flight: Vec<Flight>,
    /// Segments written and not free.
    pub held: Vec<Held>,
    /// Where the last frame submitted starts.
    pub link: Option<u64>,
    /// The file written last.
    pub file: u64,
    /// What somebody wants durable.
    pub goal: u64,
    /// This round got somewhere.
    pub progressed: bool,
    /// The sink has refused a file in this round.
    pub refused: bool,
    /// It leads only to start what is complete, and waits for nothing.
    pub starting: bool,
}

/// Where the leader is: named for the step it takes next.
#[expect(missing_docs, reason = "fields are named in the variant's line")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaderPc {
    /// Nobody leads; wait for news.
    Asleep,
    /// Begin a round: take the news and the goal.
    Round,
    /// Load `current`, to seal.
    SealCurrent,
    /// Load the tail.
    SealTail { seen: u64 },
    /// Load the base, and decide.
    SealBase { seen: u64, word: u64 },
    /// Exchange the tail.
    SealExchange { seen: u64, word: u64 },
    /// The tail was closed: load `current` again.
    SealStale { seen: u64 },
    /// Seal.
    Seal(Sealing),
    /// See what comes next; load the next segment's tail.
    SubmitTail,
    /// Load its fill, and submit it if it is complete.
    SubmitFill,
    /// Wait until all writes are done, the last of which is a direct frame's.
    SubmitDirect,
    /// Wait for the oldest write, and publish. `full`: submitting ended at the depth.
    Reap { full: bool },
    /// Sync.
    Sync,
    /// Publish what was synced.
    PublishDurable { written: u64 },
    /// Free what nobody wants durable any more.
    Settle,
    /// Arrive at the gate of a freed segment.
    Arrive { sequence: u64 },
    /// Activate it.
    Activate(Activating),
    /// Step down unless there is news.
    StepDown,
    /// Step down, and end everybody's wait with the sink's refusal.
    Refuse,
    /// The log is poisoned.
    Poisoned,
}

/// How safe a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Safety {
    /// In a cache: a crash may lose it, a sync makes it durable.
    Cached,
    /// A sync failed: a crash may lose it, and a later sync changes nothing.
    Dropped,
    /// On the medium.
    Durable,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Where it starts.
    pub base: u64,
    /// Its length, header included.
    pub len: u64,
    /// File it lies in.
    pub file: u64,
    /// It is the first of its file.
    pub opens: bool,
    /// Where the frame before it starts.
    pub link: Option<u64>,
    /// Its records.
    pub cells: Vec<Cell>,
    /// How safe it is.
    pub safety: Safety,
}

/// What an onlooker remembers, to judge by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// Where each segment has to start, by sequence.
    pub bases: Vec<u64>,
    /// Ranges of the stream that are somebody's (as they have it), by start.
    pub ranges: Vec<(u64, u64)>,
    /// Where direct frames start that were given up.
    pub given_up: Vec<u64>,
    /// End of the furthest reservation.
    pub highest: u64,
    /// Segments handed over, by sequence modulo 64.
    pub handed: u64,
    /// The furthest position that somebody was told is durable.
    pub acked: u64,
    /// The sink has refused a file.
    pub refused: bool,
    /// Steps that no state shows, see [`super::fault`].
    pub faults: u8,
}

/// What recovery made of the disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recovered {
    /// Records of the valid prefix, voids too: position, file, and what is there.
    pub found: Vec<(u64, u64, Cell)>,
    /// Where the log ends.
    pub end: u64,
    /// A frame that was written had not been synced.
    pub unsynced: bool,
}
