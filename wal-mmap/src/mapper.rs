//! How files are mapped, behind one small trait (unsafe file: mapping memory is).
//!
//! [`Os`] is the real thing. Another [`Mapper`] below the same sink shows what a power loss leaves
//! of mapped memory. The trait serves simulators and tests; **it is outside of semantic
//! versioning**.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;

use memmap2::{MmapOptions, MmapRaw};

/// Maps files of type `F`.
pub trait Mapper<F>: Send + Sync + 'static {
    /// A mapping.
    type Map: Map;

    /// Maps the first `len` bytes of a file, shared: what is stored in the mapping is in the file,
    /// and the other way round.
    ///
    /// # Errors
    ///
    /// The system's; [`UnexpectedEof`](ErrorKind::UnexpectedEof) for a shorter file, whose
    /// mapping a store could not be let into.
    fn map(&self, file: &F, len: usize) -> io::Result<Self::Map>;
}

/// A mapping of the first bytes of a file.
///
/// # Safety
///
/// From the first byte on, which is aligned to 8, [`len`](Self::len) initialised bytes are valid for
/// reads and writes by any thread until this is dropped, as long as nobody cuts the file.
pub unsafe trait Map: Send + Sync + 'static {
    /// The first byte.
    fn as_ptr(&self) -> *mut u8;

    /// Length in bytes.
    fn len(&self) -> usize;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes what was stored in these bytes survive power loss, with whatever is needed to read
    /// it back. Blocks.
    ///
    /// # Errors
    ///
    /// The system's. What was stored may be lost, and another flush says nothing about it.
    fn flush(&self, range: Range<usize>) -> io::Result<()>;
}

/// The operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Os;

/// A mapping by the system.
#[derive(Debug)]
pub struct OsMap {
    map: MmapRaw,
    /// Where `msync` leaves the drive's cache alone, or may: synced, too.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    file: File,
}

impl Mapper<File> for Os {
    type Map = OsMap;

    fn map(&self, file: &File, len: usize) -> io::Result<OsMap> {
        let there = file.metadata()?.len();
        if there < len as u64 {
            let message = format!("a file of {there} bytes cannot be mapped as one of {len}");
            return Err(io::Error::new(ErrorKind::UnexpectedEof, message));
        }
        Ok(OsMap {
            map: MmapOptions::new().len(len).map_raw(file)?,
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            file: file.try_clone()?,
        })
    }
}

// SAFETY: a shared, writable mapping of that length, at the start of a page, which `MmapRaw` keeps
// until it is dropped. Its bytes come from the file or are zeros: initialised.
unsafe impl Map for OsMap {
    fn as_ptr(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    fn len(&self) -> usize {
        self.map.len()
    }

    fn flush(&self, range: Range<usize>) -> io::Result<()> {
        // `msync` with `MS_SYNC`, of the pages that hold these bytes. On Linux that is what
        // `fdatasync` does, for a part of the file: it waits for the device's cache, too, and tells
        // of failures to write back since the last one.
        self.map.flush_range(range.start, range.len())?;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        self.file.sync_data()?;
        Ok(())
    }
}
