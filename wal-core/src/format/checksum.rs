//! CRC-32C (Castagnoli), a record's in an order that keeps the payload's part by itself.
//!
//! A record's checksum covers its payload *first* and its position, salt and header word after
//! it, so that who has the payload's own checksum already needs no second look at the payload.
//! Those last 20 bytes, and short payloads, go through the processor's CRC instruction directly: a
//! library's fixed cost per call would be a good part of the whole. The figures are in wal-bench's
//! README.
#![allow(unsafe_code)]

use std::io::IoSlice;

use crc_fast::{CrcAlgorithm, Digest};

use crate::lsn::Lsn;

/// Up to so many bytes the instruction by itself is faster than any library's call.
#[cfg(target_arch = "x86_64")]
const SHORT: usize = 256;

/// CRC-32C of `bytes`.
#[must_use]
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() <= SHORT && std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has SSE4.2, checked in the line above.
        return unsafe { short_sse42(bytes) };
    }
    long(bytes)
}

/// Which library is faster depends on the processor: `crc-fast` folds with 512-bit vectors, and
/// `crc32c`, which runs three chains of the instruction, beats it where there are none.
fn long(bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if !std::arch::is_x86_feature_detected!("avx512vl") {
        return crc32c::crc32c(bytes);
    }
    crc_fast::crc32_iscsi(bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn short_sse42(bytes: &[u8]) -> u32 {
    use core::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = u64::from(u32::MAX);
    for &word in words {
        state = _mm_crc32_u64(state, u64::from_le_bytes(word));
    }
    // The instruction leaves the upper half of its 64-bit result zero.
    let mut state = state as u32;
    let (halves, rest) = rest.as_chunks::<4>();
    for &half in halves {
        state = _mm_crc32_u32(state, u32::from_le_bytes(half));
    }
    for &byte in rest {
        state = _mm_crc32_u8(state, byte);
    }
    !state
}

/// CRC-32C of bytes that come one after the other.
#[derive(Debug)]
pub(crate) struct Crc(Digest);

impl Default for Crc {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl Crc {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(&self) -> u32 {
        // CRC-32 fills the low half of the digest's 64-bit result.
        self.0.finalize() as u32
    }
}

/// CRC-32C of a payload given in parts.
#[must_use]
#[inline]
pub fn crc32c_parts(parts: &[IoSlice<'_>]) -> u32 {
    match parts {
        [] => 0,
        [one] => crc32c(one),
        many => {
            let mut crc = Crc::default();
            for part in many {
                crc.update(part);
            }
            crc.value()
        }
    }
}

/// Completes a record's checksum: CRC-32C over payload, LSN, salt and header word, in that order,
/// given the payload's own CRC-32C.
#[must_use]
#[inline]
pub fn record(payload: u32, lsn: Lsn, salt: u64, word: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has SSE4.2, checked in the line above.
        return unsafe { extend_sse42(payload, lsn.get(), salt, word) };
    }
    extend_portable(payload, lsn.get(), salt, word)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn extend_sse42(crc: u32, lsn: u64, salt: u64, word: u32) -> u32 {
    use core::arch::x86_64::{_mm_crc32_u32, _mm_crc32_u64};
    let state = _mm_crc32_u64(u64::from(!crc), lsn);
    let state = _mm_crc32_u64(state, salt);
    // The instruction leaves the upper half of its 64-bit result zero.
    !_mm_crc32_u32(state as u32, word)
}

fn extend_portable(crc: u32, lsn: u64, salt: u64, word: u32) -> u32 {
    let mut suffix = [0; 20];
    suffix[..8].copy_from_slice(&lsn.to_le_bytes());
    suffix[8..16].copy_from_slice(&salt.to_le_bytes());
    suffix[16..].copy_from_slice(&word.to_le_bytes());
    crc32c::crc32c_append(crc, &suffix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_answer_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b""), 0);
    }

    proptest! {
        #[test]
        fn record_checksum_is_the_plain_crc_of_the_concatenation(
            payload in proptest::collection::vec(any::<u8>(), 0..600),
            cut in 0usize..600, lsn: u64, salt: u64, word: u32,
        ) {
            let mut whole = payload.clone();
            whole.extend_from_slice(&lsn.to_le_bytes());
            whole.extend_from_slice(&salt.to_le_bytes());
            whole.extend_from_slice(&word.to_le_bytes());
            let expected = crc32c::crc32c(&whole);

            let (a, b) = payload.split_at(cut.min(payload.len()));
            let parts = crc32c_parts(&[IoSlice::new(a), IoSlice::new(b)]);
            prop_assert_eq!(parts, crc32c(&payload));
            prop_assert_eq!(record(parts, Lsn::new(lsn), salt, word), expected);
            prop_assert_eq!(extend_portable(parts, lsn, salt, word), expected);
        }
    }
}
