//! The next life of a log: one scan that tells what is there and how it ended.

mod report;

pub use report::{Corruption, Cut, Reason, RecoveryReport, Verdict};
