//! Bugs of what is on disk: format, recovery, files.

use super::Layer::{Core, Crashes, Files, Lives, Reference, Spec};
use super::{Bug, Edit};

const CHECKSUM: &str = "wal-core/src/format/checksum.rs";
const DIRECT: &str = "wal-io-std/src/direct.rs";
const FILES: &str = "wal-io-std/src/files.rs";
const PREPARE: &str = "wal-io-std/src/prepare.rs";
const RECORD: &str = "wal-core/src/format/record.rs";
const SYS: &str = "wal-io-std/src/sys.rs";
const WALK: &str = "wal-core/src/recover/walk.rs";

/// In the order of the layers, the format first.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "salt-dropped",
        what: "a record's checksum does not cover the salt, so that those of an earlier life pass",
        edits: &[Edit {
            file: CHECKSUM,
            find: "pub fn record(payload: u32, lsn: Lsn, salt: u64, word: u32) -> u32 {",
            replace: "pub fn record(payload: u32, lsn: Lsn, _: u64, word: u32) -> u32 {
    let salt = 0;",
        }],
        caught_by: &[Lives, Core("lib"), Core("golden")],
    },
    Bug {
        name: "position-dropped",
        what: "a record's checksum does not cover its LSN, so that a misdirected write passes",
        edits: &[Edit {
            file: CHECKSUM,
            find: "pub fn record(payload: u32, lsn: Lsn, salt: u64, word: u32) -> u32 {",
            replace: "pub fn record(payload: u32, _: Lsn, salt: u64, word: u32) -> u32 {
    let lsn = Lsn::ZERO;",
        }],
        caught_by: &[Lives, Core("lib"), Core("golden")],
    },
    Bug {
        name: "length-trusted",
        what: "a record's length is believed before it is compared with what is there",
        edits: &[Edit {
            file: RECORD,
            find: "if len > max_len || stored_len(len) > bytes.len() {",
            replace: "if len > max_len {",
        }],
        caught_by: &[Core("lib"), Core("recovery_faults")],
    },
    Bug {
        name: "torn-visible",
        what: "a record is believed without its checksum",
        edits: &[Edit {
            file: RECORD,
            find: "if sum != u32_at(bytes, 4) {",
            replace: "if sum == 0 && u32_at(bytes, 4) != 0 {",
        }],
        caught_by: &[
            Crashes,
            Lives,
            Core("lib"),
            Core("recovery_faults"),
            Reference,
            Spec("TornVisible"),
        ],
    },
    Bug {
        name: "recover-over-gap",
        what: "recovery does not ask a frame which one it follows",
        edits: &[Edit {
            file: WALK,
            find: "if self.tail.chained && found.prev != self.tail.link {",
            replace: "if self.tail.chained && found.lsn < self.tail.end {",
        }],
        caught_by: &[Core("recovery"), Spec("RecoverOverGap")],
    },
    Bug {
        name: "strays-kept",
        what: "files that a recovery has cut off come back if their removal was lost",
        edits: &[Edit {
            file: WALK,
            find: "skips.iter().filter(|(from, to)| *from < sequence && sequence < to.sequence);",
            replace: "skips.iter().filter(|(from, to)| *from > sequence && sequence < to.sequence);",
        }],
        caught_by: &[Lives, Core("crash")],
    },
    Bug {
        name: "gap-passes",
        what: "a file is taken for the next one whatever its header names",
        edits: &[Edit {
            file: WALK,
            find: "        if prev.sequence > sequence && !present(prev.sequence) {
            return Some(Reason::MissingFile);
        }
        let continues = ",
            replace: "        let _ = present;
        let continues = true || ",
        }],
        caught_by: &[Lives, Core("recovery")],
    },
    Bug {
        name: "direct-not-durable",
        what: "direct writes bypass the cache and do not ask for durability",
        edits: &[Edit {
            file: DIRECT,
            find: "layer.write_through_at(file, &[IoSlice::new(rest)], at)",
            replace: "layer.write_at(file, &[IoSlice::new(rest)], at)",
        }],
        caught_by: &[Crashes, Lives],
    },
    Bug {
        name: "directory-not-synced",
        what: "a new file is used before its name is durable",
        edits: &[Edit {
            file: PREPARE,
            find: "if let Err(error) = self.dir.sync() {",
            replace: "if let Err(error) = std::io::Result::Ok(()) {",
        }],
        caught_by: &[Crashes, Lives, Files("create"), Files("directory")],
    },
    Bug {
        name: "fill-not-synced",
        what: "a new file is used before its zeros are durable",
        edits: &[Edit {
            file: PREPARE,
            find: "if synced < capacity || capacity == 0 {",
            replace: "if synced > capacity {",
        }],
        caught_by: &[Crashes, Files("create")],
    },
    Bug {
        name: "sync-of-the-newest-only",
        what: "a sync passes over the file before the newest",
        edits: &[Edit {
            file: FILES,
            find: "        for file in &dirty {",
            replace: "        for file in dirty.iter().rev().take(1) {",
        }],
        caught_by: &[Crashes, Lives, Files("write_sync")],
    },
    Bug {
        name: "short-write-believed",
        what: "a write that was cut short counts as whole",
        edits: &[Edit {
            file: SYS,
            find: "    if done == total {
        return Ok(());
    }
    // Short",
            replace: "    if done > 0 {
        return Ok(());
    }
    // Short",
        }],
        caught_by: &[Lives, Files("write_sync")],
    },
    Bug {
        name: "failure-forgotten",
        what: "a sink whose sync failed accepts the next one, which succeeds without writing",
        edits: &[Edit {
            file: FILES,
            find: "let _ = self.failure.set(error.to_string());",
            replace: "",
        }],
        caught_by: &[Files("write_sync")],
    },
    Bug {
        name: "opened-unsynced",
        what: "opening believes bytes that an earlier process left in a cache",
        edits: &[Edit {
            file: FILES,
            find: "        uninterrupted(|| dir.layer.sync_data(&file)).map_err(dir.failed(
            SinkOp::Sync,
            entry.sequence,
            None,
        ))?;",
            replace: "",
        }],
        caught_by: &[Lives, Files("directory")],
    },
];
