//! Ways to reserve and commit, as prototypes: which words, and what precedes the addition.

use std::time::Duration;

use wal_bench::experiments::{
    Counter, LOOK, NO_LOOK, PREFETCH, Packed, ProtoRing, Striped, Tagged,
};
use wal_bench::measure::Sampling;
use wal_bench::{
    Floor, Log, MutexRing, NullSink, Outcome, Settings, Variant, interleave, machine, ratio, window,
};

const SIZE: usize = 100;
const SEGMENT: usize = 512 << 10;
const SEGMENTS: usize = 8;

fn main() {
    let settings = Settings::from_env(env!("CARGO_TARGET_TMPDIR"));
    machine::disclose(None);
    println!(
        "\n{SIZE} bytes; wall: ns per record over all threads, medians of interleaved rounds;"
    );
    println!("mean, p99.9: ns per append as its thread sees it, 1 in 16 timed, clock included");
    println!("threads  variant                wall  /floor      mean    p99.9  quiet rounds");
    for threads in settings.threads(&[1, 2, 8, 64]) {
        let walls = compare(threads, Sampling::Off, settings.window(6), settings.rounds(31));
        let timed = compare(threads, Sampling::Every(16), settings.window(60), settings.rounds(5));
        for (outcome, timed) in walls.iter().zip(&timed) {
            let Ok(times) = timed.times() else { return };
            println!(
                "{threads:>7}  {:<20} {:>6.1} {:>7.2} {:>9.1} {:>8}  {}/{}",
                outcome.name,
                outcome.ns_per_record(),
                ratio(outcome, &walls[0]),
                times.mean(),
                times.value_at_quantile(0.999),
                outcome.quiet(),
                outcome.spans.len(),
            );
        }
    }
}

/// All variants in turns; the floor comes first.
fn compare(threads: usize, sampling: Sampling, time: Duration, rounds: usize) -> Vec<Outcome> {
    let floor = Floor::new(threads, SEGMENT * SEGMENTS);
    let mutex = MutexRing::new(SEGMENT * SEGMENTS);
    let wal = NullSink::wal(SEGMENT, SEGMENTS);
    let counter = ProtoRing::<Counter<NO_LOOK>>::new(SEGMENT, SEGMENTS);
    let counter_look = ProtoRing::<Counter<LOOK>>::new(SEGMENT, SEGMENTS);
    let counter_prefetch = ProtoRing::<Counter<PREFETCH>>::new(SEGMENT, SEGMENTS);
    let packed = ProtoRing::<Packed>::new(SEGMENT, SEGMENTS);
    let striped = ProtoRing::<Striped>::new(SEGMENT, SEGMENTS);
    let tagged = ProtoRing::<Tagged<false>>::new(SEGMENT, SEGMENTS);
    let tagged_fence = ProtoRing::<Tagged<true>>::new(SEGMENT, SEGMENTS);
    let what = (threads, time, sampling);
    let mut variants = [
        variant("floor", &floor, what),
        variant("mutex", &mutex, what),
        variant("wal-core", &wal, what),
        variant("counter", &counter, what),
        variant("counter, look", &counter_look, what),
        variant("counter, prefetch", &counter_prefetch, what),
        variant("packed", &packed, what),
        variant("striped", &striped, what),
        variant("tagged, no hand-over", &tagged, what),
        variant("tagged, fence", &tagged_fence, what),
    ];
    interleave(&mut variants, rounds)
}

fn variant<'a, L: Log>(
    name: &str,
    log: &'a L,
    (threads, time, sampling): (usize, Duration, Sampling),
) -> Variant<'a> {
    Variant::new(name, move || window(log, threads, SIZE, time, sampling))
}
