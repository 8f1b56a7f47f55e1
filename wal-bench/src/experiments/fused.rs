//! Copying and taking the checksum in one loop (unsafe file: the instruction for CRC-32C).
#![allow(unsafe_code)]

/// Copies `from` to the start of `to` and returns its CRC-32C, eight bytes at a time, or `None` where
/// the processor has no instruction for it.
///
/// # Panics
///
/// If `to` is shorter than `from`.
#[inline]
pub fn copy_with_crc(from: &[u8], to: &mut [u8]) -> Option<u32> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has the feature.
        return Some(unsafe { eight_at_a_time(from, &mut to[..from.len()]) });
    }
    let _ = (from, to);
    None
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn eight_at_a_time(from: &[u8], to: &mut [u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};
    let mut crc = u64::from(u32::MAX);
    let (words, rest) = from.as_chunks::<8>();
    let (targets, rest_of_target) = to.as_chunks_mut::<8>();
    for (target, word) in targets.iter_mut().zip(words) {
        *target = *word;
        crc = _mm_crc32_u64(crc, u64::from_le_bytes(*word));
    }
    let mut crc = crc as u32;
    for (target, byte) in rest_of_target.iter_mut().zip(rest) {
        *target = *byte;
        crc = _mm_crc32_u8(crc, *byte);
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_copies_and_agrees_with_the_checksum_of_the_log() {
        let from: Vec<u8> = (0..1003).map(|byte| (byte * 7) as u8).collect();
        for len in [0, 1, 8, 100, 1003] {
            let mut to = vec![0; 1003];
            let Some(crc) = copy_with_crc(&from[..len], &mut to) else { return };
            assert_eq!(crc, crc_fast::crc32_iscsi(&from[..len]), "{len}");
            assert_eq!(to[..len], from[..len]);
            assert!(to[len..].iter().all(|&byte| byte == 0));
        }
    }
}
