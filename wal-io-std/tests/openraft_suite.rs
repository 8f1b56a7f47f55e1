//! Openraft's own suite for log stores and state machines, over files.

#[allow(dead_code, reason = "the suite uses a part of it")]
#[path = "../examples/raft/kv.rs"]
mod kv;
#[allow(dead_code, reason = "the suite uses a part of it")]
#[path = "../examples/raft/store/mod.rs"]
mod store;
#[path = "raft/suite.rs"]
mod suite;

#[test]
fn openraft_suite() {
    suite::run(wal_io_std::open).unwrap();
}
