//! A ring over any files that completes writes late, out of order, short, and not at all.
#![allow(unsafe_code, reason = "it reads the bytes of a write when the kernel would")]
#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]
#![allow(unreachable_pub, reason = "each test binary is a crate of its own")]

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

use wal_core::testing::sim::SimFile;
use wal_io_uring::queue::{Op, Queue};

/// What happens to one attempt of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Whole,
    /// The first bytes only.
    Short(usize),
    /// Nothing is written, and this error number reported.
    Errno(i32),
}

/// What the ring is to do next.
#[derive(Debug, Default)]
pub struct Script {
    /// The fates of the attempts to come, in the order in which they end; whole after that.
    pub fates: VecDeque<Fate>,
    /// Errors of the calls of `enter` to come.
    pub enter: VecDeque<Option<i32>>,
    /// The call, counted from 0 over all kinds, that panics.
    pub panic_at: Option<usize>,
    pub calls: usize,
    /// Whether memory and files can be registered.
    pub refuse_registration: bool,
    /// Attempts that have ended.
    pub ended: usize,
    /// What is in the ring.
    pub in_flight: usize,
    /// Pieces handed over one by one: so many per call at most, 0 for all.
    pub at_once: usize,
    seed: u64,
}

impl Script {
    fn random(&mut self, below: usize) -> usize {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.seed;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % below as u64) as usize
    }
}

/// Keeps no file open: that is the sink's to do, as its bytes are.
struct InRing {
    op: Op,
    file: *const SimFile,
}

// SAFETY: the addresses are read under the rules of `Queue::push`, whatever the thread.
unsafe impl Send for InRing {}

/// The ring. It reads the bytes of a write when that ends, as late as the kernel may, so that memory
/// that was given back early is noticed. The test keeps its script.
pub struct Driven {
    pub script: Arc<Mutex<Script>>,
    pushed: VecDeque<InRing>,
    taken: Vec<InRing>,
    done: VecDeque<(u64, i32)>,
    slots: [bool; 16],
    memories: Vec<(u16, usize, usize)>,
}

pub fn ring(seed: u64) -> (Arc<Mutex<Script>>, Driven) {
    let script = Arc::new(Mutex::new(Script { seed, ..Script::default() }));
    let driven = Driven {
        script: Arc::clone(&script),
        pushed: VecDeque::new(),
        taken: Vec::new(),
        done: VecDeque::new(),
        slots: [false; 16],
        memories: Vec::new(),
    };
    (script, driven)
}

impl Driven {
    fn step(&self) {
        let mut script = self.script.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let call = script.calls;
        script.calls += 1;
        if script.panic_at == Some(call) {
            drop(script);
            panic!("injected at call {call}");
        }
    }

    /// Ends one of the writes that were handed over, any of them.
    fn end_one(&mut self) {
        let mut script = self.script.lock().unwrap();
        let index = script.random(self.taken.len());
        let InRing { op, file } = self.taken.swap_remove(index);
        let fate = script.fates.pop_front().unwrap_or(Fate::Whole);
        script.ended += 1;
        script.in_flight -= 1;
        drop(script);
        // SAFETY: the sink keeps the bytes until the completion was popped.
        let bytes = unsafe { std::slice::from_raw_parts(op.from, op.len as usize) };
        // SAFETY: and the file.
        let file = unsafe { &*file };
        let result = match fate {
            Fate::Errno(errno) => -errno,
            Fate::Whole => write(file, bytes, op),
            Fate::Short(len) => write(file, &bytes[..len.min(bytes.len())], op),
        };
        self.done.push_back((op.id, result));
    }
}

fn write(file: &SimFile, bytes: &[u8], op: Op) -> i32 {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&[IoSlice::new(&bytes[done..])], op.offset + done as u64) {
            Ok(0) => return -5,
            Ok(written) => done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return -error.raw_os_error().unwrap_or(5),
        }
    }
    if op.durable && file.sync().is_err() {
        return -5;
    }
    done as i32
}

impl Queue<SimFile> for Driven {
    fn capacity(&self) -> usize {
        8
    }

    unsafe fn push(&mut self, op: &Op, file: &SimFile) {
        assert!(self.pushed.len() + self.taken.len() + self.done.len() < 8, "no room in the ring");
        if let Some(slot) = op.slot {
            assert!(self.slots[slot as usize], "slot {slot} has no file");
        }
        if let Some(number) = op.memory {
            let from = op.from.addr();
            let to = from + op.len as usize;
            let inside = |&(n, a, b): &(u16, usize, usize)| n == number && a <= from && to <= b;
            assert!(self.memories.iter().any(inside), "memory {number} is not that of the write");
        }
        self.pushed.push_back(InRing { op: *op, file });
        self.step();
    }

    fn enter(&mut self, wanted: usize) -> io::Result<usize> {
        self.step();
        let mut script = self.script.lock().unwrap();
        if let Some(Some(errno)) = script.enter.pop_front() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let count = match script.at_once {
            0 => self.pushed.len(),
            most => most.min(self.pushed.len()),
        };
        script.in_flight += count;
        let some = script.random(3);
        drop(script);
        self.taken.extend(self.pushed.drain(..count));
        let least = wanted.saturating_sub(self.done.len());
        // The kernel waits for ever where there is nothing to come; not so after part of a hand-over.
        assert!(least <= self.taken.len() + self.pushed.len(), "waits for {wanted} completions");
        for _ in 0..some.max(least).min(self.taken.len()) {
            self.end_one();
        }
        Ok(count)
    }

    fn pop(&mut self) -> Option<(u64, i32)> {
        self.step();
        self.done.pop_front()
    }

    unsafe fn register_memory(&mut self, number: u16, from: *mut u8, len: usize) -> io::Result<()> {
        if self.script.lock().unwrap().refuse_registration {
            return Err(io::Error::from_raw_os_error(12));
        }
        self.memories.push((number, from.addr(), from.addr() + len));
        Ok(())
    }

    fn register_file(&mut self, slot: u32, file: Option<&SimFile>) -> io::Result<()> {
        if self.script.lock().unwrap().refuse_registration {
            return Err(io::Error::from_raw_os_error(22));
        }
        let there = &mut self.slots[slot as usize];
        assert_ne!(*there, file.is_some(), "slot {slot} twice");
        *there = file.is_some();
        Ok(())
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        // What was pushed and not handed over is nobody's any more.
        let left = self.taken.len();
        assert!(left == 0 || std::thread::panicking(), "{left} writes in the ring at its end");
    }
}
