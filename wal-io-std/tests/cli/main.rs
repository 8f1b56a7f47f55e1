//! The tool `wal`, run as a user runs it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test, too")]

mod exchange;
mod golden;
mod inspect;
mod large;
mod manual;
mod messages;
mod records;
mod repair;
mod support;
mod tail;
mod truncate;
