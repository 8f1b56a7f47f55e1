//! Archiving: every log file, once it is whole and durable, is handed to whoever ships it elsewhere.
//!
//! An archive is pulled, as a tail is (`read/tail.rs`), and not called back. So what ships a file runs
//! where its owner wants it to, may take its time and fail, holds up nobody and no lock, and is not
//! run by a thread that appends. What a slow one costs is disk, by a hold that everybody can see.
//!
//! The log keeps no list of what was shipped: whoever ships knows how far it has got, by a position
//! that it stores together with the copies.

mod file;
mod ledger;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub use file::{SealedFile, SealedReader};
use ledger::Ledger;

use crate::error::Error;
use crate::flush::Need;
use crate::hold::Hold;
use crate::lsn::Lsn;
use crate::probe::Probe;
#[cfg(not(any(wal_loom, wal_shuttle)))]
use crate::read::block_for;
use crate::read::{Content, Follow, Watch, Watcher, block_on};
use crate::shared::{ReadFile, Shared};
use crate::sink::SegmentSink;
use crate::wal::Wal;

/// A log whose files can be shipped.
trait Ship: Watch {
    /// Every file with a lower number is whole, and durable.
    fn sealed(&self) -> u64;
    /// A hold.
    fn pin(&self, name: Arc<str>, lsn: Lsn) -> Result<Hold, Error>;
}

impl<S: SegmentSink, P: Probe> Ship for Shared<S, P> {
    fn sealed(&self) -> u64 {
        self.sealed()
    }

    fn pin(&self, name: Arc<str>, lsn: Lsn) -> Result<Hold, Error> {
        self.pin(name, lsn)
    }
}

/// The files of a log, oldest first, each as soon as the log goes on in another and all of it is
/// durable. From [`Wal::archive`](crate::Wal::archive).
///
/// Each comes once, whole; the newest file, to which records are still added, comes when its turn is.
/// Files can be shipped several at a time, and be [done](SealedFile::done) in any order: the log is
/// held from the first that is not. Until the archive and all of its files are gone, whatever was not
/// done stays.
///
/// If the log is [cut back](crate::Wal::truncate_after) to within files that were announced already,
/// the one that it now ends with is announced again, with its new end: a copy is to be replaced by one
/// with the same number. Files that were cut off whole are told of by the next one that is announced:
/// [`SealedFile::follows`] names one before them. Until then, copies are the log as it was.
///
/// Waiting takes no polling, does not hurry the log (nothing is written, synced or begun for its
/// sake) and does not slow writers. What is read to verify a file and to take its checksum is read by
/// who calls.
pub struct Archive {
    watcher: Watcher<dyn Ship>,
    name: Arc<str>,
    ledger: Arc<Ledger>,
    /// The files that need not be announced, and where each ended when that was decided.
    past: BTreeMap<u64, Lsn>,
}

impl Archive {
    fn new(log: Arc<dyn Ship>, name: Arc<str>, from: Lsn) -> Result<Self, Error> {
        let hold = log.pin(Arc::clone(&name), from)?;
        let follow: &dyn Follow = &*log;
        let past = follow.files(|files| {
            let shipped = |pair: &[ReadFile]| {
                let (base, end) = (pair[0].header.base, pair[0].end?);
                // Not if it is empty: then nobody knows. And not if it ended further on when
                // somebody got there: it was cut since.
                let over =
                    end <= from && base < end && (end == from || from >= pair[1].header.base);
                over.then_some((pair[0].header.sequence, end))
            };
            files.windows(2).filter_map(shipped).collect()
        });
        let (watcher, ledger) = (Watcher::new(log), Arc::new(Ledger::new(hold)));
        Ok(Self { watcher, name, ledger, past })
    }

    /// The next file, or `None` if there will be none: the log was closed, or its last handle is
    /// gone. (The file that it ended in comes when the log goes on in another, after it was opened
    /// again.) Blocks until there is one, and for I/O: reads and verifies all of it.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the file is damaged; [`Error::Sink`] if it cannot be read;
    /// [`Error::Poisoned`] once every durable file has been announced and there will be no more.
    /// Calling again tries the same file again.
    #[expect(clippy::should_implement_trait, reason = "an error does not end it")]
    pub fn next(&mut self) -> Result<Option<SealedFile>, Error> {
        block_on(|waker| self.look(waker))
    }

    /// As [`next`](Self::next), but waits no longer than `timeout`, measured by the system's
    /// monotonic clock.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if there was none by then: calling again goes on waiting. Otherwise as for
    /// [`next`](Self::next).
    #[cfg(not(any(wal_loom, wal_shuttle)))]
    pub fn next_timeout(
        &mut self,
        timeout: std::time::Duration,
    ) -> Result<Option<SealedFile>, Error> {
        block_for(timeout, |waker| self.look(waker)).unwrap_or_else(|| {
            self.watcher.unwatch();
            Err(Error::TimedOut { durable: self.watcher.log().limit() })
        })
    }

