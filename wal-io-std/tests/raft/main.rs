//! The log store of the example `raft`: openraft's own suite for log stores and state machines, over
//! files, and what that does not ask for. One program, since openraft takes its time to compile.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod durable;
#[allow(dead_code, reason = "the tests use a part of it")]
#[path = "../../examples/raft/kv.rs"]
mod kv;
#[allow(dead_code, reason = "the tests use a part of it")]
#[path = "../../examples/raft/store/mod.rs"]
mod store;
mod suite;
#[path = "../support/mod.rs"]
mod support;

#[test]
fn openraft_suite() {
    suite::run(wal_io_std::open).unwrap();
}
