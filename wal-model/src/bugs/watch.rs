//! Bugs of what a log tells of itself, and hands out.

use super::Layer::{Core, Shuttle};
use super::{Bug, Edit};

const ARCHIVE: &str = "wal-core/src/archive/mod.rs";
const LEDGER: &str = "wal-core/src/archive/ledger.rs";

/// The bugs.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "void-counted",
        what: "a reservation that was dropped counts as a record",
        edits: &[Edit {
            file: "wal-core/src/reservation.rs",
            find: "u64::from(kind != record::Kind::Void)",
            replace: "1",
        }],
        caught_by: &[Core("stats")],
    },
    Bug {
        name: "records-in-the-way",
        what: "the count of records takes part in whether a segment is complete",
        edits: &[Edit {
            file: "wal-core/src/segment/word.rs",
            find: "self.bytes() == Self::SEALED",
            replace: "self.0 == Self::SEALED",
        }],
        caught_by: &[Core("lib")],
    },
    Bug {
        name: "poison-untold",
        what: "no subscriber hears of the failure that poisons a log",
        edits: &[Edit {
            file: "wal-core/src/shared.rs",
            find: "self.observer.poisoned(cause);",
            replace: "let _ = (cause, Observer::poisoned);",
        }],
        caught_by: &[Core("observe")],
    },
    Bug {
        name: "archive-holds-nothing",
        what: "the hold of an archive moves on over files that are not done",
        edits: &[Edit {
            file: LEDGER,
            find: "state.hold.advance(lowest);",
            replace: "let _ = lowest;
        let next = state.next;
        state.hold.advance(next);",
        }],
        caught_by: &[Core("archive"), Shuttle("archiving")],
    },
    Bug {
        name: "archive-ahead-of-sync",
        what: "a file is announced when the next is begun, durable or not",
        edits: &[Edit {
            file: "wal-core/src/flush/submit.rs",
            find: "        shared.add_file(header, end);\n",
            replace: "        shared.add_file(header, end);\n        shared.seal(place.file);\n",
        }],
        caught_by: &[Core("archive")],
    },
    Bug {
        name: "archive-ships-leftovers",
        what: "what lies in a file behind its end is announced as part of it",
        edits: &[Edit {
            file: "wal-core/src/read/sealed.rs",
            find: "let end = file.end.unwrap_or(file.header.base).max(file.header.base);",
            replace: "let end = file.header.limit();",
        }],
        caught_by: &[Core("archive")],
    },
    Bug {
        name: "archive-misses-cuts",
        what: "a file that was cut is not announced with its new end",
        edits: &[Edit {
            file: ARCHIVE,
            find: "past.get(&file.header.sequence).copied() != file.end",
            replace: "!past.contains_key(&file.header.sequence)",
        }],
        caught_by: &[Core("archive")],
    },
    Bug {
        name: "archive-unverified",
        what: "a damaged file is announced",
        edits: &[Edit {
            file: "wal-core/src/archive/file.rs",
            find: "crate::read::verify(&follow, &content.file)?;",
            replace: "let _ = crate::read::verify;",
        }],
        caught_by: &[Core("archive")],
    },
    Bug {
        name: "archive-link-lost",
        what: "a file without records goes before it was shipped, and the copies do not follow each other",
        edits: &[Edit {
            file: "wal-core/src/truncate.rs",
            find: "let behind = file.header.base < lsn;",
            replace: "let behind = true;",
        }],
        caught_by: &[Core("archive")],
    },
];
