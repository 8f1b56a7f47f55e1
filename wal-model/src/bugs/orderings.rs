//! Bugs of memory order: each ordering of the ring, the watermarks and the parker weakened, each
//! read-modify-write that must be one torn in two, and steps of the ring in a wrong order.
//!
//! Three orderings are not here, since no test can tell. The Acquire of the exchange in `seal_active`
//! reads the store that the load before it has read, unless a generation has gone round. And behind
//! the loads of `current` in `reserve` and `claim_direct` comes an addition, which the memory model
//! lets read a tail from before the activation, but the checker does not, nor does any processor, for
//! the word's address comes from the load.

use super::{Bug, Edit, Layer};

const RING: &str = "wal-core/src/segment/ring.rs";
const SUBMIT: &str = "wal-core/src/flush/submit.rs";
const DRIVE: &str = "wal-core/src/flush/drive.rs";
const SHARED: &str = "wal-core/src/shared.rs";
const SYNC: &str = "wal-core/src/sync/mod.rs";

/// Bugs of memory order.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "reserve-tail-relaxed",
        what: "a reservation adds with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "fetch_add(len, Ordering::Acquire)",
            replace: "fetch_add(len, Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_reserve")],
    },
    Bug {
        name: "claim-tail-relaxed",
        what: "a claim adds with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "fetch_add(capacity + 1, Ordering::Acquire)",
            replace: "fetch_add(capacity + 1, Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_reserve")],
    },
    Bug {
        name: "commit-relaxed",
        what: "a commit publishes its bytes with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "stripe.fetch_add(step, Ordering::Release)",
            replace: "stripe.fetch_add(step, Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "commit-late-relaxed",
        what: "a commit that the sealer has not counted publishes its bytes with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "fill.fetch_add(step, Ordering::Release)",
            replace: "fill.fetch_add(step, Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "sweep-relaxed",
        what: "a sealer counts the stripes with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "stripe.fetch_add(Stripe::SWEEP, Ordering::Acquire)",
            replace: "stripe.fetch_add(Stripe::SWEEP, Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "seal-active-tail-relaxed",
        what: "a flush looks at the tail with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "let word = segment.tail.load(Ordering::Acquire);",
            replace: "let word = segment.tail.load(Ordering::Relaxed);",
        }],
        caught_by: &[Layer::Loom("loom_next_lsn")],
    },
    Bug {
        name: "seal-relaxed",
        what: "a sealer adds the bias with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "fetch_add(bias, Ordering::Release)",
            replace: "fetch_add(bias, Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "gate-relaxed",
        what: "arrivals at a gate are Relaxed",
        edits: &[Edit {
            file: RING,
            find: "gate.fetch_add(1, Ordering::AcqRel)",
            replace: "gate.fetch_add(1, Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "gate-acquire",
        what: "arrivals at a gate publish nothing",
        edits: &[Edit {
            file: RING,
            find: "gate.fetch_add(1, Ordering::AcqRel)",
            replace: "gate.fetch_add(1, Ordering::Acquire)",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "gate-release",
        what: "arrivals at a gate see nothing",
        edits: &[Edit {
            file: RING,
            find: "gate.fetch_add(1, Ordering::AcqRel)",
            replace: "gate.fetch_add(1, Ordering::Release)",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "activate-relaxed",
        what: "a tail is opened with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "segment.tail.store(Tail::open(sequence, START).0, Ordering::Release)",
            replace: "segment.tail.store(Tail::open(sequence, START).0, Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_reserve")],
    },
    Bug {
        name: "raise-relaxed",
        what: "`current` is raised with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "fetch_max(Current::new(sequence, slot).0, Ordering::Release)",
            replace: "fetch_max(Current::new(sequence, slot).0, Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_next_lsn")],
    },
    Bug {
        name: "sealed-fill-relaxed",
        what: "the leader finds a segment complete with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "let complete = Fill(segment.fill.load(Ordering::Acquire));",
            replace: "let complete = Fill(segment.fill.load(Ordering::Relaxed));",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "recycle-relaxed",
        what: "a segment is freed with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "fill.store(Fill::QUEUED.0, Ordering::Release)",
            replace: "fill.store(Fill::QUEUED.0, Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_next_lsn")],
    },
    Bug {
        name: "next-lsn-current-relaxed",
        what: "`next_lsn` learns of a segment with Relaxed",
        edits: &[Edit {
            file: RING,
            find: r"so that shows below.
            let current = Current(self.current.load(Ordering::Acquire));",
            replace: r"so that shows below.
            let current = Current(self.current.load(Ordering::Relaxed));",
        }],
        caught_by: &[Layer::Loom("loom_next_lsn")],
    },
    Bug {
        name: "next-lsn-tail-relaxed",
        what: "`next_lsn` reads the tail with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "Tail(segment.tail.load(Ordering::Acquire));",
            replace: "Tail(segment.tail.load(Ordering::Relaxed));",
        }],
        caught_by: &[Layer::Loom("loom_next_lsn")],
    },
    Bug {
        name: "next-lsn-fill-relaxed",
        what: "`next_lsn` reads the fill with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "let fill = Fill(segment.fill.load(Ordering::Acquire));",
            replace: "let fill = Fill(segment.fill.load(Ordering::Relaxed));",
        }],
        caught_by: &[Layer::Loom("loom_next_lsn")],
    },
    Bug {
        name: "base-load-relaxed",
        what: "`next_lsn` reads a base with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "Lsn::new(self.base.load(Ordering::Acquire))",
            replace: "Lsn::new(self.base.load(Ordering::Relaxed))",
        }],
        caught_by: &[Layer::Loom("loom_next_lsn")],
    },
    Bug {
        name: "base-store-relaxed",
        what: "a base is stored with Relaxed",
        edits: &[Edit {
            file: RING,
            find: "self.base.store(place.base.get(), Ordering::Release)",
            replace: "self.base.store(place.base.get(), Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_next_lsn")],
    },
    Bug {
        name: "next-lsn-unchecked",
        what: "`next_lsn` does not look again whether the segment is current",
        edits: &[Edit {
            file: RING,
            find: r"if self.current() != current.sequence() {
                continue;
            }
            if tail.is_open",
            replace: "if tail.is_open",
        }],
        caught_by: &[Layer::Loom("loom_next_lsn")],
    },
    Bug {
        name: "reserve-not-atomic",
        what: "a reservation is a load and a store",
        edits: &[Edit {
            file: RING,
            find: "segment.tail.fetch_add(len, Ordering::Acquire)",
            replace: r"{
                let old = segment.tail.load(Ordering::Acquire);
                segment.tail.store(old + len, Ordering::Relaxed);
                old
            }",
        }],
        caught_by: &[Layer::Loom("loom_reserve")],
    },
    Bug {
        name: "commit-not-atomic",
        what: "a commit is a load and a store",
        edits: &[Edit {
            file: RING,
            find: "stripe.fetch_add(step, Ordering::Release)",
            replace: r"{
            let old = stripe.load(Ordering::Relaxed);
            stripe.store(old + step, Ordering::Release);
            old
        }",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "commit-late-not-atomic",
        what: "a commit that the sealer has not counted is a load and a store",
        edits: &[Edit {
            file: RING,
            find: "segment.fill.fetch_add(step, Ordering::Release)",
            replace: r"{
            let old = segment.fill.load(Ordering::Relaxed);
            segment.fill.store(old + step, Ordering::Release);
            old
        }",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "sweep-not-atomic",
        what: "a sealer counts a stripe with a load and a store",
        edits: &[Edit {
            file: RING,
            find: "stripe.fetch_add(Stripe::SWEEP, Ordering::Acquire)",
            replace: r"{
            let old = stripe.load(Ordering::Acquire);
            stripe.store(old + Stripe::SWEEP, Ordering::Relaxed);
            old
        }",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "seal-not-atomic",
        what: "a sealer adds the bias with a load and a store",
        edits: &[Edit {
            file: RING,
            find: "segment.fill.fetch_add(bias, Ordering::Release)",
            replace: r"{
            let old = segment.fill.load(Ordering::Relaxed);
            segment.fill.store(old + bias, Ordering::Release);
            old
        }",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "gate-not-atomic",
        what: "an arrival at a gate is a load and a store",
        edits: &[Edit {
            file: RING,
            find: "gate.fetch_add(1, Ordering::AcqRel)",
            replace: r"{
            let old = gate.load(Ordering::Acquire);
            gate.store(old + 1, Ordering::Release);
            old
        }",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "seal-active-not-atomic",
        what: "a flush closes the tail with a store",
        edits: &[Edit {
            file: RING,
            find: r"segment.tail.compare_exchange_weak(
                        word,
                        after.0,
                        Ordering::Acquire,
                        Ordering::Relaxed,
                    );",
            replace: "Ok::<(), ()>(segment.tail.store(after.0, Ordering::Relaxed));",
        }],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "gate-before-next",
        what: "a sealer arrives at the gate before it says what follows",
        edits: &[
            Edit {
                file: RING,
                find: r"        segment.life.next.store(rotation.next);
",
                replace: "",
            },
            Edit {
                file: RING,
                find: r"        let bias = Fill::seal_bias(len - START, Self::sweep(segment));
",
                replace: r"        segment.life.next.store(rotation.next);
        let bias = Fill::seal_bias(len - START, Self::sweep(segment));
",
            },
        ],
        caught_by: &[Layer::Loom("loom_handover")],
    },
    Bug {
        name: "recycle-before-read",
        what: "a segment is freed before the leader has read it",
        edits: &[
            Edit {
                file: SUBMIT,
                find: r"        let padded = (next.get() - base.get()) as usize;
",
                replace: r"        let padded = (next.get() - base.get()) as usize;
        let _ = shared.ring.recycle(sealed.sequence, sealed.slot, shared.lend());
",
            },
            Edit {
                file: DRIVE,
                find: r"            let _ = shared.ring.recycle(held.sequence, held.slot, shared.lend());
",
                replace: "",
            },
        ],
        caught_by: &[Layer::Loom("loom_wait")],
    },
    Bug {
        name: "durable-load-relaxed",
        what: "the durable watermark is read with Relaxed",
        edits: &[Edit {
            file: SHARED,
            find: "self.marks.durable.load(Ordering::Acquire)",
            replace: "self.marks.durable.load(Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_wait")],
    },
    Bug {
        name: "written-load-relaxed",
        what: "the written watermark is read with Relaxed",
        edits: &[Edit {
            file: SHARED,
            find: "self.marks.written.load(Ordering::Acquire)",
            replace: "self.marks.written.load(Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_wait")],
    },
    Bug {
        name: "durable-store-relaxed",
        what: "the durable watermark is published with Relaxed",
        edits: &[Edit {
            file: SHARED,
            find: "self.marks.durable.store(durable.get(), Ordering::Release)",
            replace: "self.marks.durable.store(durable.get(), Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_wait")],
    },
    Bug {
        name: "written-store-relaxed",
        what: "the written watermark is published with Relaxed",
        edits: &[Edit {
            file: SHARED,
            find: "self.marks.written.store(written.get(), Ordering::Release)",
            replace: "self.marks.written.store(written.get(), Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_wait")],
    },
    Bug {
        name: "poison-relaxed",
        what: "poison is published with Relaxed",
        edits: &[Edit {
            file: SHARED,
            find: "self.lifecycle.store(Lifecycle::Poisoned as u8, Ordering::Release)",
            replace: "self.lifecycle.store(Lifecycle::Poisoned as u8, Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_wait")],
    },
    Bug {
        name: "poisoned-unfenced",
        what: "the cause is looked up without a fence",
        edits: &[Edit {
            file: SHARED,
            find: r"        fence(Ordering::Acquire);
",
            replace: r"        let _ = fence;
",
        }],
        caught_by: &[Layer::Loom("loom_wait")],
    },
    Bug {
        name: "turn-not-atomic",
        what: "closing overwrites poison",
        edits: &[Edit {
            file: SHARED,
            find: r"        self.lifecycle
            .compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
",
            replace: r"        let found = self.lifecycle() == from;
        if found {
            self.lifecycle.store(to as u8, Ordering::Relaxed);
        }
        found
",
        }],
        caught_by: &[Layer::Loom("loom_wait")],
    },
    Bug {
        name: "unpark-relaxed",
        what: "a waker leaves word with Relaxed",
        edits: &[Edit {
            file: SYNC,
            find: "self.notified.store(true, Ordering::Release)",
            replace: "self.notified.store(true, Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_wait")],
    },
    Bug {
        name: "park-relaxed",
        what: "a parked thread looks for word with Relaxed",
        edits: &[Edit {
            file: SYNC,
            find: "self.unpark.notified.swap(false, Ordering::Acquire)",
            replace: "self.unpark.notified.swap(false, Ordering::Relaxed)",
        }],
        caught_by: &[Layer::Loom("loom_wait")],
    },
    Bug {
        name: "park-not-atomic",
        what: "a parked thread takes word with a load and a store",
        edits: &[Edit {
            file: SYNC,
            find: "self.unpark.notified.swap(false, Ordering::Acquire)",
            replace: r"{
            let word = self.unpark.notified.load(Ordering::Acquire);
            self.unpark.notified.store(false, Ordering::Relaxed);
            word
        }",
        }],
        caught_by: &[Layer::Loom("loom_wait")],
    },
];
