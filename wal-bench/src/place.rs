//! Every kind of sink that a bench can put a log on.

use std::fmt;

use clap::ValueEnum;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Options, Wal};

use crate::NullSink;
use crate::backend::{Backend, Work};

/// Where a log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: what is left is the ring.
    Null,
    /// To memory, where it stays.
    Memory,
    /// To files.
    Files(Backend),
}

impl Place {
    /// All of them, the cheapest first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let files = Backend::value_variants().iter().map(|&backend| Self::Files(backend));
        [Self::Null, Self::Memory].into_iter().chain(files).collect()
    }

    /// Does `work` with logs of this place. Without files, the directory is left alone, and logs of
    /// one directory in memory are one log, as in files.
    ///
    /// # Errors
    ///
    /// As for [`Backend::with`].
    pub fn with<W: Work>(self, work: W) -> Result<W::Output, String> {
        match self {
            Self::Null => Ok(work.with(|_, options: Options| {
                // It has no files to go on to.
                Wal::open(NullSink::default(), options.file_size(Options::MAX_FILE_SIZE))
            })),
            Self::Memory => {
                let disk = MemDisk::new();
                Ok(work.with(|_, options| Wal::open(MemSink::open(&disk)?, options)))
            }
            Self::Files(backend) => backend.with(work),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.pad("null"),
            Self::Memory => f.pad("memory"),
            Self::Files(backend) => backend.fmt(f),
        }
    }
}