    /// As [`next`](Self::next) for a task: pending until there is a file. The waker of the last call
    /// is called then, once. Needs no runtime and no executor; reads block for I/O.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<SealedFile, Error>>> {
        self.look(cx.waker()).map(Result::transpose)
    }

    /// From where on the log is held: where the first file begins that is not done, or where the next
    /// one will.
    #[must_use]
    pub fn held_from(&self) -> Lsn {
        self.ledger.held_from()
    }

    /// Finds the next file, or has `waker` called when it is worth looking again.
    fn look(&mut self, waker: &Waker) -> Poll<Result<Option<SealedFile>, Error>> {
        loop {
            // Before the table is looked at: what is not there by now comes past this.
            let sealed = self.watcher.log().sealed();
            if let Some(file) = self.pick(sealed) {
                match self.announce(file) {
                    Ok(None) => continue,
                    over => {
                        self.watcher.unwatch();
                        return Poll::Ready(over);
                    }
                }
            }
            if let ControlFlow::Break(over) = self.watcher.wait(Need::Sealed(sealed), waker) {
                return over;
            }
        }
    }

    /// The first file before `sealed` that is to be announced.
    fn pick(&mut self, sealed: u64) -> Option<ReadFile> {
        let follow: &dyn Follow = &**self.watcher.log();
        let past = &self.past;
        let (first, found) = follow.files(|files| {
            let whole = files.iter().take_while(|file| file.header.sequence < sealed);
            let mut new = whole.filter(|file| past.get(&file.header.sequence).copied() != file.end);
            (files.first().map_or(0, |file| file.header.sequence), new.next().cloned())
        });
        // Those that are gone are of no interest any more.
        self.past = self.past.split_off(&first);
        found
    }

    /// Reads a file and hands it out; `None` if it is not what it was any more.
    fn announce(&mut self, file: ReadFile) -> Result<Option<SealedFile>, Error> {
        let follow: &dyn Follow = &**self.watcher.log();
        let (sequence, Some(end)) = (file.header.sequence, file.end) else { return Ok(None) };
        let start = file.header.base;
        let Some(content) = Content::of(follow, file)? else {
            // Removed under our hands, or by truncation, before it was held.
            self.past.insert(sequence, end);
            return Ok(None);
        };
        let key = (sequence, content.end);
        let pin = |lsn| self.watcher.log().pin(Arc::clone(&self.name), lsn);
        let read = match self.ledger.open(key, start, pin) {
            Ok(()) => SealedFile::read(self.watcher.log(), &self.ledger, content),
            // Truncated since it was cut: a copy that holds more than it should does no harm, since
            // the next file says where it ends.
            Err(Error::Truncated { .. }) => {
                self.past.insert(sequence, end);
                return Ok(None);
            }
            Err(error) => Err(error),
        };
        match read {
            Ok(file) => {
                self.past.insert(sequence, end);
                Ok(Some(file))
            }
            Err(error) => {
                self.ledger.withdraw(key);
                // Cut while it was read: it is looked for anew.
                if matches!(error, Error::Truncated { .. }) { Ok(None) } else { Err(error) }
            }
        }
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive")
            .field("name", &self.name)
            .field("held_from", &self.held_from())
            .finish_non_exhaustive()
    }
}

/// Ends where [`Archive::next`] returns `None`; an error does not end it.
#[cfg(feature = "stream")]
impl futures_core::Stream for Archive {
    type Item = Result<SealedFile, Error>;

    fn poll_next(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Self::poll_next(self.get_mut(), cx)
    }
}

/// Archiving.
impl<S: SegmentSink, P: Probe> Wal<S, P> {
    /// Hands out the log's files, each once it is whole and durable, and keeps those from being
    /// truncated that are not [done](SealedFile::done): a [hold](Self::hold) under this name, which
    /// begins at `from` and moves on with the files that are done.
    ///
    /// `from` is where the copies end that are safe already: the [`end`](SealedFile::end) of the last
    /// file before which all are done; [`start_lsn`](Self::start_lsn) at first. Every file that holds
    /// anything behind it is announced, so one that was shipped and not noted comes again; shipping
    /// it again does no harm, since neither its number nor, up to its end, its bytes ever change. A
    /// file without records may come again, too. Does not block for I/O.
    ///
    /// ```
    /// # use wal_core::sink::mem::{MemDisk, MemSink};
    /// # use wal_core::{Error, Options, Wal};
    /// # fn ship(_: &wal_core::SealedFile) -> std::io::Result<()> { Ok(()) }
    /// # fn main() -> Result<(), Error> {
    /// # let disk = MemDisk::new();
    /// # let (wal, _) = Wal::open(MemSink::open(&disk)?, Options::default())?;
    /// # wal.append(b"x")?; wal.close()?;
    /// # let (wal, _) = Wal::open(MemSink::open(&disk)?, Options::default())?;
    /// let mut archive = wal.archive("backup", wal.start_lsn())?;
    /// # wal.close()?;
    /// while let Some(file) = archive.next()? {
    ///     if ship(&file).is_ok() {
    ///         file.done(); // and note `file.end()`
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] if something at or behind `from` is gone already.
    pub fn archive(&self, name: impl Into<Arc<str>>, from: Lsn) -> Result<Archive, Error> {
        Archive::new(Arc::<Shared<S, P>>::clone(&self.shared), name.into(), from)
    }
}
