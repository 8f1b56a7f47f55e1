//! Memory that is lent to the ring (unsafe file: raw memory).
#![allow(unsafe_code)]

use std::io;
use std::ptr::{self, NonNull};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// A page: what direct writes need of memory, and registering it, too.
pub(crate) const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;

/// Zeroed memory of its own pages, given back when dropped. Of a huge page or more, it begins at one
/// and asks for huge pages.
#[derive(Debug)]
pub(crate) struct Region {
    /// What was mapped.
    map: NonNull<u8>,
    map_len: usize,
    from: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and has no affinity to a thread.
unsafe impl Send for Region {}
// SAFETY: a shared reference gives out addresses only; using one is its user's unsafe promise.
unsafe impl Sync for Region {}

impl Region {
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let invalid = || {
            let message = format!("segment memory of {len} bytes");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        };
        if len == 0 {
            return Err(invalid());
        }
        let huge = len >= HUGE_PAGE;
        let spare = if huge { HUGE_PAGE } else { 0 };
        let map_len = len.checked_add(spare).ok_or_else(invalid)?;
        // SAFETY: a new mapping, at an address that the kernel chooses, touches no other memory.
        let map = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                map_len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let map = NonNull::new(map.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let skipped =
            if huge { map.addr().get().next_multiple_of(HUGE_PAGE) - map.addr().get() } else { 0 };
        // SAFETY: at most `spare` bytes, so that `len` bytes of the mapping follow.
        let from = unsafe { map.add(skipped) };
        let region = Self { map, map_len, from, len };
        if huge {
            // SAFETY: advice changes nothing that can be seen in the bytes, which are this region's.
            // A kernel without huge pages refuses it, and has small ones.
            let _ = unsafe { madvise(from.as_ptr().cast(), len, Advice::LinuxHugepage) };
        }
        Ok(region)
    }

    pub(crate) const fn as_ptr(&self) -> NonNull<u8> {
        self.from
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, unmapped only here, and whoever used it is done with it.
        let unmapped = unsafe { munmap(self.map.as_ptr().cast(), self.map_len) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Buffers that bytes are copied through which are not in memory fit for the device. One is free, or
/// in the hands of a write.
#[derive(Debug)]
pub(crate) struct Bounce {
    region: Region,
    free: Vec<usize>,
}

impl Bounce {
    /// Bytes of a buffer.
    pub(crate) const LEN: usize = 64 << 10;
    /// So many, so that copying one goes on while others are written.
    const COUNT: usize = 4;

    pub(crate) fn new() -> io::Result<Self> {
        let region = Region::new(Self::LEN * Self::COUNT)?;
        Ok(Self { region, free: (0..Self::COUNT).collect() })
    }

    pub(crate) const fn region(&self) -> &Region {
        &self.region
    }

    /// Takes a buffer, and has `fill` fill it; returns its number, and how far it was filled.
    pub(crate) fn take(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> Option<(usize, usize)> {
        let number = self.free.pop()?;
        // SAFETY: a number at most `COUNT - 1`: the buffer lies in the region.
        let from = unsafe { self.region.as_ptr().add(number * Self::LEN) };
        // SAFETY: initialised (pages are zeros) bytes of the region, which are nobody else's while
        // the number was free and `self` is borrowed.
        let buffer = unsafe { std::slice::from_raw_parts_mut(from.as_ptr(), Self::LEN) };
        Some((number, fill(buffer)))
    }

    /// The first byte of a buffer.
    pub(crate) fn at(&self, number: usize) -> *const u8 {
        self.region.as_ptr().as_ptr().wrapping_add(number * Self::LEN)
    }

    /// Gives a buffer back that nobody reads any more.
    pub(crate) fn give_back(&mut self, number: usize) {
        self.free.push(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_zeroed_and_aligned() {
        for (len, align) in
            [(100, PAGE), (2 * PAGE, PAGE), (HUGE_PAGE, HUGE_PAGE), (3 << 20, HUGE_PAGE)]
        {
            let region = Region::new(len).unwrap();
            assert!(region.as_ptr().addr().get().is_multiple_of(align));
            // SAFETY: mapped, `len` bytes long, and this test's alone.
            let bytes = unsafe { std::slice::from_raw_parts_mut(region.as_ptr().as_ptr(), len) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(1);
        }
        assert_eq!(Region::new(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(Region::new(usize::MAX).is_err());
    }

    #[test]
    fn a_buffer_belongs_to_one_write_at_a_time() {
        let mut bounce = Bounce::new().unwrap();
        let taken: Vec<_> = (0..Bounce::COUNT)
            .map(|n| {
                bounce
                    .take(|buffer| {
                        buffer.fill(n as u8);
                        n
                    })
                    .unwrap()
            })
            .collect();
        assert!(bounce.take(|_| panic!("none is free")).is_none());
        for (number, n) in taken {
            // SAFETY: a buffer that was filled above.
            assert_eq!(unsafe { *bounce.at(number) } as usize, n);
            bounce.give_back(number);
        }
        assert!(bounce.take(|_| 0).is_some());
    }
}
