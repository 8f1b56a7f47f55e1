//! What a comparison found, as it is kept in a file.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::rounds::{Outcome, ratio};

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Version of this format: 2. Of 1, all cells are about durable commits.
    pub version: u32,
    /// Where it was measured: names and values.
    pub machine: Vec<(String, String)>,
    /// What all figures are about.
    pub cells: Vec<Cell>,
}

/// What contenders take turns at.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Appends that are durable when they return
    #[default]
    Durable,
    /// Appends that are handed to the operating system, as fast as it goes
    Sustained,
    /// Appends that are waited for later, as the log becomes durable behind the writers
    Watermark,
    /// Opening, verifying and reading a log that is there
    Recovery,
}

impl Workload {
    /// What it is called on a page.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Durable => "Durable commits",
            Self::Sustained => "Sustained appends",
            Self::Watermark => "Durable by watermark",
            Self::Recovery => "Recovery",
        }
    }

    /// What its figures say.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Durable => {
                "The floor is as many threads that write whole blocks to a file of their own; times \
                 are of single appends."
            }
            Self::Sustained => {
                "The floor is the fastest stream to the disk: large writes past the page cache to a \
                 file that is there. What is handed to the operating system may stay in its memory, \
                 so more than 100 % is possible. Times are of single appends, some of them."
            }
            Self::Watermark => {
                "The floor is as many threads that durably write pieces of the size that writers may \
                 be ahead. Times are from a record's append until its writer knew it durable."
            }
            Self::Recovery => "The floor is reading the same bytes in pieces of 1 MiB.",
        }
    }
}

/// Contenders that took turns at one thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// What they did.
    #[serde(default)]
    pub workload: Workload,
    /// What a record has outlived when its append returns, or where a log is read from.
    pub guarantee: String,
    /// Threads that append.
    pub threads: usize,
    /// Bytes of a record.
    pub bytes: usize,
    /// The contender that all others are relative to.
    pub floor: String,
    /// In the order in which they took their turns.
    pub figures: Vec<Figures>,
}

/// What one contender did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Its name.
    pub name: String,
    /// Rounds measured.
    pub rounds: usize,
    /// Those in which nobody else used the machine.
    pub quiet: usize,
    /// Median.
    pub records_per_second: f64,
    /// Throughput relative to the floor's: the median of the ratios within the rounds.
    pub of_floor: f64,
    /// Times of single appends.
    pub latency_us: Latency,
    /// Records for one sync, where that is counted.
    pub records_per_sync: Option<f64>,
    /// Bytes that the disk was given for a record, what others wrote meanwhile included, where the
    /// system counts them.
    pub written_per_record: Option<f64>,
    /// Processor time for a record.
    pub cpu_us_per_record: f64,
}

/// Times in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// Exceeded by one in a hundred.
    pub p99: f64,
    /// Exceeded by one in a thousand.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Figures {
    /// Sums up what a contender did, relative to `floor` in the same rounds.
    ///
    /// # Errors
    ///
    /// As for [`Outcome::times`].
    pub fn of(outcome: &Outcome, floor: &Outcome) -> Result<Self, hdrhistogram::AdditionError> {
        let times = outcome.times()?;
        let us = |ns: u64| ns as f64 / 1000.0;
        let at = |quantile| us(times.value_at_quantile(quantile));
        let records: u64 = outcome.spans.iter().map(|span| span.records).sum();
        let per_record = |total: f64| total / records.max(1) as f64;
        let syncs: Option<u64> = outcome.spans.iter().map(|span| span.syncs).sum();
        let cpu: Duration = outcome.spans.iter().map(|span| span.cpu).sum();
        let written: Option<u64> = outcome.spans.iter().map(|span| span.written).sum();
        Ok(Self {
            name: outcome.name.clone(),
            rounds: outcome.spans.len(),
            quiet: outcome.quiet(),
            records_per_second: outcome.records_per_second(),
            of_floor: ratio(floor, outcome),
            latency_us: Latency {
                mean: times.mean() / 1000.0,
                p50: at(0.5),
                p99: at(0.99),
                p999: at(0.999),
                max: us(times.max()),
            },
            records_per_sync: syncs.map(|syncs| records as f64 / syncs.max(1) as f64),
            written_per_record: written.map(|bytes| per_record(bytes as f64)),
            cpu_us_per_record: per_record(cpu.as_nanos() as f64 / 1000.0),
        })
    }
}
