//! Bugs of reading backwards: what is passed over, what is given twice, what nobody is told.

use super::Layer::Core;
use super::{Bug, Edit};

const BACK: &str = "wal-core/src/read/back.rs";

/// In the order of a walk: where it begins, frames, parts, files, what comes in between.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "back-from-the-frame",
        what: "a walk that begins within a frame gives what lies behind the position",
        edits: &[Edit {
            file: BACK,
            find: "if kind != Some(record::Kind::Void) && at < self.from {",
            replace: "if kind != Some(record::Kind::Void) {",
        }],
        caught_by: &[Core("back")],
    },
    Bug {
        name: "back-over-a-hole",
        what: "the frame before a hole is the one that the frame behind it names",
        edits: &[Edit {
            file: BACK,
            find: "if !self.log.holes().iter().any(is_within) {",
            replace: "if !self.log.holes().iter().any(is_within) || named.is_some() {",
        }],
        caught_by: &[Core("back")],
    },
    Bug {
        name: "back-over-the-middle",
        what: "of a large frame only the last part is read",
        edits: &[Edit {
            file: BACK,
            find: "            if part < at && next > part.advance(PART) {
                self.parts.push(part);
                part = at;",
            replace: "            if part < at && next > part.advance(PART) {
                part = at;",
        }],
        caught_by: &[Core("back")],
    },
    Bug {
        name: "back-without-a-word",
        what: "a walk that a truncation has overtaken ends as if it had come to the beginning",
        edits: &[Edit {
            file: BACK,
            find: "if first.header.base > start => {",
            replace: "if first.header.base > start && start > at => {",
        }],
        caught_by: &[Core("back")],
    },
    Bug {
        name: "back-from-what-was-cut",
        what: "a walk goes on though what it has given was cut off",
        edits: &[Edit {
            file: BACK,
            find: "self.log.check_kept(newest)?;",
            replace: "let _ = newest;",
        }],
        caught_by: &[Core("back")],
    },
];
