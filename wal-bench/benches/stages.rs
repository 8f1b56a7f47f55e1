//! The stages of a record's life, each by itself: on every sink that it meets, and once on the null
//! sink where it meets none. `append` has the append as a whole.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use wal_bench::backend::{Opened, Work};
use wal_bench::{Durable, Floor, NullSink, Place, Settings, fixed, machine};
use wal_core::{Error, Options, SegmentSink, Wal};

/// Bytes of a record, except where a stage says otherwise.
const SIZE: usize = 100;
/// The default shape of a log.
const SEGMENT: usize = 512 << 10;
const SEGMENTS: usize = 8;
/// Reservations held at once: they fit a segment.
const BURST: u64 = 64;
/// A record that ends the smallest segment.
const LARGE: usize = 3 << 10;
/// Threads that commit together.
const COMMITTERS: usize = 8;

fn main() {
    let settings = Settings::from_env(env!("CARGO_TARGET_TMPDIR"));
    if let Err(error) = std::fs::create_dir_all(&settings.dir) {
        panic!("cannot make {}: {error}", settings.dir.display());
    }
    machine::disclose(Some(&settings.dir));
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300 * settings.scale as u64))
        .configure_from_args();
    in_the_ring(&mut criterion);
    for stage in [Stage::Rotate, Stage::GroupCommit, Stage::Scan, Stage::Read, Stage::Tail] {
        on_every_sink(&mut criterion, stage, &settings);
    }
    criterion.final_summary();
}

/// What no sink has a part in.
fn in_the_ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    let wal = NullSink::wal(SEGMENT, SEGMENTS);
    group.bench_function("reserve", |b| b.iter_custom(|records| halves(&wal, records).0));
    // Of empty records: the checksum of what was filled in belongs to a commit, and is below.
    group.bench_function("commit", |b| b.iter_custom(|records| halves(&wal, records).1));
    for size in [SIZE, 1 << 10, 4 << 10] {
        group.throughput(Throughput::Bytes(size as u64));
        let floor = Floor::new(1, SEGMENT * SEGMENTS);
        group.bench_function(format!("copy and checksum/{size}"), |b| {
            b.iter_custom(|records| fixed(&floor, 1, size, records).wall);
        });
    }
    group.finish();
}

/// How long it took to reserve so many empty records, and to commit them.
fn halves(wal: &Wal<NullSink>, records: u64) -> (Duration, Duration) {
    let (mut reserving, mut committing) = (Duration::ZERO, Duration::ZERO);
    let mut held = Vec::with_capacity(BURST as usize);
    let mut left = records;
    while left > 0 {
        let burst = left.min(BURST);
        let start = Instant::now();
        held.extend((0..burst).map(|_| sure(wal.reserve(0))));
        let reserved = Instant::now();
        for reservation in held.drain(..) {
            black_box(sure(reservation.commit()));
        }
        committing += reserved.elapsed();
        reserving += reserved - start;
        left -= burst;
    }
    (reserving, committing)
}

/// What a sink has a part in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Appends that end a segment each, and, to compare, as large ones that do not.
    Rotate,
    /// Durable appends of several threads.
    GroupCommit,
    /// Opening, which reads and verifies everything.
    Scan,
    /// One record after the other of a log that is there.
    Read,
    /// From a durable append to its arrival at one who follows.
    Tail,
}

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::GroupCommit => "group commit",
            Self::Scan => "recovery scan",
            Self::Read => "read",
            Self::Tail => "tail",
        }
    }

    /// Whether there is something to measure: nothing can be read from the null sink.
    fn meets(self, place: Place) -> bool {
        place != Place::Null || matches!(self, Self::Rotate | Self::GroupCommit)
    }
}

fn on_every_sink(criterion: &mut Criterion, stage: Stage, settings: &Settings) {
    let mut group = criterion.benchmark_group(stage.name());
    for place in Place::all().into_iter().filter(|&place| stage.meets(place)) {
        let home = match tempfile::tempdir_in(&settings.dir) {
            Ok(home) => home,
            Err(error) => panic!("no directory: {error}"),
        };
        let measure =
            Measure { stage, place, dir: home.path(), group: &mut group, smoke: settings.smoke };
        if let Err(why) = place.with(measure) {
            eprintln!("skipped: {place}: {why}");
        }
    }
    group.finish();
}

