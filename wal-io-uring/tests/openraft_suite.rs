//! Openraft's own suite for log stores and state machines, through io_uring.

#[allow(dead_code, reason = "the suite uses a part of it")]
#[path = "../../wal-io-std/examples/raft/kv.rs"]
mod kv;
#[path = "../../wal-io-std/tests/process/mod.rs"]
mod process;
#[allow(dead_code, reason = "the suite uses a part of it")]
#[path = "../../wal-io-std/examples/raft/store/mod.rs"]
mod store;
#[path = "../../wal-io-std/tests/raft/suite.rs"]
mod suite;

use std::process::ExitCode;

use libtest_mimic::{Completion, Failed, Trial};

fn openraft_suite() -> Result<Completion, Failed> {
    if let Err(why) = wal_io_uring::probe() {
        return Ok(process::skipped("openraft's suite", &why.to_string()));
    }
    suite::run(|dir, options| wal_io_uring::open(dir, options.depth(3)))?;
    Ok(Completion::Completed)
}

// Without the harness, which would hide that nothing was tried.
fn main() -> ExitCode {
    process::run(vec![Trial::ignorable_test("openraft_suite", openraft_suite)])
}
