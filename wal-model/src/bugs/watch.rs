//! Bugs of what a log tells of itself.

use super::Layer::Core;
use super::{Bug, Edit};

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
];
