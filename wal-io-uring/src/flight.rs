//! Writes in flight, and what becomes of one when the ring says how it ended.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use wal_core::SinkError;
use wal_io_std::direct::whole_blocks;
use wal_io_std::files::OpenFile;

/// Attempts in a row that wrote nothing, after which an interruption counts as an error: a kernel
/// that is short of memory for that long will not write this.
const ATTEMPTS: u32 = 64;

/// What a write of the caller's has to wait for.
pub(crate) struct Flight<F, A> {
    /// What its end is reported for; `None` if the caller waits for it.
    pub(crate) ticket: Option<u64>,
    pub(crate) file: Arc<OpenFile<F, A>>,
    /// Pieces of it in the ring.
    pub(crate) pieces: usize,
    /// Whether more pieces will follow.
    pub(crate) open: bool,
    /// The first of its errors.
    pub(crate) error: Option<SinkError>,
}

/// A piece of a write, in the ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) flight: u64,
    /// What is left to be written.
    pub(crate) from: *const u8,
    pub(crate) len: usize,
    pub(crate) offset: u64,
    /// The registered memory it is in.
    pub(crate) memory: Option<u16>,
    /// The buffer it was copied to.
    pub(crate) bounce: Option<usize>,
    /// Attempts since the last progress.
    pub(crate) attempts: u32,
}

// SAFETY: the pointer is an address that the ring is given; the sink never follows it.
#[allow(unsafe_code, reason = "an address is sent along")]
unsafe impl Send for Piece {}

/// What to do about a piece whose attempt has ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    Written,
    /// What is left goes into the ring again.
    Again(Piece),
    Failed(io::Error),
}

impl Piece {
    /// Judges the `result` of an attempt: bytes, or a negative error number. Rests of short writes
    /// begin at a block of `align` bytes.
    pub(crate) fn judge(mut self, result: i32, align: usize) -> Verdict {
        let Ok(written) = usize::try_from(result) else {
            let error = io::Error::from_raw_os_error(result.saturating_neg());
            self.attempts += 1;
            return match result.saturating_neg() {
                // Not done: for want of memory, because of a signal, or because the thread ended
                // that had submitted it.
                libc::EAGAIN | libc::EINTR | libc::ECANCELED if self.attempts < ATTEMPTS => {
                    Verdict::Again(self)
                }
                _ => Verdict::Failed(error),
            };
        };
        if written == self.len {
            return Verdict::Written;
        }
        if written > self.len {
            let message = format!("{written} bytes written of {} given", self.len);
            return Verdict::Failed(io::Error::other(message));
        }
        match whole_blocks(written, align) {
            Ok(done) => Verdict::Again(Self {
                from: self.from.wrapping_add(done),
                len: self.len - done,
                offset: self.offset + done as u64,
                attempts: 0,
                ..self
            }),
            Err(error) => Verdict::Failed(error),
        }
    }
}

/// The pieces in the ring, under the numbers that the ring knows them by.
pub(crate) struct Pieces {
    all: Vec<Option<Piece>>,
    free: Vec<usize>,
    /// Pushed and not handed over to the kernel, oldest first.
    pushed: VecDeque<usize>,
}

impl Pieces {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            all: vec![None; capacity],
            free: (0..capacity).rev().collect(),
            pushed: VecDeque::with_capacity(capacity),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.all.len()
    }

    /// Whether some have not been handed over.
    pub(crate) fn has_pushed(&self) -> bool {
        !self.pushed.is_empty()
    }

    /// Takes in a piece that is about to be pushed; `None` if there is no room.
    pub(crate) fn insert(&mut self, piece: Piece) -> Option<usize> {
        let number = self.free.pop()?;
        self.all[number] = Some(piece);
        self.pushed.push_back(number);
        Some(number)
    }

    /// The oldest `count` of those pushed were handed over.
    pub(crate) fn handed_over(&mut self, count: usize) {
        self.pushed.drain(..count.min(self.pushed.len()));
    }

    /// Takes out the piece of a completion.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Piece> {
        let number = usize::try_from(id).ok()?;
        let piece = self.all.get_mut(number)?.take()?;
        self.free.push(number);
        Some(piece)
    }

    /// Takes out a piece that was not handed over, and never will be.
    pub(crate) fn take_back(&mut self) -> Option<Piece> {
        let number = self.pushed.pop_back()?;
        self.remove(number as u64)
    }
}

