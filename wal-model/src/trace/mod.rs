//! Traces of real runs, and whether the model allows them.
//!
//! A [`Recorder`] is the probe of a log that several threads use. What it has recorded is
//! [replayed](replay()): the model's writers take the steps that the threads say they took, one
//! model thread for each, and the one that leads takes the leader's steps besides. A run is allowed
//! if there is an interleaving of the model's own steps in which every thread tells exactly what it
//! told, values included.
//!
//! # What is exact, and what is searched for
//!
//! The order of one thread's events is exact. Between threads the stamps are those of the telling,
//! just before or just after the step (see [`Event`]), and a thread may be put to sleep between the
//! two for as long as the scheduler likes. So they guide the search and decide nothing:
//!
//! - the thread with the earliest event that has not been replayed goes first;
//! - a step is taken only if its result agrees with what the thread tells next (which of two commits
//!   was the last, who arrived second at a gate, what a load has seen);
//! - what only looks is done as soon as it sees what it has to have seen, what others can see as
//!   late as somebody needs it;
//! - a thread that cannot go on has another go first, the ones that have to do with its segment
//!   before the rest; where that leads nowhere, the search goes back.
//!
//! # What is checked, and what is not
//!
//! Positions, lengths, sequences, bases, watermarks and goals, who leads, and that each step is one
//! of the model. Not who is woken ([`Event::Wake`] is left out), and not that a leader took up
//! *all* that was wanted: only that it took up what somebody wants. Records have to be of one
//! length, and direct frames too; `flush`, marks that do not close, refusals and abandoned direct
//! frames are not recognised.

mod record;
mod replay;
mod thread;

use std::fmt;
use std::io::{self, Write};

use wal_core::probe::Event;

pub use record::Recorder;
pub use replay::{Refusal, Replayed, replay};

use crate::machine::Machine;

/// An event and who told it when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which thread, counted from 0.
    pub thread: usize,
    /// What it told.
    pub event: Event,
}

/// What a run told, in the order of telling.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The events.
    pub entries: Vec<Entry>,
}

impl Trace {
    /// How many threads told anything.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.entries.iter().map(|entry| entry.thread + 1).max().unwrap_or(0)
    }

    /// The model of a log of this shape, whose first file has just been created.
    #[must_use]
    pub fn machine(&self, shape: &Machine) -> Machine {
        let programs = vec![Vec::new(); self.threads()];
        Machine { programs, symmetric: false, ..shape.clone() }
    }

    /// Writes one JSON object a line: `thread`, `event`, and the event's fields.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_ndjson(&self, out: &mut impl Write) -> io::Result<()> {
        self.entries.iter().try_for_each(|entry| writeln!(out, "{}", Json(entry)))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {} tells {}", self.thread, Told(self.event))
    }
}

/// An event's name, and its fields as numbers.
fn parts(event: Event) -> (&'static str, Vec<(&'static str, u64)>) {
    match event {
        Event::Reserve { sequence, lsn, len } => {
            ("Reserve", vec![("sequence", sequence), ("lsn", lsn.get()), ("len", len)])
        }
        Event::Commit { sequence, lsn, len } => {
            ("Commit", vec![("sequence", sequence), ("lsn", lsn.get()), ("len", len)])
        }
        Event::Seal { sequence, len } => ("Seal", vec![("sequence", sequence), ("len", len)]),
        Event::Activate { sequence, base } => {
            ("Activate", vec![("sequence", sequence), ("base", base.get())])
        }
        Event::HandOver { sequence } => ("HandOver", vec![("sequence", sequence)]),
        Event::Wait { written, durable } => {
            ("Wait", vec![("written", written.get()), ("durable", durable.get())])
        }
        Event::Lead => ("Lead", Vec::new()),
        Event::Gather { written, durable } => {
            ("Gather", vec![("written", written.get()), ("durable", durable.get())])
        }
        Event::StepDown => ("StepDown", Vec::new()),
        Event::Write { lsn, len } => ("Write", vec![("lsn", lsn.get()), ("len", len)]),
        Event::Sync { lsn } => ("Sync", vec![("lsn", lsn.get())]),
        Event::Publish { written, durable } => {
            ("Publish", vec![("written", written.get()), ("durable", durable.get())])
        }
        Event::Wake { waiters } => ("Wake", vec![("waiters", waiters as u64)]),
        Event::Recycle { sequence } => ("Recycle", vec![("sequence", sequence)]),
        Event::Poison => ("Poison", Vec::new()),
        _ => ("Unknown", Vec::new()),
    }
}

struct Json<'a>(&'a Entry);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, fields) = parts(self.0.event);
        write!(f, "{{\"thread\":{},\"event\":\"{name}\"", self.0.thread)?;
        fields.iter().try_for_each(|(field, value)| write!(f, ",\"{field}\":{value}"))?;
        f.write_str("}")
    }
}

/// An event as one reads it.
struct Told(Event);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, fields) = parts(self.0);
        f.write_str(name)?;
        fields.iter().try_for_each(|(field, value)| write!(f, " {field} {value}"))
    }
}
