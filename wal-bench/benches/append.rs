//! What an append costs: by record size and threads, against the floor and against a mutex.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use wal_bench::measure::Sampling;
use wal_bench::{
    Floor, Log, MutexRing, NullSink, Outcome, Settings, Variant, fixed, interleave, machine, ratio,
    window,
};

const SIZES: [usize; 5] = [16, 100, 256, 1024, 4096];
const THREADS: [usize; 4] = [1, 2, 8, 64];
/// The default shape of a log.
const SEGMENT: usize = 512 << 10;
const SEGMENTS: usize = 8;
/// How long a sync takes of the flush that is in progress: about what a fast disk's does.
const SYNC: Duration = Duration::from_micros(250);

fn main() {
    let settings = Settings::from_env(env!("CARGO_TARGET_TMPDIR"));
    machine::disclose(None);
    if settings.runs("criterion") {
        let mut criterion = Criterion::default()
            .sample_size(10)
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_millis(300 * settings.scale as u64))
            .configure_from_args();
        criterion_groups(&mut criterion, &settings);
        criterion.final_summary();
    }
    if settings.runs("ratios") {
        ratios(&settings);
    }
    if settings.runs("latency") {
        latency(&settings);
    }
}

fn criterion_groups(criterion: &mut Criterion, settings: &Settings) {
    for threads in settings.threads(&THREADS) {
        let mut group = criterion.benchmark_group(format!("append/{threads} threads"));
        for size in settings.bytes(&SIZES) {
            group.throughput(Throughput::Bytes(size as u64));
            let mut bench = |name: &str, run: &dyn Fn(u64) -> Duration| {
                group.bench_function(BenchmarkId::new(name, size), |b| b.iter_custom(run));
            };
            let floor = Floor::new(threads, SEGMENT * SEGMENTS);
            bench("floor", &|records| fixed(&floor, threads, size, records).wall);
            let wal = NullSink::wal(SEGMENT, SEGMENTS);
            bench("wal", &|records| fixed(&wal, threads, size, records).wall);
            let mutex = MutexRing::new(SEGMENT * SEGMENTS);
            bench("mutex", &|records| fixed(&mutex, threads, size, records).wall);
        }
        group.finish();
    }
}

/// Floor, log and mutex in turns; prints medians and ratios.
fn ratios(settings: &Settings) {
    println!("\nwall ns per record over all threads, medians of interleaved rounds");
    println!("threads  bytes    floor      wal    mutex  wal/floor  wal/mutex  quiet rounds");
    for threads in settings.threads(&THREADS) {
        for size in settings.bytes(&SIZES) {
            let outcomes = compare(threads, size, Sampling::Off, settings, 31, 6);
            let [floor, wal, mutex] = &outcomes;
            println!(
                "{threads:>7} {size:>6} {:>8.1} {:>8.1} {:>8.1} {:>10.2} {:>10.2}  {}/{}",
                floor.ns_per_record(),
                wal.ns_per_record(),
                mutex.ns_per_record(),
                ratio(wal, floor),
                ratio(wal, mutex),
                wal.quiet(),
                wal.spans.len(),
            );
        }
    }
}

/// Times of single appends. One in 16 is timed, so that the clock hardly thins out contention.
fn latency(settings: &Settings) {
    println!("\nns per append of 100 bytes as its thread sees it, 1 in 16 timed, clock included");
    println!("threads  variant        mean      p50      p99    p99.9        max");
    for threads in settings.threads(&THREADS) {
        let sampling = Sampling::Every(16);
        let others = compare(threads, 100, sampling, settings, 3, 200);
        let flushed = flushed(threads, 100, sampling, settings);
        for outcome in others.into_iter().chain(flushed) {
            let Ok(times) = outcome.times() else { return };
            println!(
                "{threads:>7}  {:<10} {:>8.1} {:>8} {:>8} {:>8} {:>10}",
                outcome.name,
                times.mean(),
                times.value_at_quantile(0.5),
                times.value_at_quantile(0.99),
                times.value_at_quantile(0.999),
                times.max(),
            );
        }
    }
}

/// The log alone, and with a flush in progress at all times: a thread of its own that syncs and syncs.
fn flushed(threads: usize, size: usize, sampling: Sampling, settings: &Settings) -> Vec<Outcome> {
    let time = settings.window(200);
    let wal = NullSink::slow_wal(SEGMENT, SEGMENTS, SYNC);
    let alone = || window(&wal, threads, size, time, sampling);
    let beside = || {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Relaxed: only a signal to stop.
                while !over.load(Ordering::Relaxed) {
                    if let Err(error) = wal.sync() {
                        panic!("the bench cannot go on: {error}");
                    }
                }
            });
            let span = window(&wal, threads, size, time, sampling);
            over.store(true, Ordering::Relaxed);
            span
        })
    };
    let mut variants = [Variant::new("unflushed", alone), Variant::new("flushed", beside)];
    interleave(&mut variants, settings.rounds(3))
}

fn compare(
    threads: usize,
    size: usize,
    sampling: Sampling,
    settings: &Settings,
    rounds: usize,
    window_ms: u64,
) -> [Outcome; 3] {
    let time = settings.window(window_ms);
    let floor = Floor::new(threads, SEGMENT * SEGMENTS);
    let wal = NullSink::wal(SEGMENT, SEGMENTS);
    let mutex = MutexRing::new(SEGMENT * SEGMENTS);
    fn run<'a, L: Log>(
        name: &str,
        log: &'a L,
        (threads, size, time, sampling): (usize, usize, Duration, Sampling),
    ) -> Variant<'a> {
        Variant::new(name, move || window(log, threads, size, time, sampling))
    }
    let what = (threads, size, time, sampling);
    let mut variants =
        [run("floor", &floor, what), run("wal", &wal, what), run("mutex", &mutex, what)];
    let outcomes = interleave(&mut variants, settings.rounds(rounds));
    match <[Outcome; 3]>::try_from(outcomes) {
        Ok(outcomes) => outcomes,
        // One outcome per variant.
        Err(_) => unreachable!(),
    }
}
