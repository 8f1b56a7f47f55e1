//! Bugs of the backend that writes through io_uring.

use super::Layer::{Crashes, Lives, Uring};
use super::{Bug, Edit};

const FLIGHT: &str = "wal-io-uring/src/flight.rs";
const KERNEL: &str = "wal-io-uring/src/kernel.rs";
const SINK: &str = "wal-io-uring/src/sink.rs";
const STATE: &str = "wal-io-uring/src/state.rs";

pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "short-write-is-whole",
        what: "a short write through the ring counts as done",
        edits: &[Edit {
            file: FLIGHT,
            find: "if written == self.len {",
            replace: "if written <= self.len {",
        }],
        caught_by: &[Uring("lib"), Uring("faults")],
    },
    Bug {
        name: "rest-from-the-start",
        what: "the rest of a short write is taken from its first bytes",
        edits: &[Edit {
            file: FLIGHT,
            find: "from: self.from.wrapping_add(done),",
            replace: "from: self.from,",
        }],
        caught_by: &[Uring("lib"), Uring("faults")],
    },
    Bug {
        name: "tries-for-ever",
        what: "a write that the kernel never has memory for is tried without end",
        edits: &[Edit { file: FLIGHT, find: "if self.attempts < ATTEMPTS =>", replace: "=>" }],
        caught_by: &[Uring("lib")],
    },
    Bug {
        name: "reported-in-flight",
        what: "a write is reported while pieces of it are in the ring",
        edits: &[Edit {
            file: STATE,
            find: "!flight.open && flight.pieces == 0);",
            replace: "!flight.open);",
        }],
        caught_by: &[Uring("faults")],
    },
    Bug {
        name: "gone-before-the-ring",
        what: "a sink is dropped while the ring has writes of it",
        edits: &[Edit {
            file: SINK,
            find: "        lock(&self.state).drain(&self.context());\n",
            replace: "",
        }],
        caught_by: &[Uring("faults")],
    },
    Bug {
        name: "ring-fails-again",
        what: "a write that failed in the ring leaves the sink open to the next",
        edits: &[Edit {
            file: STATE,
            find: "flight.error = Some(cx.files.fail(failed));",
            replace: "flight.error = Some(failed);",
        }],
        caught_by: &[Uring("faults")],
    },
    Bug {
        name: "ring-swallows-an-error",
        what: "a write that failed in the ring is reported as done",
        edits: &[Edit {
            file: STATE,
            find: "let result = flight.error.map_or(Ok(()), Err);",
            replace: "let result = Ok(());",
        }],
        caught_by: &[Uring("faults"), Lives],
    },
    Bug {
        name: "refused-and-forgotten",
        what: "what a ring that is refused was not given is never reported",
        edits: &[Edit {
            file: STATE,
            find: "while let Some(piece) = self.pieces.take_back() {",
            replace: "while let Some(piece) = self.pieces.take_back().filter(|_| false) {",
        }],
        caught_by: &[Uring("faults")],
    },
    Bug {
        name: "copy-given-back-early",
        what: "the copy that the ring writes from is used again while it does",
        edits: &[Edit {
            file: STATE,
            find: "            offset += len as u64;
        }
        Ok(())",
            replace: "            offset += len as u64;
            if let Some(number) = bounce {
                self.bounce.give_back(number);
            }
        }
        Ok(())",
        }],
        caught_by: &[Uring("faults")],
    },
    Bug {
        name: "durable-by-name",
        what: "writes through the ring do not ask for durability, and a sync believes they did",
        edits: &[Edit {
            file: STATE,
            find: "durable: self.durable,
            patient",
            replace: "durable: false,
            patient",
        }],
        caught_by: &[Uring("faults"), Crashes, Lives],
    },
    Bug {
        name: "sync-of-nothing",
        what: "buffered writes through the ring are never synced",
        edits: &[Edit {
            file: SINK,
            find: "            if durable {",
            replace: "            if durable || !durable {",
        }],
        caught_by: &[Uring("conformance")],
    },
    Bug {
        name: "file-not-registered",
        what: "writes name a file by a number that the ring was never given for it",
        edits: &[Edit {
            file: STATE,
            find: "self.queue.register_file(number, Some(&file.file))",
            replace: "self.queue.register_file(number, None)",
        }],
        caught_by: &[Uring("conformance"), Uring("log")],
    },
    Bug {
        name: "refused-at-first-use",
        what: "a ring that may be made and not entered counts as available",
        edits: &[Edit {
            file: KERNEL,
            find: "queue.turn_once().map_err(explain(\"io_uring_enter\"))?;",
            replace: "let _ = queue.turn_once();",
        }],
        caught_by: &[Uring("kill")],
    },
];
