//! Reading the log files of a directory.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};

use wal_core::sink::{Listing, LogSource, SinkOp};
use wal_core::{Error, SinkError};

use crate::dir::Dir;
use crate::lock;
use crate::sys::{Access, FileLayer, Os, read_full_at};

/// Files kept open for reading.
const CACHED: usize = 8;

/// Read-only access to the log files in a directory, for tools.
///
/// Writes nothing, takes no lock, and leaves the page cache alone. So the log may be open
/// elsewhere, and then what is read keeps changing: a damaged end may only be a write under way.
#[derive(Debug)]
pub struct DirSource<L: FileLayer = Os> {
    dir: Arc<Dir<L>>,
    cache: Mutex<Cache<L::File>>,
}

#[derive(Debug)]
struct Cache<F> {
    /// Most recently used first.
    files: VecDeque<(u64, Arc<F>)>,
    /// Counts calls of `forget`: a file opened before one may be the forgotten one.
    forgotten: u64,
}

impl DirSource {
    /// Opens the log files in `dir`, which must exist, for reading.
    ///
    /// # Errors
    ///
    /// [`Error::Sink`] if the directory cannot be opened.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self::over(Arc::new(Dir::open(Os, dir.as_ref())?)))
    }
}

impl<L: FileLayer> DirSource<L> {
    pub(crate) fn over(dir: Arc<Dir<L>>) -> Self {
        let cache = Cache { files: VecDeque::with_capacity(CACHED), forgotten: 0 };
        Self { dir, cache: Mutex::new(cache) }
    }

    /// Closes file `sequence`: its name goes, or means another file from now on.
    pub(crate) fn forget(&self, sequence: u64) {
        let mut cache = lock(&self.cache);
        cache.files.retain(|(cached, _)| *cached != sequence);
        cache.forgotten += 1;
    }

    /// [`read_at`](LogSource::read_at) that leaves in the page cache what it was asked for and
    /// nothing else, as far as the system takes advice.
    pub(crate) fn read_without_read_ahead(
        &self,
        sequence: u64,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, SinkError> {
        let file = self.file(sequence, |file| self.dir.layer.no_read_ahead(file))?;
        self.read(&file, sequence, offset, buf)
    }

    fn read(
        &self,
        file: &L::File,
        sequence: u64,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, SinkError> {
        read_full_at(&self.dir.layer, file, buf, offset).map_err(self.dir.failed(
            SinkOp::Read,
            sequence,
            Some(offset),
        ))
    }

    /// The open file `sequence`; one that is opened now is shown to `opened` first. The mutex is
    /// not held while opening it.
    fn file(
        &self,
        sequence: u64,
        opened: impl FnOnce(&L::File),
    ) -> Result<Arc<L::File>, SinkError> {
        let forgotten = {
            let mut cache = lock(&self.cache);
            if let Some(found) = cache.files.iter().position(|(cached, _)| *cached == sequence) {
                // Brings it to the front; nothing moves when it is there already.
                cache.files.make_contiguous()[..=found].rotate_right(1);
                return Ok(Arc::clone(&cache.files[0].1));
            }
            cache.forgotten
        };
        let file = Arc::new(self.dir.open_file(sequence, Access::Read)?);
        opened(&file);
        let mut cache = lock(&self.cache);
        if cache.forgotten == forgotten {
            cache.files.truncate(CACHED - 1);
            cache.files.push_front((sequence, Arc::clone(&file)));
        }
        Ok(file)
    }
}

impl<L: FileLayer> LogSource for DirSource<L> {
    fn list(&self) -> Result<Listing, SinkError> {
        self.dir.list().map(|(listing, _)| listing)
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        let file = self.file(sequence, |_| ())?;
        self.read(&file, sequence, offset, buf)
    }
}
