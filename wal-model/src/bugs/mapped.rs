//! Bugs of segments whose memory is a part of a file, and of the backend that lends it.

use super::Layer::{Core, Loom, Mapped};
use super::{Bug, Edit};

const FRAME: &str = "wal-core/src/format/frame.rs";
const MAPPED: &str = "wal-mmap/src/mapped.rs";
const MEMORY: &str = "wal-core/src/sink/memory.rs";
const RING: &str = "wal-core/src/segment/ring.rs";
const SINK: &str = "wal-mmap/src/sink.rs";
const WALK: &str = "wal-core/src/recover/walk.rs";

pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "magic-not-last",
        what: "a frame's magic is in the file before the rest of its header",
        edits: &[Edit {
            file: MEMORY,
            find: "first.store(0, Ordering::Relaxed);",
            replace: "first.store(u32::from_ne_bytes(*head), Ordering::Relaxed);",
        }],
        caught_by: &[Mapped("steps")],
    },
    Bug {
        name: "magic-left-over",
        what: "an earlier life's magic stays in front of a header in the making",
        edits: &[Edit {
            file: MEMORY,
            find: "first.store(0, Ordering::Relaxed);",
            replace: "",
        }],
        caught_by: &[Mapped("steps")],
    },
    Bug {
        name: "header-before-its-records",
        what: "the parts of a write are stored from the first to the last",
        edits: &[
            Edit { file: MAPPED, find: "let mut end = len;", replace: "let mut end = 0;" },
            Edit { file: MAPPED, find: "write.parts.iter().rev()", replace: "write.parts" },
            Edit {
                file: MAPPED,
                find: "            end -= part.len();
            // SAFETY: within the `len` bytes from `start`.
            let to = unsafe { start.as_ptr().add(end) };",
                replace: "            let to = unsafe { start.as_ptr().add(end) };
            end += part.len();",
            },
        ],
        caught_by: &[Mapped("steps")],
    },
    Bug {
        name: "lent-too-late",
        what: "a segment's memory is chosen when writers can be in it already",
        edits: &[
            Edit {
                file: RING,
                find: "        let lent = lend(&place).filter(|lent| self.fits(lent));
        #[expect(unsafe_code, reason = \"the one place that chooses a life's memory\")]
        // SAFETY: we are the activator (rule 3), the tail is opened below, and what was lent fits.
        unsafe {
            segment.buffer.begin(lent);
        }
",
                replace: "",
            },
            Edit {
                file: RING,
                find: "        segment.tail.store(Tail::open(sequence, START).0, Ordering::Release);
",
                replace: "        segment.tail.store(Tail::open(sequence, START).0, Ordering::Release);
        let lent = lend(&place).filter(|lent| self.fits(lent));
        #[expect(unsafe_code, reason = \"broken on purpose\")]
        unsafe {
            segment.buffer.begin(lent);
        }
",
            },
        ],
        caught_by: &[Loom("loom_reserve"), Loom("loom_handover")],
    },
    Bug {
        name: "lent-for-good",
        what: "a segment keeps what it was lent until it is used again",
        edits: &[Edit {
            file: RING,
            find: "            self.segments[slot].buffer.end();
",
            replace: "",
        }],
        caught_by: &[Mapped("log")],
    },
    Bug {
        name: "lent-before-begun",
        what: "memory is lent in a file that has no header yet",
        edits: &[Edit {
            file: SINK,
            find: "        self.mapping(&file).map_err(self.files.failed(SinkOp::Create, sequence, None))?;
",
            replace: "        let mapped = self.mapping(&file);
        let failed = self.files.failed(SinkOp::Create, sequence, None);
        self.lend_in(Some((sequence, mapped.map_err(failed)?)));
",
        }],
        caught_by: &[Mapped("conformance")],
    },
    Bug {
        name: "cut-under-a-mapping",
        what: "a file is cut while memory in it is lent",
        edits: &[Edit {
            file: SINK,
            find: "                *mapping = Some(lent);
                return Ok(());
",
            replace: "                *mapping = Some(lent);
",
        }],
        caught_by: &[Mapped("log")],
    },
    Bug {
        name: "in-place-unsaid",
        what: "a file that records are stored in before their frames does not say so",
        edits: &[Edit {
            file: SINK,
            find: "Ok(Created::InPlace)",
            replace: "Ok(Created::Recycled)",
        }],
        caught_by: &[Mapped("log"), Mapped("conformance")],
    },
    Bug {
        name: "only-the-last-flushed",
        what: "a flush covers the last write of a group only",
        edits: &[Edit {
            file: MAPPED,
            find: "dirty.start.min(start)..dirty.end.max(start + len)",
            replace: "start..start + len",
        }],
        caught_by: &[Mapped("guarantees"), Mapped("conformance")],
    },
    Bug {
        name: "interrupted-flush-for-done",
        what: "a flush that was interrupted is taken for one that was made",
        edits: &[Edit {
            file: MAPPED,
            find: "uninterrupted(|| self.map.flush(dirty.clone()))",
            replace: "match self.map.flush(dirty) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            flushed => flushed,
        }",
        }],
        caught_by: &[Mapped("flush")],
    },
    Bug {
        name: "records-without-a-frame-doubted",
        what: "what a killed process leaves in a file written in place is taken for a torn write",
        edits: &[Edit {
            file: WALK,
            find: "        if header.in_place {
",
            replace: "        if header.in_place && false {
",
        }],
        caught_by: &[Core("recovery"), Mapped("log")],
    },
    Bug {
        name: "rotten-magic-for-none",
        what: "a frame in a file written in place that has lost its magic is passed over",
        edits: &[Edit {
            file: FRAME,
            find: "(bytes[..4] != MAGIC && bytes[..4] != [0; 4]).then(",
            replace: "false.then(",
        }],
        caught_by: &[Core("recovery")],
    },
];
