//! Bugs of what is made of a log outside of it: exports, logs made anew, what the tool shows.

use super::Layer::{Core, Files};
use super::{Bug, Edit};

const ORDER: &str = "wal-core/src/export/order.rs";
const READER: &str = "wal-core/src/export/reader.rs";
const WRITER: &str = "wal-core/src/export/writer.rs";
const RESTORE: &str = "wal-io-std/src/restore/mod.rs";
const NEW_FILE: &str = "wal-io-std/src/restore/file.rs";
const COPY: &str = "wal-io-std/src/bin/wal/repair/copy.rs";
const FOLLOW: &str = "wal-io-std/src/bin/wal/tail/follow.rs";
const FIND: &str = "wal-io-std/src/bin/wal/inspect/find.rs";

/// In the order of the tool's commands.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "export-sums-its-sums",
        what: "checksums of an export cover the checksums before, and so nothing of what is before those",
        edits: &[
            Edit {
                file: WRITER,
                find: "        self.out.write_all(&self.sum.so_far()).map_err(ExportError::Io)",
                replace: "        let sum = self.sum.so_far();
        self.sum.add(&sum);
        self.out.write_all(&sum).map_err(ExportError::Io)",
            },
            Edit {
                file: READER,
                find: "        if stored != self.sum.so_far() {",
                replace: "        let sum = self.sum.so_far();
        self.sum.add(&sum);
        if stored != sum {",
            },
        ],
        caught_by: &[Core("export")],
    },
    Bug {
        name: "export-batch-torn",
        what: "a record that is not the rest of a batch is taken for it",
        edits: &[Edit {
            file: ORDER,
            find: "if self.batch { lsn == self.after } else { lsn >= self.after };",
            replace: "lsn >= self.after;",
        }],
        caught_by: &[Core("export")],
    },
    Bug {
        name: "export-tail-ignored",
        what: "an export counts as whole whatever its closing mark counts",
        edits: &[Edit {
            file: READER,
            find: "if (Summary { records, payload_bytes }) != self.summary {",
            replace: "if records < self.summary.records && payload_bytes == 0 {",
        }],
        caught_by: &[Core("export")],
    },
    Bug {
        name: "restore-hides-losses",
        what: "whoever asks a repaired log for what is lost is not told so",
        edits: &[Edit {
            file: RESTORE,
            find: "recovered: self.lost && self.prev.is_some(),",
            replace: "recovered: false,",
        }],
        caught_by: &[Files("restore"), Files("cli")],
    },
    Bug {
        name: "restore-claims-nothing",
        what: "damage to a log that was made anew looks like a torn write",
        edits: &[Edit {
            file: RESTORE,
            find: "let durable = self.end.min(place);",
            replace: "let durable = Lsn::ZERO;",
        }],
        caught_by: &[Files("restore")],
    },
    Bug {
        name: "restore-vouches-for-nothing",
        what: "the frame behind what is lost does not say that all before it was durable",
        edits: &[Edit {
            file: NEW_FILE,
            find: "let first = place == self.first.base;",
            replace: "let first = place < self.first.base;",
        }],
        caught_by: &[Files("restore")],
    },
    Bug {
        name: "repair-reuses-positions",
        what: "a repaired log gives out positions again that had been durable",
        edits: &[Edit {
            file: COPY,
            find: "let next = ends.fold(found.next, Lsn::max);",
            replace: "let next = ends.fold(Lsn::ZERO, Lsn::min);",
        }],
        caught_by: &[Files("cli")],
    },
    Bug {
        name: "tail-trusts-halves",
        what: "a frame is shown before all of it is there",
        edits: &[Edit {
            file: FOLLOW,
            find: "                // It is being written.
                _ => return Ok(false),",
            replace: "                _ => {}",
        }],
        caught_by: &[Files("cli")],
    },
    Bug {
        name: "tail-misses-cuts",
        what: "who reads along is not told that what was shown is gone",
        edits: &[Edit {
            file: FOLLOW,
            find: "        if kept < seen {",
            replace: "        if kept < seen && next.prev.is_none() {",
        }],
        caught_by: &[Files("cli")],
    },
    Bug {
        name: "inspect-gives-up",
        what: "records of a frame with a damaged header are not looked for",
        edits: &[Edit {
            file: FIND,
            find: ".is_none_or(|header| header.kind == frame::Kind::Data);",
            replace: ".is_some_and(|header| header.kind == frame::Kind::Data);",
        }],
        caught_by: &[Files("cli")],
    },
];
