//! Bugs of the sink's side: write, sync, publish, wake, recycle.

use super::Layer::{Core, Crashes, Lives, Loom, Machine, Reference, Shuttle, Spec, Trace};
use super::{Bug, Edit};
use crate::machine::Bug as M;

const DIRECT: &str = "wal-core/src/flush/direct.rs";
const DRIVE: &str = "wal-core/src/flush/drive.rs";
const EARLY: &str = "wal-core/src/flush/early.rs";
const PIPELINE: &str = "wal-core/src/flush/pipeline.rs";
const SHARED: &str = "wal-core/src/shared.rs";
const SUBMIT: &str = "wal-core/src/flush/submit.rs";
const WAIT: &str = "wal-core/src/flush/wait.rs";
const WAL: &str = "wal-core/src/wal.rs";

/// In the order of a record's life.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "watermark-over-gap",
        what: "the written watermark follows a later write over an earlier one still in flight",
        edits: &[Edit {
            file: PIPELINE,
            find: "while self.in_flight.front().is_some_and(|flight| flight.done) {",
            replace: "while self.in_flight.iter().any(|flight| flight.done) {",
        }],
        caught_by: &[
            Crashes,
            Lives,
            Core("commit"),
            Machine(M::WatermarkOverGap),
            Spec("WatermarkOverGap"),
            Shuttle("writes_in_flight"),
        ],
    },
    Bug {
        name: "durable-without-sync",
        what: "what was written is published as durable",
        edits: &[Edit {
            file: DRIVE,
            find: "shared.publish(written, shared.durable());",
            replace: "shared.publish(written, written);",
        }],
        caught_by: &[
            Crashes,
            Lives,
            Core("crash"),
            Reference,
            Spec("PublishBeforeSync"),
            Shuttle("writers"),
            Trace,
        ],
    },
    Bug {
        name: "sync-skipped",
        what: "a sync is told and not done",
        edits: &[Edit {
            file: DRIVE,
            find: "let took = shared.counters.time(|| shared.sink.sync()).map_err(Failure::Fatal)?;",
            replace: "let took = None;",
        }],
        caught_by: &[Crashes, Lives, Core("failure"), Reference],
    },
    Bug {
        name: "sync-retried",
        what: "a failed sync is tried again, and believed",
        edits: &[Edit {
            file: DRIVE,
            find: "shared.counters.time(|| shared.sink.sync())",
            replace: "shared.counters.time(|| shared.sink.sync().or_else(|_| shared.sink.sync()))",
        }],
        caught_by: &[Machine(M::PoisonForgotten), Spec("SyncRetried"), Shuttle("failing_sync")],
    },
    Bug {
        name: "durable-overtakes",
        what: "a sync is said to cover what was reserved, not what was written",
        edits: &[Edit {
            file: DRIVE,
            find: "shared.publish(written, written);",
            replace: "let reserved = shared.ring.next_lsn();
        shared.publish(reserved, reserved);",
        }],
        caught_by: &[Crashes, Lives, Core("ring"), Machine(M::DurableOvertakes)],
    },
    Bug {
        name: "durable-in-flight",
        what: "a sync beside writes in flight is said to cover those, too",
        edits: &[Edit {
            file: DRIVE,
            find: "shared.publish(written, written);",
            replace: "let written = self.pipeline().in_flight.back().map_or(written, |f| f.next);
        shared.publish(written, written);",
        }],
        caught_by: &[Machine(M::DurableInFlight), Shuttle("writes_in_flight")],
    },
    Bug {
        name: "sealed-in-flight",
        what: "a sync beside writes in flight says that every file but the newest is whole",
        edits: &[Edit {
            file: DRIVE,
            find: "shared.seal(self.pipeline().oldest_file());",
            replace: "shared.seal(self.pipeline().file().sequence);",
        }],
        caught_by: &[Shuttle("archiving")],
    },
    Bug {
        name: "started-in-silence",
        what: "who has started writes calls nobody to lead",
        edits: &[Edit {
            file: EARLY,
            find: "self.hand_on(pipeline);",
            replace: "self.put_back(&mut lock(&self.desk), pipeline);",
        }],
        caught_by: &[
            Machine(M::StartedInSilence),
            Spec("StartedInSilence"),
            Shuttle("writes_in_flight"),
        ],
    },
    Bug {
        name: "watermark-falls-back",
        what: "publishing what was written takes the durable watermark back",
        edits: &[
            Edit {
                file: DRIVE,
                find: "shared.publish(written, shared.durable());",
                replace: "shared.publish(written, Lsn::ZERO);",
            },
            Edit {
                file: SHARED,
                find: "debug_assert!(written >= self.written() && durable >= self.durable());",
                replace: "",
            },
        ],
        caught_by: &[Core("ring"), Machine(M::WatermarkFallsBack), Trace],
    },
    Bug {
        name: "ack-when-written",
        what: "a wait for durability ends when the record is written",
        edits: &[Edit {
            file: WAL,
            find: "Durability::PowerLoss => Some(Need::Durable(past)),",
            replace: "Durability::PowerLoss => Some(Need::Written(past)),",
        }],
        caught_by: &[
            Crashes,
            Lives,
            Core("commit"),
            Reference,
            Machine(M::AckBeforeSync),
            Spec("AckBeforeDurable"),
        ],
    },
    Bug {
        name: "waits-for-its-start",
        what: "a wait ends when the byte before the record is durable",
        edits: &[Edit {
            file: WAL,
            find: "let past = lsn.advance(1);",
            replace: "let past = lsn;",
        }],
        caught_by: &[Core("flow"), Reference],
    },
    Bug {
        name: "recycled-at-submission",
        what: "a segment is freed when its write is submitted, not when it is done",
        edits: &[Edit {
            file: SUBMIT,
            find: "self.submit(sealed.place, next, held, file_header, &[IoSlice::new(bytes)])",
            replace: "let submitted =
            self.submit(sealed.place, next, None, file_header, &[IoSlice::new(bytes)]);
        let _ = shared.ring.recycle(sealed.sequence, sealed.slot, shared.lend());
        let _ = held;
        submitted",
        }],
        caught_by: &[
            Core("commit"),
            Machine(M::RecycledAtSubmission),
            Spec("RecycleBeforeWritten"),
            Shuttle("writes_in_flight"),
        ],
    },
    Bug {
        name: "recycled-before-durable",
        what: "a segment is freed when it is written although somebody waits for its durability",
        edits: &[Edit {
            file: DRIVE,
            find: "if held.end > durable && durable_goal > held.base {",
            replace: "if held.end > durable && durable_goal > held.end.advance(1 << 40) {",
        }],
        caught_by: &[Core("commit")],
    },
    Bug {
        name: "batch-of-singles",
        what: "the records of a batch do not know that they belong together",
        edits: &[Edit {
            file: DIRECT,
            find: "if index + 1 < count { record::Kind::DataMore } else { record::Kind::Data }",
            replace: "if index >= count { record::Kind::DataMore } else { record::Kind::Data }",
        }],
        caught_by: &[Crashes, Lives, Core("flow"), Reference],
    },
    Bug {
        name: "given-up-in-silence",
        what: "a large record that its owner gives up leaves no word, and holds up all behind it",
        edits: &[Edit {
            file: WAIT,
            find: "desk.abandoned.push(frame.claim.sequence);
        desk.news = true;",
            replace: "let _ = frame;",
        }],
        caught_by: &[
            Core("failure"),
            Machine(M::GivenUpInSilence),
            Spec("AbandonForgotten"),
            Shuttle("full_disk"),
        ],
    },
    Bug {
        name: "hand-over-untold",
        what: "who hands a segment over does not tell the one who leads",
        edits: &[Edit {
            file: WAIT,
            find: "if desk.pipeline.is_none() {
                desk.news = true;
            } else if",
            replace: "if desk.pipeline.is_none() {
            } else if",
        }],
        caught_by: &[Machine(M::HandOverUntold), Shuttle("writers")],
    },
    Bug {
        name: "news-ignored",
        what: "a leader steps down although a segment was handed over since it last looked",
        edits: &[Edit {
            file: WAIT,
            find: "if desk.news {
            return Err(pipeline);",
            replace: "if desk.news && desk.job_pending {
            return Err(pipeline);",
        }],
        caught_by: &[Core("commit"), Spec("NewsIgnored"), Shuttle("writers"), Loom("loom_wait")],
    },
    Bug {
        name: "no-successor",
        what: "a leader that is done hands on to nobody",
        edits: &[Edit {
            file: WAIT,
            find: "self.put_back(&mut desk, pipeline);
        let next = self.choose_next(&mut desk);
        drop(desk);
        self.appoint(next);",
            replace: "self.put_back(&mut desk, pipeline);",
        }],
        caught_by: &[Core("ring"), Spec("NoSuccessor"), Shuttle("writers")],
    },
    Bug {
        name: "activation-untold",
        what: "who activates a segment does not wake those who wait for space",
        edits: &[Edit {
            file: WAIT,
            find: "if duty.activated {
            woken",
            replace: "if duty.activated && duty.handed_over {
            woken",
        }],
        caught_by: &[Core("ring")],
    },
    Bug {
        name: "poison-wakes-nobody",
        what: "a log that is poisoned leaves its waiters asleep",
        edits: &[Edit {
            file: SHARED,
            find: "self.ring.probe().event(Event::Poison);
        }
        self.wake_everybody();",
            replace: "self.ring.probe().event(Event::Poison);
        }",
        }],
        caught_by: &[Core("failure"), Shuttle("failing_write")],
    },
    Bug {
        name: "poison-forgotten",
        what: "a log is open again once its waiters were told of the failure",
        edits: &[Edit {
            file: SHARED,
            find: "self.ring.probe().event(Event::Poison);
        }
        self.wake_everybody();",
            replace: "self.ring.probe().event(Event::Poison);
        }
        self.wake_everybody();
        self.lifecycle.store(Lifecycle::Open as u8, Ordering::Release);",
        }],
        caught_by: &[Lives, Core("failure"), Spec("PoisonForgotten")],
    },
    Bug {
        name: "failed-write-harmless",
        what: "a failed write is reported like a full disk, and the log goes on",
        edits: &[Edit {
            file: SUBMIT,
            find: "result.map_err(Failure::Fatal)?;
                true",
            replace: "result.map_err(Failure::Harmless)?;
                true",
        }],
        caught_by: &[Core("failure")],
    },
    Bug {
        name: "refusal-told-to-one",
        what: "a full disk ends the wait of one waiter, and the others sleep on",
        edits: &[Edit {
            file: WAIT,
            find: "desk.refusal = Some(error.clone());
        let woken = desk.take_everybody();",
            replace: "desk.refusal = Some(error.clone());
        let woken = Vec::from_iter(desk.waiters.take_thread());",
        }],
        caught_by: &[Shuttle("full_disk"), Machine(M::RefusalUntold)],
    },
    Bug {
        name: "dropped-job-untold",
        what: "an executor that drops its job leaves futures waiting",
        edits: &[Edit {
            file: WAIT,
            find: "desk.dropped_jobs += 1;
        let woken = desk.take_everybody();",
            replace: "let woken = Vec::new();",
        }],
        caught_by: &[Core("commit"), Shuttle("dropped_jobs")],
    },
    Bug {
        name: "claim-behind-a-gap",
        what: "a header claims as durable the range before it that was given up",
        edits: &[Edit {
            file: "wal-core/src/flush/pipeline.rs",
            find: "gap.map_or(durable, |gap| gap.from)",
            replace: "gap.map_or(durable, |_| durable)",
        }],
        caught_by: &[Core("crash"), Lives],
    },
];
