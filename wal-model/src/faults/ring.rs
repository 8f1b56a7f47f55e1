//! A ring over a simulated disk, in the place of the kernel's.
//!
//! Writes are in flight from [`enter`](Queue::enter) on, end in an order that is drawn from a seed, and
//! may end short, interrupted or failed, as the disk's plan has it. One that is to be durable is synced
//! as it ends, its own bytes and no others.
#![allow(unsafe_code, reason = "it reads the bytes of a write where the kernel would")]

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use wal_core::testing::sim::{Random, SimDisk, SimFile};
use wal_io_uring::queue::{Op, Queue};

/// Writes in the ring at once: fewer than a large record has pieces.
const CAPACITY: usize = 4;

/// A write in the ring.
#[derive(Debug)]
struct Piece {
    op: Op,
    /// Read when it was pushed. That memory is not given back early is seen where a ring reads late:
    /// `wal-io-uring/tests/faults.rs`.
    bytes: Vec<u8>,
    file: SimFile,
    /// Its name on the disk; numbers of pieces are used again.
    ticket: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub struct SimQueue {
    disk: SimDisk,
    random: Random,
    next_ticket: u64,
    pushed: VecDeque<Piece>,
    taken: Vec<Piece>,
    ended: VecDeque<(u64, i32)>,
}

// SAFETY: the address in an `Op` is not followed after `push`.
unsafe impl Send for SimQueue {}

impl SimQueue {
    /// An empty ring that writes to this disk.
    #[must_use]
    pub fn new(disk: &SimDisk, seed: u64) -> Self {
        Self {
            disk: disk.clone(),
            random: Random::new(seed),
            next_ticket: 0,
            pushed: VecDeque::new(),
            taken: Vec::new(),
            ended: VecDeque::new(),
        }
    }

    /// Ends one of the writes in flight, any of them.
    fn end_one(&mut self) {
        let Piece { op, file, ticket, .. } =
            self.taken.swap_remove(self.random.below(self.taken.len()));
        let written = self.disk.complete_once(ticket).and_then(|written| {
            if op.durable {
                file.sync_range(op.offset..op.offset + written as u64)?;
            }
            Ok(written)
        });
        self.ended.push_back((op.id, answer(written)));
    }
}

/// How a ring tells the end of a write: bytes, or the negative error number.
fn answer(written: io::Result<usize>) -> i32 {
    match written {
        Ok(written) => i32::try_from(written).unwrap_or(i32::MAX),
        Err(error) => -error.raw_os_error().unwrap_or(match error.kind() {
            io::ErrorKind::Interrupted => 4,
            io::ErrorKind::StorageFull => 28,
            _ => 5,
        }),
    }
}

impl Queue<SimFile> for SimQueue {
    fn capacity(&self) -> usize {
        CAPACITY
    }

    unsafe fn push(&mut self, op: &Op, file: &SimFile) {
        // SAFETY: valid at this moment, as the caller promises for longer.
        let bytes = unsafe { std::slice::from_raw_parts(op.from, op.len as usize) }.to_vec();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.pushed.push_back(Piece { op: *op, bytes, file: file.again(), ticket });
    }

    fn enter(&mut self, wanted: usize) -> io::Result<usize> {
        let count = self.pushed.len();
        for piece in self.pushed.drain(..) {
            let Piece { op, bytes, file, ticket } = &piece;
            match file.submit(*ticket, &[IoSlice::new(bytes)], op.offset) {
                Ok(()) => self.taken.push(piece),
                // A ring tells even that by a completion.
                Err(error) => self.ended.push_back((op.id, answer(Err(error)))),
            }
        }
        let least = wanted.saturating_sub(self.ended.len()).min(self.taken.len());
        for _ in 0..least.max(self.random.below(3)).min(self.taken.len()) {
            self.end_one();
        }
        Ok(count)
    }

    fn pop(&mut self) -> Option<(u64, i32)> {
        self.ended.pop_front()
    }

    unsafe fn register_memory(&mut self, _: u16, _: *mut u8, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn register_file(&mut self, _: u32, _: Option<&SimFile>) -> io::Result<()> {
        Ok(())
    }
}
