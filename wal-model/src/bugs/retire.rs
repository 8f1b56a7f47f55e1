//! Bugs of truncation: which files go, in what order, and what becomes of them.

use super::Layer::{Core, Crashes, Files, Lives, Reference, Shuttle};
use super::{Bug, Edit};

const READ: &str = "wal-core/src/read/mod.rs";
const PREPARE: &str = "wal-io-std/src/prepare.rs";
const TRUNCATE: &str = "wal-core/src/truncate.rs";
const WALK: &str = "wal-core/src/recover/walk.rs";

/// In the order in which a file goes: the log, its readers, the sink, the next life.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "needed-file-retired",
        what: "a file goes as soon as the position is behind its first byte",
        edits: &[Edit {
            file: TRUNCATE,
            find: "holes.map(|hole| hole.end).fold(end, Lsn::max) <= lsn",
            replace: "holes.map(|hole| hole.end).fold(file.header.base.advance(1), Lsn::max) <= lsn",
        }],
        caught_by: &[Core("truncate"), Reference, Shuttle("truncating")],
    },
    Bug {
        name: "hold-ignored",
        what: "truncation frees what a reader holds",
        edits: &[Edit {
            file: TRUNCATE,
            find: "lowest.as_ref().map_or(lsn, |pin| pin.lsn.min(lsn))",
            replace: "lowest.as_ref().map_or(lsn, |pin| pin.lsn.max(lsn))",
        }],
        caught_by: &[Core("holds"), Shuttle("truncating")],
    },
    Bug {
        name: "retired-before-successor-durable",
        what: "a file goes while the header behind it is not durable: a power loss then takes both",
        edits: &[Edit {
            file: TRUNCATE,
            find: "next.header.base < durable || next.begun",
            replace: "next.header.base <= durable || next.begun",
        }],
        caught_by: &[Lives, Core("truncate"), Shuttle("truncating")],
    },
    Bug {
        name: "newest-retired-first",
        what: "files go newest first, so that a crash leaves a gap",
        edits: &[Edit {
            file: TRUNCATE,
            find: "listing.files.iter().filter(|file| file.sequence < first)",
            replace: "listing.files.iter().rev().filter(|file| file.sequence < first)",
        }],
        caught_by: &[Lives, Core("truncate"), Shuttle("truncating")],
    },
    Bug {
        name: "newest-file-goes",
        what: "every file goes while the one in which the log goes on is not there for want of room",
        edits: &[Edit {
            file: TRUNCATE,
            find: "next.begun",
            replace: "next.header.recovered",
        }],
        caught_by: &[Core("truncate")],
    },
    Bug {
        name: "kept-for-opening-goes",
        what: "a file that opening has yet to put aside is removed, and the log never goes on",
        edits: &[Edit {
            file: TRUNCATE,
            find: "for file in over.filter(|file| !front.put_away.contains(&file.sequence)) {",
            replace: "for file in over {",
        }],
        caught_by: &[Core("cut")],
    },
    Bug {
        name: "failed-removal-forgotten",
        what: "a file that could not be removed is never tried again",
        edits: &[Edit {
            file: TRUNCATE,
            find: "            let listing = shared.sink.list()",
            replace: "            front.gone_below = first;
            let listing = shared.sink.list()",
        }],
        caught_by: &[Core("truncate")],
    },
    Bug {
        name: "frameless-file-forgotten",
        what: "a file without a frame is in nobody's table, and stays behind",
        edits: &[Edit {
            file: WALK,
            find: "        if self.report.frames > frames || bound.is_some() {
            let path",
            replace: "        if self.report.frames > frames {
            let path",
        }],
        caught_by: &[Reference],
    },
    Bug {
        name: "recycled-bytes-for-corruption",
        what: "a reader does not look whether the file that it read is still the log's",
        edits: &[Edit {
            file: READ,
            find: "                Some(next) => Err(truncated(lsn, next)),",
            replace: "                Some(next) if next.header.sequence == 0 => Err(truncated(lsn, next)),
                Some(_) => Ok(()),",
        }],
        caught_by: &[Core("truncate"), Files("retire"), Shuttle("truncating")],
    },
    Bug {
        name: "overtaken-reader-skips",
        what: "a reader whose file is gone goes on with the oldest that is left",
        edits: &[Edit {
            file: READ,
            find: "Some(next) if after == 0 && at < reach(next) => Err(truncated(at, next)),",
            replace: "Some(next) if after == 0 && at > reach(next) => Err(truncated(at, next)),",
        }],
        caught_by: &[Core("truncate"), Shuttle("truncating")],
    },
    Bug {
        name: "reader-that-kept-up-refused",
        what: "who has read all that was truncated is told that something is gone",
        edits: &[Edit {
            file: READ,
            find: "first.header.prev.map_or(first.header.base, |prev| prev.end)",
            replace: "first.header.base",
        }],
        caught_by: &[Core("truncate")],
    },
    Bug {
        name: "removal-not-synced",
        what: "the next file goes before the removal of this one is durable",
        edits: &[Edit {
            file: PREPARE,
            find: "if let Err(error) = uninterrupted(|| layer.sync_dir(&handle)) {",
            replace: "if let Err(error) = io::Result::Ok(drop(handle)) {",
        }],
        caught_by: &[Crashes, Lives, Files("retire")],
    },
    Bug {
        name: "removal-in-doubt-believed",
        what: "a removal whose sync failed counts as done when it is not found again",
        edits: &[Edit {
            file: PREPARE,
            find: "let back = uninterrupted(|| layer.rename(&spare, &path));",
            replace: "let back = io::Result::Ok(());",
        }],
        caught_by: &[Files("retire")],
    },
    Bug {
        name: "earlier-life-reused",
        what: "a file that this life did not write as a whole is used again",
        edits: &[Edit {
            file: PREPARE,
            find: "match state.written.remove(&sequence) {",
            replace: "match state.written.remove(&sequence).or(Some(64 << 10)) {",
        }],
        caught_by: &[Files("retire")],
    },
    Bug {
        name: "spares-without-bound",
        what: "every retired file is kept",
        edits: &[Edit {
            file: PREPARE,
            find: "if state.spares.len() > SPARES {",
            replace: "if state.spares.is_empty() {",
        }],
        caught_by: &[Files("retire")],
    },
    Bug {
        name: "old-header-kept",
        what: "a file is used again with the header of its earlier life",
        edits: &[Edit {
            file: PREPARE,
            find: "            write_all_at(layer, &file, &[IoSlice::new(block)], 0)?;",
            replace: "            let _ = block;",
        }],
        caught_by: &[Crashes, Lives, Files("retire"), Files("conformance")],
    },
    Bug {
        name: "blank-header-not-synced",
        what: "a file is used again before its blank header is durable",
        edits: &[Edit {
            file: PREPARE,
            find: "            uninterrupted(|| layer.sync_data(&file))?;
            Ok(file)
        };",
            replace: "            Ok(file)
        };",
        }],
        caught_by: &[Crashes, Lives, Files("retire")],
    },
    Bug {
        name: "leftovers-unsaid",
        what: "a file that was used before passes for one of zeros",
        edits: &[Edit {
            file: PREPARE,
            find: "Some((spare, file)) => (spare, file, Created::Recycled),",
            replace: "Some((spare, file)) => (spare, file, Created::Zeroed),",
        }],
        caught_by: &[Crashes, Lives, Files("retire"), Files("conformance")],
    },
    Bug {
        name: "leftovers-for-a-torn-write",
        what: "what an earlier life left behind the end is taken for a write of this one",
        edits: &[Edit { file: WALK, find: "survey.nonzero && zeroed", replace: "survey.nonzero" }],
        caught_by: &[Crashes, Lives, Core("recovery"), Core("golden"), Core("truncate")],
    },
];
