//! The submission and the completion queue, behind one small trait.
//!
//! [`KernelQueue`](crate::KernelQueue) is the real thing and costs nothing: every call is direct.
//! Another [`Queue`] below the same sink makes its rare paths reachable: completions out of order,
//! short, interrupted, failed. **Outside of semantic versioning.**

use std::io;

/// A write for the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// Names it in its completion.
    pub id: u64,
    /// Where its bytes are.
    pub from: *const u8,
    /// How many.
    pub len: u32,
    /// The offset in the file.
    pub offset: u64,
    /// The registered memory that the bytes are in.
    pub memory: Option<u16>,
    /// The registered file.
    pub slot: Option<u32>,
    /// Whether they are to be durable when it completes.
    pub durable: bool,
    /// Whether to have it wait for what it was refused for, instead of trying without waiting.
    pub patient: bool,
}

/// A ring that writes to files of type `F`. Whoever has it drives it alone, from any thread, and not
/// always the same one.
pub trait Queue<F>: Send + 'static {
    /// How many writes may be pushed that have not been popped.
    fn capacity(&self) -> usize;

    /// Puts a write into the submission queue. There is room for it.
    ///
    /// # Safety
    ///
    /// The bytes stay valid and unchanged, and `file` stays open, until its completion was popped
    /// or, if it was never entered, the queue is dropped.
    #[expect(unsafe_code, reason = "the kernel reads the bytes later")]
    unsafe fn push(&mut self, op: &Op, file: &F);

    /// Hands over what was pushed, oldest first, and says how many writes that were; blocks until
    /// there are `wanted` completions, at most as many as are to come. One system call.
    ///
    /// # Errors
    ///
    /// The system's. Nothing was handed over then.
    fn enter(&mut self, wanted: usize) -> io::Result<usize>;

    /// Takes a completion: the write's id, and the bytes written or the negative error number.
    fn pop(&mut self) -> Option<(u64, i32)>;

    /// Registers memory under a number, which is not in use.
    ///
    /// # Errors
    ///
    /// The system's, above all that no more may be pinned.
    ///
    /// # Safety
    ///
    /// The bytes from `from` stay mapped until the queue is dropped.
    #[expect(unsafe_code, reason = "the kernel keeps the pages")]
    unsafe fn register_memory(&mut self, number: u16, from: *mut u8, len: usize) -> io::Result<()>;

    /// Registers a file under a number, or gives the number up.
    ///
    /// # Errors
    ///
    /// The system's.
    fn register_file(&mut self, slot: u32, file: Option<&F>) -> io::Result<()>;
}
