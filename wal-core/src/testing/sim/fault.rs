//! What can go wrong with one call.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::random::Random;

/// The kinds of calls that a disk takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallKind {
    /// Opening a file or directory that exists.
    Open,
    /// Making a file.
    Create,
    /// Making a directory.
    CreateDir,
    /// Listing a directory.
    List,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// The end of a write that was submitted earlier.
    Complete,
    /// Reserving space.
    Allocate,
    /// Changing a file's length.
    SetLen,
    /// Syncing a file.
    Sync,
    /// Syncing a directory.
    SyncDir,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
    /// Mapping.
    Map,
}

impl CallKind {
    /// Whether such a call changes what a crash can leave.
    #[must_use]
    pub const fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::Read | Self::Allocate | Self::Map)
    }

    /// Whether such a call carries bytes to the disk.
    pub(super) const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Complete)
    }

    /// Whether such a call makes anything survive power loss.
    #[must_use]
    pub const fn syncs(self) -> bool {
        matches!(self, Self::Sync | Self::SyncDir)
    }
}

/// A call, as [plans](super::SimDisk::plan) and [observers](super::SimDisk::watch) see it.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Counts calls from 0, failed ones included.
    pub index: u64,
    /// What is asked for.
    pub kind: CallKind,
    /// The file or directory, by the name under which it was opened.
    pub path: &'a Path,
    /// Byte offset, where there is one.
    pub offset: u64,
    /// Bytes, where there are some.
    pub len: usize,
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} ({:?} {}", self.index, self.kind, self.path.display())?;
        if self.len > 0 {
            write!(f, ", {} bytes at {}", self.len, self.offset)?;
        }
        f.write_str(")")
    }
}

/// How a call goes wrong. One that makes no sense for a call is as if it were not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// An I/O error. Of a write, some first part may have been taken. A sync has written some
    /// sectors, or some names of a directory, and the system takes all of them for written: another
    /// sync would succeed.
    Io,
    /// No space left; nothing is done. A sync, for which a file system that allocates late had to find
    /// the space, has failed as from an I/O error.
    Full,
    /// Interrupted by a signal; nothing is done.
    Interrupted,
    /// Reading and writing: only a first part is done, and its length returned.
    Short,
    /// Writing: the device reports success and forgets the bytes. Reads see them until the cache
    /// is dropped.
    Lost,
    /// Writing: the device reports success and puts the sectors this many sectors away.
    Misdirected(isize),
}

/// How often each fault comes about, as one in so many calls that it can strike; 0 for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// [`Fault::Io`] of a read.
    pub read: u32,
    /// [`Fault::Io`] of a write.
    pub write: u32,
    /// [`Fault::Io`] of a sync, of a file or a directory.
    pub sync: u32,
    /// [`Fault::Io`] of any other call.
    pub other: u32,
    /// [`Fault::Full`] of a call that makes something or reserves space.
    pub full: u32,
    /// [`Fault::Full`] of a write or sync.
    pub full_late: u32,
    /// [`Fault::Interrupted`].
    pub interrupted: u32,
    /// [`Fault::Short`].
    pub short: u32,
    /// [`Fault::Lost`].
    pub lost: u32,
    /// [`Fault::Misdirected`], by up to 16 sectors either way.
    pub misdirected: u32,
}

impl Rates {
    /// Errors, interruptions and short transfers, often enough for a short run to meet them all.
    #[must_use]
    pub const fn errors() -> Self {
        Self {
            read: 800,
            write: 400,
            sync: 300,
            other: 300,
            full: 60,
            full_late: 900,
            interrupted: 20,
            short: 20,
            lost: 0,
            misdirected: 0,
        }
    }

    /// A plan that draws its faults from `seed`.
    pub fn plan(self, seed: u64) -> impl FnMut(&Call<'_>) -> Option<Fault> + Send + 'static {
        let mut random = Random::new(seed);
        move |call| self.draw(call.kind, &mut random)
    }

    fn draw(self, kind: CallKind, random: &mut Random) -> Option<Fault> {
        let writes = kind.writes();
        let moves = writes || kind == CallKind::Read;
        let grows = matches!(kind, CallKind::Create | CallKind::CreateDir | CallKind::Allocate);
        let io = match kind {
            CallKind::Read => self.read,
            _ if writes => self.write,
            _ if kind.syncs() => self.sync,
            _ => self.other,
        };
        // Every rate is drawn for every call, so that one more fault does not shift the others.
        let by = random.below(32) as isize - 16;
        let draws = [
            (io, true, Fault::Io),
            (self.full, grows, Fault::Full),
            (self.full_late, writes || kind.syncs(), Fault::Full),
            (self.interrupted, true, Fault::Interrupted),
            (self.short, moves, Fault::Short),
            (self.lost, writes, Fault::Lost),
            (self.misdirected, writes, Fault::Misdirected(if by < 0 { by } else { by + 1 })),
        ];
        let mut found = None;
        for (rate, fits, fault) in draws {
            if random.one_in(rate) && fits && found.is_none() {
                found = Some(fault);
            }
        }
        found
    }
}

/// What a sync fails with, if it does.
pub(super) fn failed_sync(fault: Option<Fault>) -> Option<io::Error> {
    match fault {
        Some(Fault::Io) => Some(io_error()),
        Some(Fault::Full) => Some(io::ErrorKind::StorageFull.into()),
        _ => None,
    }
}

/// A device's I/O error, the number of which is the same on every Unix.
pub(super) fn io_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// What a plan is.
pub(super) type Plan = Box<dyn FnMut(&Call<'_>) -> Option<Fault> + Send>;

/// A fault that struck, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struck {
    /// The number of the call.
    pub index: u64,
    /// What the call was.
    pub kind: CallKind,
    /// Where.
    pub path: PathBuf,
    /// What happened.
    pub fault: Fault,
}
