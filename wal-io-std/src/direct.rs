//! Writes that bypass the page cache: cut into pieces whose memory, offset and length are aligned.
//! For backends of this workspace; **outside of semantic versioning**.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};

use wal_core::sink::Write;

use crate::sys::{FileLayer, uninterrupted};

/// Less than this is copied together with its neighbours, wherever it lies: a write costs more.
const SMALLEST: usize = 512;

/// A part of a write that can go to the device as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The caller's own memory.
    Own(&'a [u8]),
    /// So many bytes that were copied to the front of the buffer given.
    Copied(usize),
}

/// A write in aligned pieces, in order. What lies in aligned memory is passed on as it is, the rest
/// through a buffer, so that a write of any size takes bounded memory.
#[derive(Debug)]
pub struct Pieces<'a> {
    parts: &'a [IoSlice<'a>],
    /// Bytes of the first part that are done.
    done: usize,
    align: usize,
}

impl<'a> Pieces<'a> {
    /// The pieces of `write`, aligned to `align`, a power of two.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if its offset or length is not aligned, or it ends behind 2^64
    /// bytes.
    pub fn new(write: &Write<'a>, align: usize) -> io::Result<Self> {
        let (offset, len) = (write.offset, write.len() as u64);
        let unit = align as u64;
        if !offset.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            let message = format!("{len} bytes at {offset} are not aligned to {align}");
            return Err(io::Error::new(ErrorKind::InvalidInput, message));
        }
        if offset.checked_add(len).is_none() {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "the write ends behind 2^64 bytes",
            ));
        }
        Ok(Self { parts: write.parts, done: 0, align })
    }

    /// The next piece; `buffer`, aligned itself and at least one block long, takes what has to be
    /// copied.
    pub fn next(&mut self, buffer: &mut [u8]) -> Option<Piece<'a>> {
        if let Some(own) = self.own(usize::MAX) {
            return Some(Piece::Own(own));
        }
        let copied = self.copy(buffer);
        (copied > 0).then_some(Piece::Copied(copied))
    }

    /// The next piece, if it can be passed on where it is, and at most `longest` bytes of it, a
    /// multiple of the alignment.
    pub fn own(&mut self, longest: usize) -> Option<&'a [u8]> {
        let len = self.own_len().min(longest);
        let rest = self.rest()?;
        self.done += len;
        (len > 0).then(|| &rest[..len])
    }

    /// Copies the next piece to the front of `buffer`, which is aligned and at least one block
    /// long: up to where the caller's memory can be used again. Returns its length, 0 at the end.
    pub fn copy(&mut self, buffer: &mut [u8]) -> usize {
        let room = buffer.len() - buffer.len() % self.align;
        let mut copied = 0;
        while copied < room && !(copied.is_multiple_of(self.align) && self.own_len() > 0) {
            let Some(rest) = self.rest() else { break };
            // To the end of the block, if aligned memory begins there in the same part.
            let head = copied.next_multiple_of(self.align) - copied;
            let len = match rest.get(head..) {
                Some(behind) if self.passable(behind) > 0 => head,
                _ => rest.len(),
            };
            let len = len.min(room - copied);
            buffer[copied..copied + len].copy_from_slice(&rest[..len]);
            copied += len;
            self.done += len;
        }
        copied
    }

    /// What is left of the first part that is not done.
    fn rest(&mut self) -> Option<&'a [u8]> {
        while let Some((first, more)) = self.parts.split_first() {
            if self.done < first.len() {
                let first: &'a [u8] = first;
                return Some(&first[self.done..]);
            }
            self.parts = more;
            self.done = 0;
        }
        None
    }

    /// Bytes from here on that can be passed on where they are.
    fn own_len(&mut self) -> usize {
        self.rest().map_or(0, |rest| self.passable(rest))
    }

    /// How much of `bytes`, which begin a block of the file, can be passed on where they are.
    fn passable(&self, bytes: &[u8]) -> usize {
        let len = bytes.len() - bytes.len() % self.align;
        let worth_it = len >= SMALLEST && bytes.as_ptr().addr().is_multiple_of(self.align);
        if worth_it { len } else { 0 }
    }
}

/// How far a short write got, in whole blocks: what follows is written again from there on.
///
/// # Errors
///
/// [`ErrorKind::WriteZero`] if that is not a single block.
pub fn whole_blocks(written: usize, align: usize) -> io::Result<usize> {
    match written - written % align {
        0 => Err(ErrorKind::WriteZero.into()),
        whole => Ok(whole),
    }
}

