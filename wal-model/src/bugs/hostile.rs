//! Bugs that only damaged, forged or leftover bytes meet.

use super::Layer::{Core, Crashes, Hostile, Lives};
use super::{Bug, Edit};

const BUFFER: &str = "wal-core/src/segment/buffer.rs";
const BODY: &str = "wal-core/src/recover/frame_body.rs";
const EVIDENCE: &str = "wal-core/src/recover/evidence.rs";
const FRAME: &str = "wal-core/src/format/frame.rs";
const OPEN: &str = "wal-core/src/open.rs";
const VERDICT: &str = "wal-core/src/recover/verdict.rs";
const WALK: &str = "wal-core/src/recover/walk.rs";
const WINDOW: &str = "wal-core/src/recover/window.rs";

/// In the order of the layers, the format first.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "reserved-ignored",
        what: "a frame header with anything in its reserved bytes is believed",
        edits: &[Edit {
            file: FRAME,
            find: "if u64_at(bytes, 52) != 0 {",
            replace: "if u64_at(bytes, 52) == 1 << 63 {",
        }],
        caught_by: &[Core("lib"), Core("recovery_forged"), Hostile],
    },
    Bug {
        name: "memory-by-the-mebibyte",
        what: "a window is as large as a read may be, however small the file",
        edits: &[Edit {
            file: WINDOW,
            find: "let len = (end - offset).max(READ_LEN).min(self.file_len - offset);",
            replace: "let len = (end - offset).max(READ_LEN);",
        }],
        caught_by: &[Core("recovery_sweeps"), Hostile],
    },
    Bug {
        name: "read-error-swallowed",
        what: "a read that fails is taken for the end of the file",
        edits: &[Edit {
            file: WINDOW,
            find: "let read = self.source.read_at(self.file, offset + kept as u64, rest)?;",
            replace: "let read = self.source.read_at(self.file, offset + kept as u64, rest).unwrap_or(0);",
        }],
        caught_by: &[Core("recovery"), Core("regressions")],
    },
    Bug {
        name: "end-within-a-batch",
        what: "a log ends within a batch of which a record is damaged",
        edits: &[Edit {
            file: BODY,
            find: "let good = place(batch.unwrap_or(at));",
            replace: "let good = place(at);",
        }],
        caught_by: &[Crashes, Lives, Core("recovery"), Core("recovery_sweeps"), Hostile],
    },
    Bug {
        name: "any-void-ends-a-batch",
        what: "a batch with a void record in it is whole",
        edits: &[Edit {
            file: BODY,
            find: "(Kind::Void, Some(_)) => break,",
            replace: "(Kind::Void, Some(_)) => delivery.voids += 1,",
        }],
        caught_by: &[Core("recovery"), Hostile],
    },
    Bug {
        name: "trimmed-file-refused",
        what: "a trimmed file whose close mark is damaged is corruption to every life but the next",
        edits: &[Edit {
            file: WALK,
            find: "if self.was_trimmed(header, entry_len) && !recovered {",
            replace: "if self.was_trimmed(header, entry_len) {",
        }],
        caught_by: &[Core("recovery"), Hostile],
    },
    Bug {
        name: "trimmed-file-cut",
        what: "a damaged record of a file that was trimmed, and so closed, is cut off",
        edits: &[Edit {
            file: WALK,
            find: "damage.impossible = self.was_trimmed(header, entry_len);",
            replace: "damage.impossible = false;",
        }],
        caught_by: &[Core("recovery")],
    },
    Bug {
        name: "no-room-subtracted",
        what: "a file with no room for a frame header is searched past its end",
        edits: &[Edit {
            file: WALK,
            find: "let fits = header.limit().distance_from(first).is_some_and(|room| stored <= room);",
            replace: "let fits = stored <= header.limit().get() - first.get();",
        }],
        caught_by: &[Core("recovery_faults"), Hostile],
    },
    Bug {
        name: "end-within-a-header",
        what: "an end within a frame's header drops the frame's records in silence",
        edits: &[Edit {
            file: WALK,
            find: "|next| !next.recovered || !kept)",
            replace: "|next| !next.recovered && kept)",
        }],
        caught_by: &[Core("recovery"), Hostile],
    },
    Bug {
        name: "first-file-unasked",
        what: "the first file read may be another than the next one names",
        edits: &[Edit {
            file: WALK,
            find: "found.sequence == prev.sequence && found.salt != prev.salt",
            replace: "found.sequence == prev.sequence && found.salt == !prev.salt",
        }],
        caught_by: &[Core("recovery_forged"), Hostile],
    },
    Bug {
        name: "own-limit-on-reading",
        what: "records are read by a smaller limit than they were written by",
        edits: &[Edit {
            file: WALK,
            find: "let max_len = header.max_record_len as usize;
        let body",
            replace: "let max_len = header.max_record_len.min(8000) as usize;
        let body",
        }],
        caught_by: &[Core("regressions")],
    },
    Bug {
        name: "claims-unheard",
        what: "a damaged place is not held against the watermarks behind it",
        edits: &[Edit {
            file: EVIDENCE,
            find: "found.claim = found.claim.max(stray.durable);
        let fits",
            replace: "let fits",
        }],
        caught_by: &[Core("recovery"), Core("recovery_sweeps"), Core("recovery_forged"), Hostile],
    },
    Bug {
        name: "leftovers-are-ours",
        what: "bytes of an earlier life at the end of a log are taken for damage",
        edits: &[Edit {
            file: WALK,
            find: "if !absent || survey.nonzero && zeroed {",
            replace: "if !absent || survey.nonzero {",
        }],
        caught_by: &[Core("recovery"), Core("regressions"), Hostile],
    },
    Bug {
        name: "claim-by-the-block",
        what: "a claim counts only if it passes the block of the damaged record",
        edits: &[Edit {
            file: VERDICT,
            find: "evidence::headless(&mut self.window, entry.len, self.tail.end, at)",
            replace: "evidence::headless(&mut self.window, entry.len, self.tail.end, at.max(self.tail.next))",
        }],
        caught_by: &[Core("recovery")],
    },
    Bug {
        name: "claim-of-the-place-itself",
        what: "a watermark at the damaged place counts as one behind it",
        edits: &[Edit {
            file: VERDICT,
            find: "if damage.impossible || evidence.claim > damage.at {",
            replace: "if damage.impossible || evidence.claim >= damage.at {",
        }],
        caught_by: &[Core("recovery"), Hostile],
    },
    Bug {
        name: "numbers-run-out",
        what: "a log is opened behind the last position that there is",
        edits: &[Edit {
            file: OPEN,
            find: "if scan.next.get().max(sequence) >= 1 << 63 {",
            replace: "if scan.next.get().max(sequence) == u64::MAX {",
        }],
        caught_by: &[Core("regressions")],
    },
    Bug {
        name: "record-padding-stale",
        what: "what was in memory before is written behind a record",
        edits: &[Edit {
            file: BUFFER,
            find: "self.put(from, &[0; record::ALIGN][..end - from]);",
            replace: "self.put(from, &[0; record::ALIGN][..(end - from).min(1)]);",
        }],
        caught_by: &[Core("regressions")],
    },
    Bug {
        name: "frame-padding-stale",
        what: "what was in memory before is written behind a frame",
        edits: &[Edit { file: BUFFER, find: "        bytes[len..].fill(0);\n", replace: "" }],
        caught_by: &[Core("regressions")],
    },
];
