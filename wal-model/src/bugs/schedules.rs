//! Bugs that take a schedule to show, each with a scenario that meets it.
//!
//! Two edits are left out, since no schedule of the scenarios shows them. That `seal_active`
//! compares the base it loaded without looking whether the slot has lived on changes nothing: a
//! later base past the position asked for means that everything before it is sealed. And that
//! `Tail::seal` looks at the life of its word matters only where three threads stand still at once
//! (an activator before it raises `current`, and two late writers) while the leader seals.

use super::{Bug, Edit, Layer};

/// The bugs.
pub const SCHEDULES: &[Bug] = &[
    Bug {
        name: "grant-without-raise",
        what: "a writer that reserved in a later life of its slot does not see to it that `current` names it",
        edits: &[Edit {
            file: "wal-core/src/segment/ring.rs",
            find: "            self.raise(sequence, seen.slot());\n",
            replace: "",
        }],
        caught_by: &[Layer::Shuttle("stale_writers")],
    },
    Bug {
        name: "seal-forgets-stragglers",
        what: "the sealer's bias counts the bytes committed by then, not those reserved",
        edits: &[Edit {
            file: "wal-core/src/segment/ring.rs",
            find: "        let reserved = len - START;\n",
            replace: "        let reserved = segment.fill.load(Ordering::Relaxed);\n",
        }],
        caught_by: &[Layer::Shuttle("writers")],
    },
    Bug {
        name: "hand-over-twice",
        what: "the sealer hands over, whoever else is still in the segment and will do so, too",
        edits: &[Edit {
            file: "wal-core/src/segment/ring.rs",
            find: "if fill.seal(reserved) == Left::Last {",
            replace: "if fill.seal(reserved) == Left::Last || true {",
        }],
        caught_by: &[Layer::Shuttle("writers")],
    },
    Bug {
        name: "recycle-when-submitted",
        what: "a segment's memory is free when its write is submitted, not when it is over",
        edits: &[Edit {
            file: "wal-core/src/flush/submit.rs",
            find: "        let flight = Flight { ticket, next, done, held, _file_header: file_header };\n",
            replace: "        self.pipeline().held.extend(held);\n        let flight = Flight { ticket, next, done, held: None, _file_header: file_header };\n",
        }],
        caught_by: &[Layer::Shuttle("writes_in_flight")],
    },
    Bug {
        name: "watermark-over-a-gap",
        what: "the written prefix grows over a frame in flight when a later one is done",
        edits: &[Edit {
            file: "wal-core/src/flush/pipeline.rs",
            find: "while self.in_flight.front().is_some_and(|flight| flight.done) {",
            replace: "while self.in_flight.iter().any(|flight| flight.done) {",
        }],
        caught_by: &[Layer::Shuttle("writes_in_flight")],
    },
    Bug {
        name: "durable-without-sync",
        what: "the durable watermark moves without a sync",
        edits: &[Edit {
            file: "wal-core/src/flush/drive.rs",
            find: "        shared.sink.sync().map_err(Failure::Fatal)?;\n",
            replace: "",
        }],
        caught_by: &[Layer::Shuttle("writers")],
    },
    Bug {
        name: "step-down-ignores-news",
        what: "a leader steps down though a segment was handed over since it looked",
        edits: &[Edit {
            file: "wal-core/src/flush/wait.rs",
            find: "        if desk.news {\n",
            replace: "        if false {\n",
        }],
        caught_by: &[Layer::Shuttle("writers")],
    },
    Bug {
        name: "hand-on-wakes-nobody",
        what: "a leader that is done puts the pipeline back and tells nobody",
        edits: &[Edit {
            file: "wal-core/src/flush/wait.rs",
            find: "        desk.pipeline = Some(pipeline);\n        let next = self.choose_next(&mut desk);\n",
            replace: "        desk.pipeline = Some(pipeline);\n        let next = Next::Wake(Vec::new());\n",
        }],
        caught_by: &[Layer::Shuttle("writers")],
    },
    Bug {
        name: "poison-forgets-waiters",
        what: "poisoning the log wakes nobody",
        edits: &[Edit {
            file: "wal-core/src/shared.rs",
            find: "            self.ring.probe().event(Event::Poison);\n        }\n        self.wake_everybody();\n",
            replace: "            self.ring.probe().event(Event::Poison);\n        }\n",
        }],
        caught_by: &[Layer::Shuttle("failing_write")],
    },
    Bug {
        name: "abandon-tells-nobody",
        what: "who gives up the range of a direct frame tells nobody",
        edits: &[
            Edit {
                file: "wal-core/src/flush/wait.rs",
                find: "        desk.abandoned.push(frame.claim.sequence);\n        desk.news = true;\n",
                replace: "        desk.abandoned.push(frame.claim.sequence);\n",
            },
            Edit {
                file: "wal-core/src/flush/wait.rs",
                find: "            Some(_) => self.choose_next(&mut desk),\n            None => Next::Wake(Vec::new()),\n",
                replace: "            Some(_) | None => Next::Wake(Vec::new()),\n",
            },
        ],
        caught_by: &[Layer::Shuttle("full_disk")],
    },
    Bug {
        name: "dropped-reservation-stays",
        what: "a reservation that is dropped is never committed",
        edits: &[Edit {
            file: "wal-core/src/reservation.rs",
            find: "            let _ = finish(self.wal, grant, filler, len, record::Kind::Void);\n",
            replace: "            let _ = grant;\n",
        }],
        caught_by: &[Layer::Shuttle("abandoned_reservations")],
    },
    Bug {
        name: "sync-retried",
        what: "a failed sync is tried again",
        edits: &[Edit {
            file: "wal-core/src/flush/drive.rs",
            find: "        shared.sink.sync().map_err(Failure::Fatal)?;\n",
            replace: "        shared.sink.sync().or_else(|_| shared.sink.sync()).map_err(Failure::Fatal)?;\n",
        }],
        caught_by: &[Layer::Shuttle("failing_sync")],
    },
    Bug {
        name: "hand-over-leaves-no-word",
        what: "a segment handed over while somebody leads is not told of",
        edits: &[Edit {
            file: "wal-core/src/flush/wait.rs",
            find: "            if desk.pipeline.is_none() {\n                desk.news = true;\n",
            replace: "            if desk.pipeline.is_none() {\n",
        }],
        caught_by: &[Layer::Shuttle("writers")],
    },
    Bug {
        name: "refusal-wakes-one",
        what: "a refusal ends the wait of one, not of all",
        edits: &[Edit {
            file: "wal-core/src/flush/wait.rs",
            find: "        let woken = desk.take_everybody();\n        drop(desk);\n        self.wake(woken);\n    }\n\n    /// Does what",
            replace: "        let woken = desk.waiters.take_thread().into_iter().collect();\n        drop(desk);\n        self.wake(woken);\n    }\n\n    /// Does what",
        }],
        caught_by: &[Layer::Shuttle("full_disk")],
    },
    Bug {
        name: "dropped-job-wakes-nobody",
        what: "a job that the executor drops ends nobody's wait",
        edits: &[Edit {
            file: "wal-core/src/flush/wait.rs",
            find: "        let woken = desk.take_everybody();\n        drop(desk);\n        shared.wake(woken);\n",
            replace: "        let woken = Vec::new();\n        drop(desk);\n        shared.wake(woken);\n",
        }],
        caught_by: &[Layer::Shuttle("dropped_jobs")],
    },
    Bug {
        name: "end-of-segment-off-by-one",
        what: "a reservation may end eight bytes past the segment",
        edits: &[Edit {
            file: "wal-core/src/segment/word.rs",
            find: "} else if self.position() + len <= capacity {",
            replace: "} else if self.position() + len <= capacity + 8 {",
        }],
        caught_by: &[Layer::Shuttle("recycling")],
    },
    Bug {
        name: "dropped-future-stays",
        what: "a future that is dropped stays registered",
        edits: &[Edit {
            file: "wal-core/src/flush/wait.rs",
            find: "        if let Some(ticket) = self.ticket.take() {\n            lock(&self.shared.desk).waiters.deregister(ticket);\n",
            replace: "        if let Some(ticket) = self.ticket.take() {\n            let _ = ticket;\n",
        }],
        caught_by: &[Layer::Shuttle("executor_futures")],
    },
    Bug {
        name: "open-before-base",
        what: "the next segment's tail is opened before its place is known",
        edits: &[
            Edit {
                file: "wal-core/src/segment/ring.rs",
                find: "        // Relaxed: published by the tail's Release below.\n        segment.life.place.store(place);\n",
                replace: "        segment.tail.store(Tail::open(sequence, START).0, Ordering::Release);\n        segment.life.place.store(place);\n",
            },
            Edit {
                file: "wal-core/src/segment/ring.rs",
                find: "        // Release: pairs with the Acquire of `reserve` and `seal_active`.\n        segment.tail.store(Tail::open(sequence, START).0, Ordering::Release);\n",
                replace: "",
            },
        ],
        caught_by: &[Layer::Shuttle("stale_writers")],
    },
    Bug {
        name: "register-without-looking",
        what: "a waiter registers without looking whether its need is met by now",
        edits: &[Edit {
            file: "wal-core/src/flush/wait.rs",
            find: "            desk.waiters.deregister(old);\n        }\n        if let Some(over) = self.outcome(need) {\n            return Turn::Over(over);\n        }\n        if let Some(error) = desk.refused_since(refusals) {\n            return Turn::Over",
            replace: "            desk.waiters.deregister(old);\n        }\n        if let Some(error) = desk.refused_since(refusals) {\n            return Turn::Over",
        }],
        caught_by: &[Layer::Shuttle("writers")],
    },
    Bug {
        name: "reader-sees-undurable",
        what: "readers follow the written watermark",
        edits: &[Edit {
            file: "wal-core/src/read/mod.rs",
            find: "    fn limit(&self) -> Lsn {\n        self.durable()\n",
            replace: "    fn limit(&self) -> Lsn {\n        self.written()\n",
        }],
        caught_by: &[Layer::Shuttle("followers")],
    },
    Bug {
        name: "reader-keeps-the-old-end",
        what: "a reader does not learn that its file has a successor",
        edits: &[Edit {
            file: "wal-core/src/read/cursor.rs",
            find: "            if self.file.end.is_none() {\n",
            replace: "            if false {\n",
        }],
        caught_by: &[Layer::Shuttle("followers")],
    },
    Bug {
        name: "poison-forgets-flights",
        what: "a failed write poisons the log while others are still in flight",
        edits: &[Edit {
            file: "wal-core/src/flush/drive.rs",
            find: "                    self.drain();\n                    self.shared.poison(cause);\n",
            replace: "                    self.shared.poison(cause);\n",
        }],
        caught_by: &[Layer::Shuttle("failing_in_flight")],
    },
    Bug {
        name: "active-after-close",
        what: "the close mark's segment has a successor that takes records",
        edits: &[Edit {
            file: "wal-core/src/append.rs",
            find: "shared.ring.claim_direct(len, || !last && !shared.is_poisoned());",
            replace: "shared.ring.claim_direct(len, || !shared.is_poisoned());",
        }],
        caught_by: &[Layer::Shuttle("closing")],
    },
];