/// One stage on one sink.
struct Measure<'a, 'b> {
    stage: Stage,
    place: Place,
    dir: &'a Path,
    group: &'a mut BenchmarkGroup<'b, WallTime>,
    smoke: bool,
}

impl Work for Measure<'_, '_> {
    type Output = ();

    fn with<S: SegmentSink>(self, open: impl Fn(&Path, Options) -> Opened<S> + Sync) {
        let Self { stage, place, dir, group, smoke } = self;
        // Read is what was written: about 32 MiB, of which a record is a hundredth millionth.
        let records: u64 = if smoke { 100 } else { 300_000 };
        match stage {
            Stage::Rotate => {
                group.throughput(Throughput::Bytes(LARGE as u64));
                for (name, segment) in [("every record", 4 << 10), ("1 in 170", SEGMENT)] {
                    let options = Options::default().segment_size(segment).segments(SEGMENTS);
                    let (wal, _) = sure(open(&dir.join(name), options));
                    group.bench_function(format!("{place}/{name}"), |b| {
                        b.iter_custom(|records| {
                            let wall = fixed(&wal, 1, LARGE, records).wall;
                            // Files that grow without bound are no part of it.
                            sure(wal.sync().and_then(|()| wal.truncate_before(wal.durable_lsn())));
                            wall
                        });
                    });
                    sure(wal.close());
                }
            }
            Stage::GroupCommit => {
                group.throughput(Throughput::Elements(1));
                let log = Durable(sure(open(dir, Options::default())).0);
                group.bench_function(format!("{place}/{COMMITTERS} threads"), |b| {
                    b.iter_custom(|records| fixed(&log, COMMITTERS, SIZE, records).wall);
                });
                sure(log.0.close());
            }
            Stage::Scan => {
                group.throughput(Throughput::Bytes(records * SIZE as u64));
                sure(fill(sure(open(dir, Options::default())).0, records).close());
                // Small, for each opening begins one.
                let options = || Options::default().file_size(1 << 20);
                group.bench_function(place.to_string(), |b| {
                    // Closing is outside of the clock.
                    b.iter_batched(
                        || (),
                        |()| Closed(Some(sure(open(dir, options())).0)),
                        BatchSize::PerIteration,
                    );
                });
            }
            Stage::Read => {
                group.throughput(Throughput::Bytes(records * SIZE as u64));
                let wal = fill(sure(open(dir, Options::default())).0, records);
                sure(wal.sync());
                group.bench_function(place.to_string(), |b| b.iter(|| read(&wal, records)));
                sure(wal.close());
            }
            Stage::Tail => {
                group.throughput(Throughput::Elements(1));
                let (wal, _) = sure(open(dir, Options::default()));
                let mut tail = sure(wal.tail_from(wal.next_lsn()));
                group.bench_function(place.to_string(), |b| {
                    b.iter(|| {
                        let appended = sure(wal.append_and_sync(&[0x5a; SIZE]));
                        match sure(tail.next()) {
                            Some(entry) => assert_eq!(entry.lsn, appended.lsn),
                            None => panic!("the log ended"),
                        }
                    });
                });
                drop(tail);
                sure(wal.close());
            }
        }
    }
}

/// Closes a log when it is dropped.
struct Closed<S: SegmentSink>(Option<Wal<S>>);

impl<S: SegmentSink> Drop for Closed<S> {
    fn drop(&mut self) {
        sure(self.0.take().map(Wal::close).transpose());
    }
}

fn fill<S: SegmentSink>(wal: Wal<S>, records: u64) -> Wal<S> {
    fixed(&wal, 1, SIZE, records);
    wal
}

fn read<S: SegmentSink>(wal: &Wal<S>, records: u64) {
    let mut cursor = sure(wal.cursor_from(wal.start_lsn()));
    let mut found = 0;
    while let Some(entry) = sure(cursor.next()) {
        black_box(entry.payload);
        found += 1;
    }
    assert_eq!(found, records);
}

#[track_caller]
fn sure<T>(result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the bench cannot go on: {error}"),
    }
}
