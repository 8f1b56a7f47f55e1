//! Which CRC-32C, and whether to copy and checksum in one pass or two: one thread, into a ring of the
//! default size.

use std::hint::black_box;
use std::time::{Duration, Instant};

use wal_bench::experiments::copy_with_crc;
use wal_bench::measure::histogram;
use wal_bench::{Settings, Span, Variant, interleave, machine, ratio};
use wal_core::format::checksum;

const RING: usize = 4 << 20;
/// Bytes that are copied and then checksummed at once, so that both find them near.
const PIECE: usize = 512;

fn main() {
    let settings = Settings::from_env(env!("CARGO_TARGET_TMPDIR"));
    machine::disclose(None);
    println!("\nns per record, medians of interleaved rounds, and time relative to the first row");
    println!("bytes  variant                                 ns   ratio");
    for bytes in settings.bytes(&[16, 100, 256, 1024, 4096, 65536]) {
        let records = if settings.smoke { 1 } else { (64 << 20) / (bytes as u64 + 64) };
        let mut variants = vec![
            variant("copy, and checksum (the log)", records, bytes, |from, to| {
                to.copy_from_slice(from);
                checksum::crc32c(from)
            }),
            variant("the same with the crate crc-fast", records, bytes, |from, to| {
                to.copy_from_slice(from);
                crc_fast::crc32_iscsi(from)
            }),
            variant("copy, then checksum of the copy", records, bytes, |from, to| {
                to.copy_from_slice(from);
                checksum::crc32c(to)
            }),
            variant("in turns, pieces of 512", records, bytes, |from, to| {
                let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
                for (from, to) in from.chunks(PIECE).zip(to.chunks_mut(PIECE)) {
                    crc.update(from);
                    to.copy_from_slice(from);
                }
                crc.finalize() as u32
            }),
            variant("the same with the crate crc32c", records, bytes, |from, to| {
                to.copy_from_slice(from);
                crc32c::crc32c(from)
            }),
            variant("copy only", records, bytes, |from, to| {
                to.copy_from_slice(from);
                0
            }),
        ];
        if copy_with_crc(&[], &mut []).is_some() {
            variants.insert(
                4,
                variant("one loop, 8 bytes at a time", records, bytes, |from, to| {
                    copy_with_crc(from, to).unwrap_or(0)
                }),
            );
        }
        let outcomes = interleave(&mut variants, settings.rounds(15));
        for outcome in &outcomes {
            let (ns, ratio) = (outcome.ns_per_record(), ratio(outcome, &outcomes[0]));
            println!("{bytes:>5}  {:<33} {ns:>8.1} {ratio:>7.2}", outcome.name);
        }
    }
}

fn variant(
    name: &str,
    records: u64,
    bytes: usize,
    put: impl Fn(&[u8], &mut [u8]) -> u32 + 'static,
) -> Variant<'static> {
    // Stored to, so that no round meets memory for the first time.
    let (payload, mut ring) = (vec![0x5a; bytes], vec![1; RING]);
    // Behind a header, at a multiple of 8, as in the log.
    let (step, mut at) = ((bytes + 8).next_multiple_of(8), 0);
    Variant::new(name, move || {
        let start = Instant::now();
        for _ in 0..records {
            if at + step > ring.len() {
                at = 0;
            }
            black_box(put(black_box(&payload), &mut ring[at + 8..at + 8 + bytes]));
            at += step;
        }
        let wall = start.elapsed();
        let (waited, times) = (Duration::ZERO, histogram());
        Span { records, wall, quiet: true, waited, times, syncs: None, cpu: wall, written: None }
    })
}