/// The error of a completion that nobody waits for.
pub(crate) fn stray(id: u64) -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        format!("the ring reports write {id}, never given to it"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(len: usize) -> Piece {
        let from = std::ptr::without_provenance(0x10000);
        Piece { flight: 7, from, len, offset: 8192, memory: None, bounce: None, attempts: 0 }
    }

    #[test]
    fn short_writes_go_on_where_they_ended() {
        assert!(matches!(piece(4096).judge(4096, 512), Verdict::Written));
        let Verdict::Again(rest) = piece(4096).judge(1024, 512) else { panic!("not resumed") };
        assert_eq!((rest.from.addr(), rest.len, rest.offset), (0x10400, 3072, 9216));
        // A block of which a part was written is written again.
        let Verdict::Again(rest) = piece(4096).judge(1500, 512) else { panic!("not resumed") };
        assert_eq!((rest.from.addr(), rest.len, rest.offset), (0x10400, 3072, 9216));
        let Verdict::Again(rest) = piece(4096).judge(1500, 1) else { panic!("not resumed") };
        assert_eq!((rest.from.addr(), rest.len, rest.offset), (0x10000 + 1500, 2596, 9692));
        for nothing in [0, 100] {
            let Verdict::Failed(error) = piece(4096).judge(nothing, 512) else {
                panic!("believed")
            };
            assert_eq!(error.kind(), ErrorKind::WriteZero);
        }
        assert!(matches!(piece(4096).judge(4097, 512), Verdict::Failed(_)));
    }

    #[test]
    fn interruptions_come_again_and_errors_do_not() {
        for errno in [libc::EAGAIN, libc::EINTR, libc::ECANCELED] {
            let mut tried = piece(4096);
            for _ in 1..ATTEMPTS {
                let Verdict::Again(again) = tried.judge(-errno, 512) else { panic!("given up") };
                assert_eq!((again.len, again.offset), (4096, 8192));
                tried = again;
            }
            // Progress is what counts.
            let Verdict::Again(rest) = tried.judge(512, 512) else { panic!("given up") };
            assert_eq!(rest.attempts, 0);
            assert!(matches!(tried.judge(-errno, 512), Verdict::Failed(_)));
        }
        for errno in [libc::EIO, libc::ENOSPC, libc::EBADF, libc::EINVAL, libc::EOPNOTSUPP] {
            let Verdict::Failed(error) = piece(4096).judge(-errno, 512) else { panic!("believed") };
            assert_eq!(error.raw_os_error(), Some(errno));
        }
        assert!(matches!(piece(4096).judge(i32::MIN, 512), Verdict::Failed(_)));
    }

    #[test]
    fn a_number_names_one_piece_until_its_completion() {
        let mut pieces = Pieces::new(2);
        let (a, b) = (pieces.insert(piece(1)).unwrap(), pieces.insert(piece(2)).unwrap());
        assert!(pieces.is_full() && pieces.insert(piece(3)).is_none());
        pieces.handed_over(1);
        assert_eq!(pieces.take_back().unwrap().len, 2);
        assert!(!pieces.has_pushed());
        assert!(pieces.remove(b as u64).is_none() && pieces.remove(99).is_none());
        assert_eq!(pieces.remove(a as u64).unwrap().len, 1);
        assert!(pieces.is_empty() && pieces.remove(a as u64).is_none());
    }
}
