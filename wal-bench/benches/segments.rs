//! How the ring's shape bears on the cost of an append: size and count of segments.

use wal_bench::measure::Sampling;
use wal_bench::{Floor, NullSink, Settings, Variant, interleave, machine, ratio, window};

const THREADS: usize = 2;
const SIZES: [usize; 4] = [64 << 10, 256 << 10, 1 << 20, 4 << 20];
const COUNTS: [usize; 4] = [2, 4, 8, 16];

fn main() {
    let settings = Settings::from_env(env!("CARGO_TARGET_TMPDIR"));
    machine::disclose(None);
    for bytes in [100, 1024] {
        println!("\n{bytes} bytes, {THREADS} threads: wall ns per record (ratio to the floor)");
        print!("{:>10}", "segment");
        COUNTS.iter().for_each(|count| print!("{:>17}", format!("{count} segments")));
        println!();
        let floor = Floor::new(THREADS, 4 << 20);
        let shapes = SIZES.iter().flat_map(|&size| COUNTS.map(|count| (size, count)));
        let wals: Vec<_> = shapes.map(|(size, count)| NullSink::wal(size, count)).collect();
        let time = settings.window(6);
        let mut variants =
            vec![Variant::new("floor", || window(&floor, THREADS, bytes, time, Sampling::Off))];
        variants.extend(wals.iter().map(|wal| {
            Variant::new("wal", move || window(wal, THREADS, bytes, time, Sampling::Off))
        }));
        let outcomes = interleave(&mut variants, settings.rounds(31));
        let (floor, wals) = (&outcomes[0], &outcomes[1..]);
        for (size, row) in SIZES.iter().zip(wals.chunks(COUNTS.len())) {
            print!("{:>10}", format!("{} KiB", size >> 10));
            for outcome in row {
                let (ns, ratio) = (outcome.ns_per_record(), ratio(outcome, floor));
                print!("{:>17}", format!("{ns:.1} ({ratio:.2})"));
            }
            println!();
        }
    }
}
