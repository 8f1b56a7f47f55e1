//! The search for an interleaving of the model's steps that tells what a trace tells.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use wal_core::probe::Event;

use super::thread::{Node, Script};
use super::{Entry, Told, Trace};
use crate::machine::{LeaderPc, Machine, Pc};

/// How many states are tried before a trace is given up at an event.
const PATIENCE: usize = 20_000;

/// How far back the search can go, in steps.
const MEMORY: usize = 4096;

/// What a replay has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Events that were told.
    pub events: usize,
    /// Steps of the model that were tried.
    pub steps: usize,
}

/// An event that the model does not allow.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Its place in the trace.
    pub index: usize,
    /// The event, and who told it.
    pub entry: Entry,
    /// Where the model has that thread, and what it would have told.
    pub allowed: String,
    /// Whether every interleaving that the search knows of was tried; otherwise it ran out of
    /// patience.
    pub exhausted: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, entry, allowed, exhausted } = self;
        let searched =
            if *exhausted { "no interleaving leads on" } else { "none was found that leads on" };
        write!(f, "event {index}: {entry}: not allowed: {allowed} ({searched})")
    }
}

impl std::error::Error for Refusal {}

/// A state, and who has yet to be tried from it.
struct Choice {
    node: Node,
    threads: VecDeque<usize>,
}

/// Replays `trace` on a model of the shape of `machine` (segments, layout, lengths, depth).
///
/// # Errors
///
/// The earliest event that could not be reached.
pub fn replay(machine: &Machine, trace: &Trace) -> Result<Replayed, Box<Refusal>> {
    let script = Script::new(trace.machine(machine), trace);
    let mut stack = VecDeque::from([script.choice(script.begin())]);
    let mut seen = HashSet::new();
    let (mut steps, mut since, mut exhausted) = (0, 0, true);
    let mut furthest: Option<(usize, Node)> = None;
    while let Some(choice) = stack.back_mut() {
        let Some(thread) = choice.threads.pop_front() else {
            stack.pop_back();
            continue;
        };
        steps += 1;
        let Some(next) = script.advance(&choice.node, thread) else { continue };
        let next = script.look(next);
        let mut hasher = DefaultHasher::new();
        next.hash(&mut hasher);
        if !seen.insert(hasher.finish()) {
            continue;
        }
        let Some(earliest) = script.earliest(&next) else {
            return Ok(Replayed { events: next.at.iter().sum(), steps });
        };
        if furthest.as_ref().is_none_or(|(index, _)| *index < earliest) {
            (furthest, since) = (Some((earliest, next.clone())), 0);
        }
        since += 1;
        if since > PATIENCE {
            exhausted = false;
            break;
        }
        if stack.len() == MEMORY {
            exhausted = false;
            stack.pop_front();
        }
        stack.push_back(script.choice(next));
    }
    let (index, node) = furthest.unwrap_or_else(|| (0, script.begin()));
    Err(Box::new(Refusal { exhausted, ..script.refusal(index, &node) }))
}

impl Script<'_> {
    fn threads(&self) -> usize {
        self.machine.programs.len()
    }

    /// The earliest event that has not been told.
    fn earliest(&self, node: &Node) -> Option<usize> {
        (0..self.threads()).filter_map(|thread| self.next_index(node, thread)).min()
    }

    /// Takes all steps that only look and see what they have to.
    fn look(&self, mut node: Node) -> Node {
        loop {
            let at = node.at.clone();
            let looked = (0..self.threads())
                .filter(|&thread| self.only_looks(&node, thread))
                .find_map(|thread| self.advance(&node, thread).filter(|next| next.at == at));
            match looked {
                Some(next) => node = next,
                None => return node,
            }
        }
    }

    /// Who is tried, in which order: the thread with the earliest event, then those that it may be
    /// waiting for, then the rest.
    fn choice(&self, node: Node) -> Choice {
        let first = self.earliest(&node);
        let mut threads: Vec<usize> = (0..self.threads()).collect();
        let index = |thread| self.next_index(&node, thread).unwrap_or(usize::MAX);
        let focus = threads.iter().find(|&&thread| Some(index(thread)) == first);
        let focus = focus.and_then(|&thread| self.concerns(&node, thread));
        threads.sort_by_key(|&thread| {
            (Some(index(thread)) != first, self.distance(&node, thread, focus), index(thread))
        });
        Choice { node, threads: threads.into() }
    }

    /// The segment that a thread's next event is about.
    fn concerns(&self, node: &Node, thread: usize) -> Option<u64> {
        match self.peek(node, thread)? {
            Event::Reserve { sequence, .. }
            | Event::Commit { sequence, .. }
            | Event::Seal { sequence, .. }
            | Event::Activate { sequence, .. }
            | Event::HandOver { sequence }
            | Event::Recycle { sequence } => Some(sequence),
            Event::Write { .. } => Some(node.state.leader.next),
            Event::Wait { .. } => Some(node.state.current),
            _ => None,
        }
    }

    /// How likely it is that somebody who is held up at segment `focus` waits for `thread`.
    fn distance(&self, node: &Node, thread: usize, focus: Option<u64>) -> u8 {
        let Some(focus) = focus else { return u8::from(node.state.leader.who != Some(thread)) };
        let tail = &node.state.segments[self.machine.slot(focus)];
        if let Some(Event::Reserve { sequence, lsn, .. }) = self.peek(node, thread)
            && sequence == focus
            && tail.tail.is_life(focus)
            && lsn == tail.place.base.advance(tail.tail.position())
        {
            return 0;
        }
        let at = match node.state.writers[thread].pc {
            Pc::Seal(sealing) => Some(sealing.sequence),
            Pc::Copy(grant)
            | Pc::TellThenCopy(grant)
            | Pc::Commit(grant)
            | Pc::CommitLate(grant) => Some(grant.sequence),
            _ => None,
        };
        let near = |sequence: u64| (focus.saturating_sub(1)..=focus).contains(&sequence);
        if at.is_some_and(near) || node.state.leader.who == Some(thread) {
            return 1;
        }
        2 + u8::from(!self.concerns(node, thread).is_some_and(near))
    }

    fn refusal(&self, index: usize, node: &Node) -> Refusal {
        let thread = (0..self.threads())
            .find(|&thread| self.next_index(node, thread) == Some(index))
            .unwrap_or(0);
        let entry = self.entry(index);
        let mut allowed = if node.state.leader.who == Some(thread) {
            format!("it leads and is at {:?}", node.state.leader.pc)
        } else {
            format!("it is at {:?}", node.state.writers[thread].pc)
        };
        match self.would_tell(node, thread) {
            Some(event) => allowed += &format!(", where it would tell {}", Told(event)),
            None if node.state.leader.pc == LeaderPc::Asleep => allowed += ", and nobody leads",
            None => {}
        }
        let open = &node.state.segments[self.machine.slot(node.state.current)];
        let next = open.place.base.advance(open.tail.position());
        allowed += &format!(
            "; segment {} is current, its next record at {next}; written {}, durable {}",
            node.state.current, node.state.written, node.state.durable
        );
        Refusal { index, entry, allowed, exhausted: true }
    }
}
