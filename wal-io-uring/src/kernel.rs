//! The kernel's ring (unsafe file: the kernel reads memory behind the compiler's back).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use io_uring::{IoUring, Probe, opcode, squeue, types};

use crate::queue::{Op, Queue};
use crate::unavailable::Unavailable;

/// Writes in the ring at once.
const ENTRIES: u32 = 64;
/// Numbers for memory: the segments of the largest ring, and what is copied through.
pub(crate) const MEMORIES: u32 = 1024 + 1;
/// Numbers for files: those written to at once are two or three.
pub(crate) const FILES: u32 = 16;

/// A ring of the kernel.
///
/// Set up plainly, for these reasons. `SINGLE_ISSUER`, and `DEFER_TASKRUN`, which needs it, allow
/// one thread to submit: here whoever leads submits, and the lead moves on. `COOP_TASKRUN` has a
/// completion wait until the thread that submitted the write enters the kernel by itself; a leader
/// may leave writes in flight for the next one to wait for, and go on computing. `SQPOLL` spends a
/// core on a thread that polls. `IOPOLL` needs a device with poll queues.
pub struct KernelQueue {
    ring: IoUring,
    memories: bool,
    files: bool,
}

/// Whether this process can use io_uring, with the operations that the sink needs: sets up a ring
/// and takes it down again.
///
/// # Errors
///
/// What is missing, and what to do about it.
pub fn probe() -> Result<(), Unavailable> {
    KernelQueue::open().map(drop)
}

impl KernelQueue {
    /// Sets up a ring and tries it.
    ///
    /// # Errors
    ///
    /// What is missing, and what to do about it.
    pub fn open() -> Result<Self, Unavailable> {
        let explain = |call| {
            move |error| {
                let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
                Unavailable::explain(call, error, disabled.as_deref().map(str::trim))
            }
        };
        // Not inherited by a child, which must not push anything.
        let ring =
            IoUring::builder().dontfork().build(ENTRIES).map_err(explain("io_uring_setup"))?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe).map_err(explain("io_uring_register"))?;
        for (code, name) in [
            (opcode::Write::CODE, "IORING_OP_WRITE"),
            (opcode::WriteFixed::CODE, "IORING_OP_WRITE_FIXED"),
        ] {
            if !probe.is_supported(code) {
                let missing = format!("the kernel has no {name}; Linux 5.6 or later has it");
                return Err(Unavailable::new(missing, io::ErrorKind::Unsupported.into()));
            }
        }
        let mut queue = Self { ring, memories: false, files: false };
        queue.turn_once().map_err(explain("io_uring_enter"))?;
        // What kernels before 5.19 do not have is done without.
        queue.memories = queue.ring.submitter().register_buffers_sparse(MEMORIES).is_ok();
        queue.files = queue.ring.submitter().register_files_sparse(FILES).is_ok();
        Ok(queue)
    }

    /// A round without work: a filter may allow a ring to be made and not to be used.
    fn turn_once(&mut self) -> io::Result<()> {
        let nothing = opcode::Nop::new().build();
        // SAFETY: the operation has no memory.
        let pushed = unsafe { self.ring.submission().push(&nothing) };
        pushed.map_err(io::Error::other)?;
        loop {
            match self.ring.submit_and_wait(1) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
            if let Some(completion) = self.ring.completion().next() {
                return match completion.result() {
                    error @ ..0 => Err(io::Error::from_raw_os_error(-error)),
                    _ => Ok(()),
                };
            }
        }
    }
}

impl<F: AsFd> Queue<F> for KernelQueue {
    fn capacity(&self) -> usize {
        ENTRIES as usize
    }

    unsafe fn push(&mut self, op: &Op, file: &F) {
        let flags = if op.durable { libc::RWF_DSYNC } else { 0 };
        let fd = types::Fd(file.as_fd().as_raw_fd());
        let entry = match (op.memory, op.slot) {
            (Some(memory), Some(slot)) => {
                opcode::WriteFixed::new(types::Fixed(slot), op.from, op.len, memory)
                    .offset(op.offset)
                    .rw_flags(flags)
                    .build()
            }
            (Some(memory), None) => opcode::WriteFixed::new(fd, op.from, op.len, memory)
                .offset(op.offset)
                .rw_flags(flags)
                .build(),
            (None, Some(slot)) => opcode::Write::new(types::Fixed(slot), op.from, op.len)
                .offset(op.offset)
                .rw_flags(flags)
                .build(),
            (None, None) => {
                opcode::Write::new(fd, op.from, op.len).offset(op.offset).rw_flags(flags).build()
            }
        };
        let how = if op.patient { squeue::Flags::ASYNC } else { squeue::Flags::empty() };
        let entry = entry.user_data(op.id).flags(how);
        // SAFETY: the caller keeps bytes and file until the completion.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        // As many entries as the capacity, and the caller pushes no more.
        debug_assert!(pushed.is_ok());
    }

    fn enter(&mut self, wanted: usize) -> io::Result<usize> {
        self.ring.submit_and_wait(wanted)
    }

    fn pop(&mut self) -> Option<(u64, i32)> {
        let completion = self.ring.completion().next()?;
        Some((completion.user_data(), completion.result()))
    }

    unsafe fn register_memory(&mut self, number: u16, from: *mut u8, len: usize) -> io::Result<()> {
        if !self.memories {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the kernel registers memory only all at once (Linux 5.19 or later does not)",
            ));
        }
        let memory = [libc::iovec { iov_base: from.cast(), iov_len: len }];
        // SAFETY: the caller keeps the bytes mapped until the ring is gone.
        unsafe { self.ring.submitter().register_buffers_update(number.into(), &memory, None) }
    }

    fn register_file(&mut self, slot: u32, file: Option<&F>) -> io::Result<()> {
        if !self.files {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the kernel registers files only all at once (Linux 5.19 or later does not)",
            ));
        }
        let fd = file.map_or(-1, |file| file.as_fd().as_raw_fd());
        self.ring.submitter().register_files_update(slot, &[fd]).map(drop)
    }
}

impl Drop for KernelQueue {
    /// Gives back at once what the kernel would give back some time after the ring was closed: the
    /// limit of pinned memory is per user, and the next log may be opened right away.
    fn drop(&mut self) {
        let submitter = self.ring.submitter();
        if self.memories {
            let _ = submitter.unregister_buffers();
        }
        if self.files {
            let _ = submitter.unregister_files();
        }
    }
}
