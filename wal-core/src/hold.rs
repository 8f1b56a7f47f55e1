//! Holds: named readers pin the log, so that truncation leaves them what they still need.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::RwLockReadGuard;

use crate::error::Error;
use crate::lsn::Lsn;
use crate::probe::Probe;
use crate::read::{reach, truncated};
use crate::shared::{ReadFile, Shared};
use crate::sink::SegmentSink;
use crate::sync::{Arc, Mutex, PoisonError, lock};
use crate::wal::Wal;

/// Who keeps the log from being truncated, and from where on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The name that the hold was given.
    pub name: Arc<str>,
    /// Nothing at or behind this position goes.
    pub lsn: Lsn,
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at LSN {}", self.name, self.lsn)
    }
}

/// The holds of one log, in the order of their positions.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    pins: Mutex<Pins>,
}

#[derive(Debug, Default)]
pub(crate) struct Pins {
    /// By position, and by age among those of one position.
    by_lsn: BTreeMap<(Lsn, u64), Arc<str>>,
    next_id: u64,
}

impl Pins {
    pub(crate) fn len(&self) -> usize {
        self.by_lsn.len()
    }

    /// Who holds the most.
    pub(crate) fn lowest(&self) -> Option<Pin> {
        self.by_lsn.first_key_value().map(|(&(lsn, _), name)| Pin { name: Arc::clone(name), lsn })
    }
}

impl Holds {
    /// Runs `f` with the holds, none of which comes, goes or moves meanwhile.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&Pins) -> R) -> R {
        f(&lock(&self.pins))
    }
}

/// Keeps everything at and behind a position from being truncated, until it is moved on, released
/// or dropped. From [`Wal::hold`].
///
/// A hold lives in this process only: after the log was opened again, whoever needs it takes it
/// anew, from the position that it has stored for itself. It does not keep the log open.
#[derive(Debug)]
#[must_use = "a hold ends when it is dropped"]
pub struct Hold {
    holds: Arc<Holds>,
    name: Arc<str>,
    lsn: Lsn,
    id: u64,
}

impl Hold {
    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The position held: nothing at or behind it goes.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Moves the hold forward to `lsn`: what lies before it is no longer needed. A position at or
    /// before the present one changes nothing, since what is there may be gone. Does not block for
    /// I/O, and frees nothing by itself: the next [`Wal::truncate_before`] does.
    pub fn advance(&mut self, lsn: Lsn) {
        if lsn > self.lsn {
            let mut pins = lock(&self.holds.pins);
            if let Some(name) = pins.by_lsn.remove(&(self.lsn, self.id)) {
                pins.by_lsn.insert((lsn, self.id), name);
            }
            self.lsn = lsn;
        }
    }

    /// Ends the hold, as dropping it does.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.holds.pins).by_lsn.remove(&(self.lsn, self.id));
    }
}

/// Retention.
impl<S: SegmentSink, P: Probe> Wal<S, P> {
    /// Pins everything at and behind `lsn` under a name, for as long as the hold lives: no
    /// [`truncate_before`](Self::truncate_before) frees any of it. The name is for people
    /// ([`pinned_by`](Self::pinned_by)); several holds may share one. `lsn` may lie ahead of what
    /// was appended. Does not block for I/O.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] if some of it is gone already.
    pub fn hold(&self, name: impl Into<Arc<str>>, lsn: Lsn) -> Result<Hold, Error> {
        self.shared.pin(name.into(), lsn)
    }

    /// Who keeps the log from being truncated, lowest position first: what to look at when a disk
    /// fills up. Does not block for I/O.
    #[must_use]
    pub fn pinned_by(&self) -> Vec<Pin> {
        let pins = lock(&self.shared.holds.pins);
        let all = pins.by_lsn.iter();
        all.map(|(&(lsn, _), name)| Pin { name: Arc::clone(name), lsn }).collect()
    }
}

impl<S: SegmentSink, P: Probe> Shared<S, P> {
    /// [`Wal::hold`].
    pub(crate) fn pin(&self, name: Arc<str>, lsn: Lsn) -> Result<Hold, Error> {
        let holds = &self.holds;
        let mut pins = lock(&holds.pins);
        // Truncation decides while it has the pins: either it has let go of the files before this,
        // or it finds the hold.
        if let Some(first) = self.table().first()
            && lsn < reach(first)
        {
            return Err(truncated(lsn, first));
        }
        let id = pins.next_id;
        pins.next_id += 1;
        pins.by_lsn.insert((lsn, id), Arc::clone(&name));
        drop(pins);
        Ok(Hold { holds: Arc::clone(holds), name, lsn, id })
    }

    fn table(&self) -> RwLockReadGuard<'_, Vec<ReadFile>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner)
    }
}
