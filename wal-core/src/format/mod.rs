//! The bytes of the log: the only place that knows them.
//!
//! `spec/FORMAT.md` is the normative description; the golden files under `tests/golden` hold this
//! module to it. Everything here is a pure function of bytes: no I/O, no allocation from a length
//! that was read and not checked.
//!
//! ```text
//! file   = file header block (4096 B) , frame* , zeros or leftovers
//! frame  = frame header (64 B) , record* , padding to the frame alignment
//! record = word (4 B) , checksum (4 B) , payload , padding to 8 B
//! ```

pub mod checksum;
pub mod file_header;
pub mod frame;
pub mod layout;
pub mod record;

/// Reads a little-endian `u32` at `at`; the caller has checked that it lies within `bytes`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(raw)
}

/// Reads a little-endian `u64` at `at`; the caller has checked that it lies within `bytes`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(raw)
}

pub(crate) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}
