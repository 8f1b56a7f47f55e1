//! What is printed of a comparison.

use wal_bench::{Cell, Figures, Workload};

/// The line above the rows of a workload, and what its columns mean.
pub(super) fn heading(workload: Workload) -> String {
    match workload {
        Workload::Durable => {
            "\nEach append survives power loss when it returns. `of raw`: relative to as many threads \
             that write whole\nblocks to a file of their own; times in microseconds.\n\n\
             threads  bytes  contender       records/s  of raw    p50     p99   p99.9      max  \
             records/sync  written/record  cpu us/record  quiet"
        }
        Workload::Sustained => {
            "\nRecords are handed to the operating system, and nothing is synced. `of stream`: bytes of \
             records relative to\nthe fastest stream to the disk, large writes past the page cache.\n\n\
             threads  bytes  contender       records/s     MB/s  of stream  written/record  \
             cpu us/record  quiet"
        }
        Workload::Watermark => {
            "\nRecords are waited for later. `of raw`: relative to as many threads that durably write \
             as much as a writer\nmay be ahead; lag: milliseconds until a writer knew a record durable.\
             \n\nthreads  bytes  contender       records/s     MB/s  of raw  lag p50     p99   p99.9      \
             max  records/sync  cpu us/record  quiet"
        }
        Workload::Recovery => {
            "\nA log is opened, verified and read. `of read`: relative to reading the same bytes.\n\n\
             bytes  contender                records/s    GB/s  of read  cpu us/record  quiet"
        }
    }
    .to_owned()
}

/// The rows of a cell, below a line that says what is promised where that differs between cells.
pub(super) fn rows(cell: &Cell) -> String {
    let mut lines: Vec<String> = cell.figures.iter().map(|figures| row(cell, figures)).collect();
    if matches!(cell.workload, Workload::Sustained | Workload::Recovery) {
        lines.insert(0, format!("{}:", cell.guarantee));
    }
    lines.join("\n")
}

fn row(cell: &Cell, figures: &Figures) -> String {
    let Figures { latency_us: times, .. } = figures;
    let written = figures.written_per_record.map_or_else(|| "-".to_owned(), |n| format!("{n:.0}"));
    let syncs = figures.records_per_sync.map_or_else(|| "-".to_owned(), |n| format!("{n:.1}"));
    let (threads, bytes, name) = (cell.threads, cell.bytes, &figures.name);
    let (speed, of) = (figures.records_per_second, figures.of_floor);
    let rate = speed * bytes as f64 / 1e6;
    let end = format!("{:.2}  {}/{}", figures.cpu_us_per_record, figures.quiet, figures.rounds);
    match cell.workload {
        Workload::Durable => format!(
            "{threads:>7} {bytes:>6}  {name:14} {speed:>10.0} {of:>7.2} {:>6.0} {:>7.0} {:>7.0} {:>8.0}  \
             {syncs:>12} {written:>15} {end:>20}",
            times.p50, times.p99, times.p999, times.max,
        ),
        Workload::Sustained => format!(
            "{threads:>7} {bytes:>6}  {name:14} {speed:>10.0} {rate:>8.0} {:>8.1} % {written:>15} \
             {end:>20}",
            of * 100.0,
        ),
        Workload::Watermark => format!(
            "{threads:>7} {bytes:>6}  {name:14} {speed:>10.0} {rate:>8.0} {of:>7.2} {:>8.2} {:>7.2} \
             {:>7.2} {:>8.2} {syncs:>13} {end:>20}",
            times.p50 / 1e3,
            times.p99 / 1e3,
            times.p999 / 1e3,
            times.max / 1e3,
        ),
        Workload::Recovery => {
            format!("{bytes:>5}  {name:22} {speed:>11.0} {:>7.2} {of:>8.2} {end:>20}", rate / 1e3,)
        }
    }
}
