//! Bugs of cutting a log back: what decides, what of it stays, and what comes back.

use super::Layer::{Core, Lives};
use super::{Bug, Edit};

const CUT: &str = "wal-core/src/flush/cut.rs";

/// In the order of a cut: where it is, what is written, what is removed, the next life.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "cut-within-batch",
        what: "a log is cut between the records of a batch",
        edits: &[Edit {
            file: "wal-core/src/read/boundary.rs",
            find: "if batch || kept > lsn",
            replace: "if kept > lsn",
        }],
        caught_by: &[Core("cut")],
    },
    Bug {
        name: "cut-not-synced",
        what: "a cut returns before the header that decides it is durable",
        edits: &[Edit {
            file: CUT,
            find: "        shared.sink.sync().map_err(Failure::Fatal)?;\n",
            replace: "",
        }],
        caught_by: &[Core("cut")],
    },
    Bug {
        name: "cut-unknown-to-readers",
        what: "a reader goes on in what was cut off, as far as it has it in its buffer",
        edits: &[Edit {
            file: CUT,
            find: "self.cuts.fetch_add(1, Ordering::Release);",
            replace: "self.cuts.fetch_sub(1, Ordering::Release);",
        }],
        caught_by: &[Core("cut")],
    },
    Bug {
        name: "cut-file-recycled",
        what: "a file that was cut off is used again, and what it holds passes for what follows",
        edits: &[Edit {
            file: "wal-core/src/truncate.rs",
            find: "sink.remove_unused(file.sequence)",
            replace: "sink.retire(file.sequence)",
        }],
        caught_by: &[Core("cut")],
    },
    Bug {
        name: "cut-file-recycled-later",
        what: "a file that was cut off and could not be removed is used again after the next truncation",
        edits: &[Edit {
            file: "wal-core/src/truncate.rs",
            find: "            // They must not be kept for reuse.
            self.remove_cut_files(&mut front)?;
",
            replace: "",
        }],
        caught_by: &[Core("cut")],
    },
    Bug {
        name: "cut-denied",
        what: "a cut that could not look for the files to remove says that nothing was cut",
        edits: &[Edit {
            file: "wal-core/src/truncate.rs",
            find: "let listing = sink.list().map_err(failed)?;",
            replace: "let listing = sink.list().map_err(Arc::new).map_err(Error::Sink)?;",
        }],
        caught_by: &[Core("cut"), Lives],
    },
    Bug {
        name: "cut-unproved",
        what: "what follows a cut does not prove it, so that damage to its header undoes it",
        edits: &[Edit {
            file: "wal-core/src/flush/pipeline.rs",
            find: "gap.to == durable && gap.begun != Some(file)",
            replace: "gap.to == durable",
        }],
        caught_by: &[Core("cut")],
    },
    Bug {
        name: "cut-to-a-vacant-file",
        what: "a log is cut back to a file without a frame, which begins in what was cut off",
        edits: &[Edit {
            file: "wal-core/src/read/boundary.rs",
            find: "&& prev.end <= named.header.base",
            replace: "&& prev.end < named.header.prev?.end",
        }],
        caught_by: &[Core("cut")],
    },
    Bug {
        name: "hole-taken-for-cut",
        what: "a reader is refused at a hole as if the log had been cut back there",
        edits: &[Edit {
            file: "wal-core/src/shared.rs",
            find: "!scan.report.holes.iter().any(|hole| range.contains(&hole.lsn))",
            replace: "!range.is_empty()",
        }],
        caught_by: &[Core("cut")],
    },
    Bug {
        name: "cut-positions-reused",
        what: "the next life of a log goes on where it was cut, in positions that were used before",
        edits: &[Edit {
            file: "wal-core/src/open.rs",
            find: "let base = scan.next.align_up",
            replace: "let base = scan.end.align_up",
        }],
        caught_by: &[Core("cut")],
    },
    Bug {
        name: "vacant-file-believed",
        what: "a file that opening began before the cut brings back what it names as the end",
        edits: &[Edit {
            file: "wal-core/src/recover/walk.rs",
            find: "skips.all(|(_, to)| to.prev == first.prev) && header.prev == first.prev",
            replace: "skips.all(|(_, to)| to.prev == first.prev)",
        }],
        caught_by: &[Core("cut")],
    },
];
