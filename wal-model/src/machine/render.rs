//! States as one reads them, above all in a browser.

use std::fmt::{self, Debug, Display, Formatter};

use wal_core::segment::word::{Fill, Gate, Stripe, Tail};

use super::Action;
use super::config::{Machine, START, UNIT};
use super::state::{Cell, Frame, Segment, State, Writer};

/// A tail: the life of the slot (its low bits), and how far it is reserved.
struct TailWord(Tail, u64);

impl Display for TailWord {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(tail, capacity) = self;
        let is = if tail.is_open(*capacity) { "open" } else { "closed" };
        write!(f, "gen {} pos {} ({is})", tail.0 >> Tail::POSITION_BITS, tail.position())
    }
}

/// A fill: what is committed, or how much is missing once the segment is sealed.
struct FillWord(Fill);

impl Display for FillWord {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Fill::QUEUED => f.write_str("QUEUED"),
            fill if fill.is_complete() => f.write_str("SEALED (complete)"),
            fill if fill.is_sealed() && fill.0 < Fill::SEALED => {
                write!(f, "SEALED-{}", Fill::SEALED - fill.0)
            }
            fill => write!(f, "{}", fill.0),
        }
    }
}

/// What a stripe holds, and whether that is counted.
struct StripeWord(Stripe);

impl Display for StripeWord {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.step(), if self.0.is_swept() { " (counted)" } else { "" })
    }
}

struct GateWord(Gate);

impl Display for GateWord {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Gate::SHUT => f.write_str("SHUT"),
            Gate::FREE => f.write_str("one has arrived"),
            Gate(arrived) => write!(f, "{arrived} have arrived"),
        }
    }
}

impl Display for Cell {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("blank"),
            Self::Record { lsn, file, void } => {
                write!(f, "{} {lsn} of file {file}", if *void { "void" } else { "record" })
            }
        }
    }
}

struct List<'a, T>(&'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if index > 0 { ", " } else { "" })?;
        }
        f.write_str("]")
    }
}

impl Display for Segment {
    /// Records are of one unit: so the memory tells the capacity.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let capacity = START + self.cells.len() as u64 * UNIT;
        write!(
            f,
            "tail {}  stripes {}  fill {}  gate {}\n    base {} in file {}  memory {}\n    sealed {}  direct {}  \
             next {} in file {}",
            TailWord(self.tail, capacity),
            List(&self.stripes.iter().copied().map(StripeWord).collect::<Vec<_>>()),
            FillWord(self.fill),
            GateWord(self.gate),
            self.place.base,
            self.place.file,
            List(&self.cells),
            self.sealed,
            self.direct,
            self.next.base,
            self.next.file,
        )
    }
}

impl Display for Writer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(op) = self.op {
            write!(f, "call {} ({op:?}): ", self.done)?;
        }
        write!(f, "{:?}", self.pc)?;
        if self.owes { f.write_str("  owes word of a hand-over") } else { Ok(()) }
    }
}

impl Display for Frame {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { base, len, file, .. } = self;
        write!(f, "{base}..{} in file {file} {:?} {}", base + len, self.safety, List(&self.cells))
    }
}

impl Debug for State {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(found) = &self.crashed {
            writeln!(f, "crashed; recovered up to {}", found.end)?;
            return found
                .found
                .iter()
                .try_for_each(|(at, file, cell)| writeln!(f, "at {at} of file {file}: {cell}"));
        }
        writeln!(
            f,
            "{:?}  current {}{}  written {}  durable {}  news {}",
            self.lifecycle,
            self.current,
            if self.full { " (full)" } else { "" },
            self.written,
            self.durable,
            self.news
        )?;
        for (slot, segment) in self.segments.iter().enumerate() {
            writeln!(f, "segment {slot}: {segment}")?;
        }
        for (index, writer) in self.writers.iter().enumerate() {
            writeln!(f, "writer {index}: {writer}")?;
        }
        let leader = &self.leader;
        writeln!(f, "leader: {:?}  next {}  goal {}", leader.pc, leader.next, leader.goal)?;
        for flight in &leader.in_flight {
            let is = if flight.done { "done" } else { "in flight" };
            match &flight.frame {
                Some(frame) => writeln!(f, "    {is}: {frame}")?,
                None => writeln!(f, "    {is}: nothing up to {}", flight.next)?,
            }
        }
        for held in &leader.held {
            writeln!(f, "    held: segment {} {}..{}", held.sequence, held.base, held.end)?;
        }
        self.disk.iter().try_for_each(|frame| writeln!(f, "disk: {frame}"))
    }
}

impl Machine {
    /// A step as one chooses it.
    pub(super) fn describe(action: Action) -> String {
        match action {
            Action::Writer(index) => format!("writer {index} steps"),
            Action::GiveUp(index) => format!("writer {index} gives up its frame"),
            Action::Leader => "the leader steps".into(),
            Action::Written(index) => format!("write {index} is done"),
            Action::Fail => "a write or the sync fails".into(),
            Action::Refuse => "the sink refuses the file".into(),
            Action::Crash(kept) => format!("crash, unsynced frames kept {kept:b}"),
        }
    }

    /// What a step was, then what there is after it.
    pub(super) fn tell_step(last: &State, next: &State, action: Action) -> String {
        let was = match action {
            Action::Writer(index) | Action::GiveUp(index) => {
                last.writers.get(index).map(|writer| format!(" from {:?}", writer.pc))
            }
            Action::Leader => Some(format!(" from {:?}", last.leader.pc)),
            _ => None,
        };
        format!("{}{}\n\n{next:?}", Self::describe(action), was.unwrap_or_default())
    }
}
