//! Who waits for what.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::lsn::Lsn;
use crate::probe::Event;

/// What a waiter needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The durable watermark at or past a position.
    Durable(Lsn),
    /// The written watermark at or past a position.
    Written(Lsn),
    /// An active segment later than this one, to append to.
    Space(u64),
    /// The same, to close the log in: not refused while it is closing.
    LastSpace(u64),
    /// The turn of the frame that goes directly behind segment `sequence`, which only its owner
    /// can write, and then the written watermark at `end`.
    Direct {
        /// The segment before the frame.
        sequence: u64,
        /// Where the frame ends.
        end: Lsn,
    },
    /// The durable watermark past a position, whoever brings it there: a reader waits for what
    /// others want durable, and asks for nothing.
    News(Lsn),
    /// A newer file than this one before which every file is whole and durable: an archive waits for
    /// that as a reader does for news.
    Sealed(u64),
}

impl Need {
    /// What a probe is told of it.
    pub(super) const fn event(self) -> Event {
        let (written, durable) = match self {
            Self::Durable(lsn) => (Lsn::ZERO, lsn),
            Self::Written(lsn) | Self::Direct { end: lsn, .. } => (lsn, Lsn::ZERO),
            Self::Space(_) | Self::LastSpace(_) | Self::News(_) | Self::Sealed(_) => {
                (Lsn::ZERO, Lsn::ZERO)
            }
        };
        Event::Wait { written, durable }
    }
}

/// What the log has reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) durable: Lsn,
    pub(crate) written: Lsn,
    /// The segment that is, or was last, active.
    pub(crate) current: u64,
    /// The file before which every file is whole and durable.
    pub(crate) sealed: u64,
}

impl Progress {
    pub(crate) fn satisfies(&self, need: Need) -> bool {
        match need {
            Need::Durable(lsn) => self.durable >= lsn,
            Need::Written(lsn) | Need::Direct { end: lsn, .. } => self.written >= lsn,
            Need::Space(sequence) | Need::LastSpace(sequence) => self.current > sequence,
            Need::News(seen) => self.durable > seen,
            Need::Sealed(seen) => self.sealed > seen,
        }
    }
}

/// Who is to be woken.
struct Waiter {
    waker: Waker,
    /// A thread that comes when it is woken; otherwise a task, which need not be polled soon.
    thread: bool,
}

/// Names a registration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    need: Need,
    id: u64,
}

/// The registered waiters, ordered by what they wait for, so that a step of the watermark touches
/// only those it satisfies.
#[derive(Default)]
pub(crate) struct Waiters {
    durable: BTreeMap<(Lsn, u64), Waiter>,
    written: BTreeMap<(Lsn, u64), Waiter>,
    space: BTreeMap<(u64, u64), Waiter>,
    direct: BTreeMap<(u64, u64), Waiter>,
    /// Readers at the end of the log. Not among those for whom anything is done, or who lead.
    tails: BTreeMap<(Lsn, u64), Waiter>,
    /// Archives that wait for a file. As little.
    archives: BTreeMap<(u64, u64), Waiter>,
    next_id: u64,
}

impl Waiters {
    pub(crate) fn register(&mut self, need: Need, waker: &Waker, thread: bool) -> Ticket {
        let id = self.next_id;
        self.next_id += 1;
        let waker = Waiter { waker: waker.clone(), thread };
        match need {
            Need::Durable(lsn) => self.durable.insert((lsn, id), waker),
            Need::Written(lsn) => self.written.insert((lsn, id), waker),
            Need::Space(sequence) | Need::LastSpace(sequence) => {
                self.space.insert((sequence, id), waker)
            }
            Need::Direct { sequence, .. } => self.direct.insert((sequence, id), waker),
            Need::News(seen) => self.tails.insert((seen, id), waker),
            Need::Sealed(seen) => self.archives.insert((seen, id), waker),
        };
        Ticket { need, id }
    }

    /// Removes a registration; returns whether it was still there, that is, not woken yet.
    pub(crate) fn deregister(&mut self, ticket: Ticket) -> bool {
        let id = ticket.id;
        match ticket.need {
            Need::Durable(lsn) => self.durable.remove(&(lsn, id)),
            Need::Written(lsn) => self.written.remove(&(lsn, id)),
            Need::Space(sequence) | Need::LastSpace(sequence) => self.space.remove(&(sequence, id)),
            Need::Direct { sequence, .. } => self.direct.remove(&(sequence, id)),
            Need::News(seen) => self.tails.remove(&(seen, id)),
            Need::Sealed(seen) => self.archives.remove(&(seen, id)),
        }
        .is_some()
    }

    /// Removes those whom `progress` satisfies.
    pub(crate) fn take_satisfied(&mut self, progress: Progress) -> Vec<Waker> {
        let mut woken = Vec::new();
        take_up_to(&mut self.durable, &progress.durable, &mut woken);
        take_up_to(&mut self.written, &progress.written, &mut woken);
        if let Some(passed) = progress.current.checked_sub(1) {
            take_up_to(&mut self.space, &passed, &mut woken);
        }
        if let Some(passed) = progress.durable.get().checked_sub(1) {
            take_up_to(&mut self.tails, &Lsn::new(passed), &mut woken);
        }
        if let Some(passed) = progress.sealed.checked_sub(1) {
            take_up_to(&mut self.archives, &passed, &mut woken);
        }
        woken
    }