/// Writes all of `bytes`, which are aligned like `offset`, durably. Blocks.
///
/// # Errors
///
/// That of the write; [`ErrorKind::WriteZero`] if it does not get on.
pub fn write_through<L: FileLayer>(
    layer: &L,
    file: &L::File,
    bytes: &[u8],
    offset: u64,
    align: usize,
) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let (rest, at) = (&bytes[done..], offset + done as u64);
        let written = uninterrupted(|| layer.write_through_at(file, &[IoSlice::new(rest)], at))?;
        done += if written == rest.len() { written } else { whole_blocks(written, align)? };
    }
    Ok(())
}

/// Memory that is aligned to a block.
pub struct Aligned {
    bytes: Vec<u8>,
    from: usize,
    len: usize,
}

impl Aligned {
    /// `len` zeros, aligned to `align`, a power of two.
    #[must_use]
    pub fn zeroed(len: usize, align: usize) -> Self {
        let bytes = vec![0; len + align];
        // The heap bytes stay where they are for as long as the vector is not resized.
        let from = bytes.as_ptr().addr().next_multiple_of(align) - bytes.as_ptr().addr();
        Self { bytes, from, len }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.from..self.from + self.len]
    }

    /// The bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.from..self.from + self.len]
    }
}

impl fmt::Debug for Aligned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aligned").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts parts of these lengths, each at an address of this remainder modulo 512, and returns the
    /// lengths of the pieces: negative ones were copied.
    fn cut(parts: &[(usize, usize)], room: usize) -> Vec<isize> {
        let memory: Vec<_> = parts
            .iter()
            .enumerate()
            .map(|(i, &(len, shift))| {
                let mut memory = Aligned::zeroed(len + shift, 512);
                memory.bytes_mut().fill(i as u8 + 1);
                (memory, shift)
            })
            .collect();
        let slices: Vec<_> =
            memory.iter().map(|(memory, shift)| IoSlice::new(&memory.bytes()[*shift..])).collect();
        let write = Write { ticket: 0, file: 1, offset: 1024, parts: &slices };
        let mut pieces = Pieces::new(&write, 512).unwrap();
        let (mut buffer, mut lens, mut all) = (Aligned::zeroed(room, 512), Vec::new(), Vec::new());
        while let Some(piece) = pieces.next(buffer.bytes_mut()) {
            match piece {
                Piece::Own(own) => {
                    assert!(own.as_ptr().addr().is_multiple_of(512));
                    all.extend_from_slice(own);
                    lens.push(own.len() as isize);
                }
                Piece::Copied(len) => {
                    all.extend_from_slice(&buffer.bytes()[..len]);
                    lens.push(-(len as isize));
                }
            }
        }
        assert!(lens.iter().all(|len| len.unsigned_abs().is_multiple_of(512)), "{lens:?}");
        let expected: Vec<u8> = slices.iter().flat_map(|part| part.iter().copied()).collect();
        assert!(all == expected, "{parts:?}");
        lens
    }

    #[test]
    fn aligned_memory_is_passed_on_and_the_rest_copied_in_bounded_chunks() {
        assert_eq!(cut(&[(4096, 0)], 1024), [4096]);
        assert_eq!(cut(&[(4096, 8)], 1024), [-1024, -1024, -1024, -1024]);
        assert_eq!(cut(&[(512, 8), (4096, 0)], 1024), [-512, 4096]);
        // A part ends inside a block: the one behind it cannot be passed on from its start.
        assert_eq!(cut(&[(1000, 0), (24, 3), (1024, 0)], 2048), [512, -512, 1024]);
        assert_eq!(cut(&[(100, 0), (924, 0), (512, 0)], 2048), [-1024, 512]);
        assert_eq!(cut(&[(0, 0), (3, 1), (0, 5), (1021, 7), (0, 0)], 512), [-512, -512]);
        assert!(cut(&[], 512).is_empty());
    }

    #[test]
    fn what_is_not_aligned_is_refused() {
        let part = [IoSlice::new(&[0; 512])];
        let refused = |offset, parts: &[IoSlice<'_>]| {
            let write = Write { ticket: 0, file: 1, offset, parts };
            Pieces::new(&write, 512).unwrap_err().to_string()
        };
        assert!(refused(8, &part).contains("512 bytes at 8"));
        assert!(refused(512, &[IoSlice::new(b"five!")]).contains("5 bytes at 512"));
        assert!(refused(u64::MAX - 511, &part).contains("2^64"));
    }

    #[test]
    fn short_writes_go_on_at_a_block() {
        assert_eq!(whole_blocks(1024, 512).unwrap(), 1024);
        assert_eq!(whole_blocks(1500, 512).unwrap(), 1024);
        assert_eq!(whole_blocks(511, 512).unwrap_err().kind(), ErrorKind::WriteZero);
    }
}
