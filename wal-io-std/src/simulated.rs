//! The system calls over a simulated disk.

use std::io::{self, IoSlice};
use std::path::Path;

use wal_core::testing::sim::{SimDisk, SimFile};

use crate::sys::{Access, DirEntry, FileLayer};

/// A [`SimDisk`] below the file backend: its faults and power losses are the backend's.
///
/// ```
/// use std::path::Path;
/// use wal_core::testing::sim::{SimDisk, Survival};
/// use wal_io_std::{FileOptions, FileSink, Preparation, SimLayer};
///
/// let disk = SimDisk::new(1);
/// let files = FileOptions::default().preparation(Preparation::Inline);
/// let open = |disk: &SimDisk| {
///     let sink = FileSink::with_layer(SimLayer(disk.clone()), Path::new("/log"), &files)?;
///     wal_core::Wal::open(sink, wal_core::Options::default().file_size(1 << 20))
/// };
/// let (wal, _) = open(&disk)?;
/// wal.append_and_sync(b"acknowledged")?;
///
/// let (_, report) = open(&disk.power_loss(Survival::Nothing, 1))?;
/// assert_eq!(report.records, 1);
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SimLayer(
    /// The disk.
    pub SimDisk,
);

impl FileLayer for SimLayer {
    type File = SimFile;

    fn open(&self, path: &Path, access: Access) -> io::Result<SimFile> {
        match access {
            Access::Read | Access::Update => self.0.open(path),
            Access::CreateNew => self.0.create(path),
            Access::UpdateOrCreate => match self.0.open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.0.create(path),
                opened => opened,
            },
        }
    }

    fn open_dir(&self, path: &Path) -> io::Result<SimFile> {
        self.0.open_dir(path)
    }

    fn try_lock(&self, file: &SimFile) -> io::Result<bool> {
        file.try_lock()
    }

    fn len(&self, file: &SimFile) -> io::Result<u64> {
        file.len()
    }

    fn read_at(&self, file: &SimFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(buf, offset)
    }

    fn write_at(&self, file: &SimFile, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        file.write_at(parts, offset)
    }

    fn allocate(&self, file: &SimFile, len: u64) -> io::Result<()> {
        file.allocate(len)
    }

    fn set_len(&self, file: &SimFile, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn sync_data(&self, file: &SimFile) -> io::Result<()> {
        file.sync()
    }

    fn sync_dir(&self, dir: &SimFile) -> io::Result<()> {
        dir.sync()
    }

    fn drop_cache(&self, file: &SimFile) {
        file.evict();
    }

    fn bypass_cache(&self, file: &SimFile) -> io::Result<usize> {
        file.evict();
        Ok(512)
    }

    fn write_through_at(
        &self,
        file: &SimFile,
        parts: &[IoSlice<'_>],
        offset: u64,
    ) -> io::Result<usize> {
        let written = file.write_at(parts, offset)?;
        file.sync_range(offset..offset + written as u64)?;
        Ok(written)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let listed = self.0.list(path)?.into_iter();
        Ok(listed
            .map(|entry| DirEntry { name: entry.name, is_file: entry.is_file, len: entry.len })
            .collect())
    }
}