    /// Removes one thread, to lead next: who waits for durability first, since its group is the
    /// largest.
    pub(crate) fn take_thread(&mut self) -> Option<Waker> {
        None.or_else(|| first_thread(&mut self.durable))
            .or_else(|| first_thread(&mut self.written))
            .or_else(|| first_thread(&mut self.direct))
            .or_else(|| first_thread(&mut self.space))
    }

    /// Removes the owner of the frame behind segment `sequence`.
    pub(crate) fn take_direct(&mut self, sequence: u64) -> Option<Waker> {
        let (&key, _) = self.direct.range((sequence, 0)..=(sequence, u64::MAX)).next()?;
        self.direct.remove(&key).map(|waiter| waiter.waker)
    }

    /// Removes the readers at the end of the log, and the archives: nothing more will follow, or they
    /// are to see why.
    pub(crate) fn take_tails(&mut self) -> Vec<Waker> {
        let tails = std::mem::take(&mut self.tails).into_values();
        let archives = std::mem::take(&mut self.archives).into_values();
        tails.chain(archives).map(|waiter| waiter.waker).collect()
    }

    /// How many wait for records to be written or durable.
    pub(super) fn commits(&self) -> usize {
        self.durable.len() + self.written.len()
    }

    /// Whether nobody waits for anything to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.durable.is_empty()
            && self.written.is_empty()
            && self.space.is_empty()
            && self.direct.is_empty()
    }

    /// Removes everybody for whom anything is to be done.
    pub(crate) fn take_all(&mut self) -> Vec<Waker> {
        let durable = std::mem::take(&mut self.durable).into_values();
        let written = std::mem::take(&mut self.written).into_values();
        let space = std::mem::take(&mut self.space).into_values();
        let direct = std::mem::take(&mut self.direct).into_values();
        let all = durable.chain(written).chain(space).chain(direct);
        all.map(|waiter| waiter.waker).collect()
    }

    /// The furthest position that somebody wants durable.
    pub(crate) fn durable_goal(&self) -> Lsn {
        self.durable.last_key_value().map_or(Lsn::ZERO, |(&(lsn, _), _)| lsn)
    }

    /// The furthest position that somebody wants written.
    pub(crate) fn written_goal(&self) -> Lsn {
        self.written.last_key_value().map_or(Lsn::ZERO, |(&(lsn, _), _)| lsn)
    }
}

fn first_thread<K: Ord + Copy>(map: &mut BTreeMap<(K, u64), Waiter>) -> Option<Waker> {
    let (&key, _) = map.iter().find(|(_, waiter)| waiter.thread)?;
    map.remove(&key).map(|waiter| waiter.waker)
}

fn take_up_to<K: Ord + Copy>(
    map: &mut BTreeMap<(K, u64), Waiter>,
    limit: &K,
    woken: &mut Vec<Waker>,
) {
    while let Some(entry) = map.first_entry() {
        if entry.key().0 > *limit {
            break;
        }
        woken.push(entry.remove().waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(durable: u64, written: u64, current: u64) -> Progress {
        Progress { durable: Lsn::new(durable), written: Lsn::new(written), current, sealed: 1 }
    }

    #[test]
    fn only_the_satisfied_are_taken_and_the_goals_remain() {
        let mut waiters = Waiters::default();
        let waker = Waker::noop();
        let near = waiters.register(Need::Durable(Lsn::new(10)), waker, true);
        let far = waiters.register(Need::Durable(Lsn::new(20)), waker, false);
        waiters.register(Need::Space(3), waker, true);
        assert_eq!(waiters.durable_goal(), Lsn::new(20));
        // A task is never counted on to lead.
        assert_eq!(waiters.take_satisfied(progress(10, 0, 3)).len(), 1);
        assert!(!waiters.deregister(near));
        assert_eq!(waiters.take_satisfied(progress(19, 99, 4)).len(), 1);
        assert!(waiters.deregister(far));
        assert_eq!(waiters.durable_goal(), Lsn::ZERO);
        assert!(waiters.take_thread().is_none());
    }

    #[test]
    fn an_archive_is_woken_by_a_file_and_no_sooner() {
        let mut waiters = Waiters::default();
        waiters.register(Need::Sealed(1), Waker::noop(), false);
        assert!(waiters.is_empty(), "nothing is done for its sake");
        assert!(waiters.take_satisfied(progress(99, 99, 9)).is_empty());
        let sealed = Progress { sealed: 2, ..progress(99, 99, 9) };
        assert_eq!(waiters.take_satisfied(sealed).len(), 1);
        waiters.register(Need::Sealed(2), Waker::noop(), false);
        assert_eq!(waiters.take_tails().len(), 1);
    }

    #[test]
    fn the_owner_of_a_direct_frame_is_found_by_its_segment() {
        let mut waiters = Waiters::default();
        let need = Need::Direct { sequence: 5, end: Lsn::new(100) };
        waiters.register(need, Waker::noop(), true);
        assert!(waiters.take_direct(4).is_none());
        assert!(waiters.take_direct(5).is_some());
        assert!(waiters.take_all().is_empty());
    }
}
