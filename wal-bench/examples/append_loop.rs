//! Appends records from one thread and does nothing else: for a profiler that counts instructions.
//!
//! Usage: `append_loop [records] [bytes]`.

use std::hint::black_box;

use wal_bench::NullSink;

fn main() -> Result<(), wal_core::Error> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>());
    let mut next = |default| args.next().and_then(Result::ok).unwrap_or(default);
    let (records, bytes) = (next(200_000), next(100));
    let wal = NullSink::wal(512 << 10, 8);
    let payload = vec![0x5a; bytes];
    for _ in 0..records {
        wal.append(black_box(&payload))?;
    }
    Ok(())
}
