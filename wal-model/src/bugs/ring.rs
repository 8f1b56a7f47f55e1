//! Bugs of the caller's side: reserve, copy, commit, seal, activate.

use super::Layer::{Core, Loom, Machine, Shuttle, Spec, Trace};
use super::{Bug, Edit};
use crate::machine::Bug as M;

const RING: &str = "wal-core/src/segment/ring.rs";
const WORD: &str = "wal-core/src/segment/word.rs";
const RESERVATION: &str = "wal-core/src/reservation.rs";
const APPEND: &str = "wal-core/src/append.rs";

/// In the order of a record's life.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "one-past-the-end",
        what: "a reservation that ends behind the segment is granted",
        edits: &[Edit {
            file: WORD,
            find: "} else if self.position() + len <= capacity {",
            replace: "} else if self.position() + len <= capacity + 8 {",
        }],
        caught_by: &[Core("lib"), Machine(M::OnePastTheEnd), Spec("GrantPastEnd"), Shuttle("recycling")],
    },
    Bug {
        name: "base-before-addition",
        what: "a writer takes its segment's base before its addition, perhaps of an earlier life",
        edits: &[
            Edit {
                file: RING,
                find: "let before = Tail(segment.tail.fetch_add(len, Ordering::Acquire));",
                replace: "let early = segment.life.place.base.load(Ordering::Relaxed);
            let before = Tail(segment.tail.fetch_add(len, Ordering::Acquire));",
            },
            Edit {
                file: RING,
                find: "return (self.grant(segment, current, at, len), duty);",
                replace: "let mut claim = self.grant(segment, current, at, len);
                    if let Claim::Granted(grant, _) = &mut claim {
                        grant.lsn = Lsn::new(early + at);
                    }
                    return (claim, duty);",
            },
        ],
        caught_by: &[Machine(M::BaseBeforeAddition), Spec("BaseReadFirst"), Loom("loom_reserve")],
    },
    Bug {
        name: "commit-before-copy",
        what: "a record is committed first and copied then",
        edits: &[
            Edit {
                file: APPEND,
                find: "        let (grant, mut filler) = self.claim(stored, patience)?;
        filler.copy(0, parts);",
                replace: "        let (grant, mut filler) = self.claim(stored, patience)?;
        #[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
        let appended = self.commit(grant, unsafe { std::ptr::read(&filler) }, 1);
        filler.copy(0, parts);",
            },
            Edit {
                file: APPEND,
                find: "        filler.put_header(0, record::encode_header(word, crc, grant.lsn, grant.salt));
        Ok(self.commit(grant, filler, 1))",
                replace: "        filler.put_header(0, record::encode_header(word, crc, grant.lsn, grant.salt));
        Ok(appended)",
            },
        ],
        caught_by: &[Machine(M::CommitBeforeCopy), Loom("loom_wait")],
    },
    Bug {
        name: "void-not-committed",
        what: "a reservation that is dropped is never committed and stalls everything behind it",
        edits: &[Edit {
            file: RESERVATION,
            find: "let _ = finish(self.wal, grant, filler, len, record::Kind::Void);",
            replace: "let _ = (grant, &mut filler);",
        }],
        caught_by: &[Core("ring"), Machine(M::VoidNotCommitted), Shuttle("abandoned_reservations")],
    },
    Bug {
        name: "void-is-data",
        what: "a reservation that is dropped becomes a record of zeros",
        edits: &[Edit {
            file: RESERVATION,
            find: "let _ = finish(self.wal, grant, filler, len, record::Kind::Void);",
            replace: "let _ = finish(self.wal, grant, filler, len, record::Kind::Data);",
        }],
        caught_by: &[Core("ring"), super::Layer::Reference],
    },
    Bug {
        name: "empty-segment-sealed",
        what: "a flush seals a segment that holds nothing",
        edits: &[Edit {
            file: WORD,
            find: "} else if self.position() == start {",
            replace: "} else if self.position() < start {",
        }],
        caught_by: &[Core("lib")],
    },
    Bug {
        name: "closed-by-store",
        what: "a flush closes the active segment with a store, over reservations made meanwhile",
        edits: &[Edit {
            file: RING,
            find: "let closed = segment.tail.compare_exchange_weak(
                        word,
                        after.0,
                        Ordering::Acquire,
                        Ordering::Relaxed,
                    );",
            replace: "let closed: Result<u64, u64> =
                        Ok(segment.tail.swap(after.0, Ordering::Acquire));",
        }],
        caught_by: &[Machine(M::ClosedByStore)],
    },
    Bug {
        name: "sequence-from-current",
        what: "a sealer takes its sequence from `current`, not from the segment it closed",
        edits: &[Edit {
            file: RING,
            find: "let sequence = segment.life.sequence.load(Ordering::Relaxed);
        let place = segment.life.place.load();",
            replace: "let sequence = self.current();
        let place = segment.life.place.load();",
        }],
        caught_by: &[Machine(M::SequenceFromCurrent)],
    },
    Bug {
        name: "stragglers-forgotten",
        what: "a sealer declares the segment complete, whatever is still being copied",
        edits: &[
            Edit {
                file: RING,
                find: "let fill = Fill(segment.fill.fetch_add(bias, Ordering::Release));",
                replace: "segment.fill.swap(Fill::SEALED, Ordering::AcqRel);",
            },
            Edit {
                file: RING,
                find: "if fill.seal(bias) == Left::Last {",
                replace: "if bias > 0 {",
            },
        ],
        caught_by: &[Core("ring"),
            Machine(M::StragglersForgotten),
            Spec("SealForgetsStragglers"), Shuttle("writers")],
    },
    Bug {
        name: "bias-first",
        what: "a sealer lets the segment be complete before it says where that ended",
        edits: &[
            Edit {
                file: RING,
                find: "        segment.life.sealed.store(len, Ordering::Relaxed);",
                replace: "        let bias = Fill::seal_bias(len - START, Self::sweep(segment));
        let fill = Fill(segment.fill.fetch_add(bias, Ordering::AcqRel));
        segment.life.sealed.store(len, Ordering::Relaxed);",
            },
            Edit {
                file: RING,
                find: "        let bias = Fill::seal_bias(len - START, Self::sweep(segment));
        // Release",
                replace: "        // Release",
            },
            Edit {
                file: RING,
                find: "        let fill = Fill(segment.fill.fetch_add(bias, Ordering::Release));
",
                replace: "",
            },
        ],
        caught_by: &[Machine(M::BiasFirst), Loom("loom_handover")],
    },
    Bug {
        name: "hand-over-twice",
        what: "a sealer hands over although a writer that leaves later will, too",
        edits: &[Edit {
            file: RING,
            find: "if fill.seal(bias) == Left::Last {",
            replace: "if fill.seal(bias) == Left::Last || len > START {",
        }],
        caught_by: &[Machine(M::HandOverTwice), Spec("HandOverTwice"), Shuttle("writers"), Loom("loom_handover"), Trace],
    },
    Bug {
        name: "gate-skipped",
        what: "a sealer activates the next segment without waiting for it to be free",
        edits: &[Edit {
            file: RING,
            find: "Arrived::First => false,
            Arrived::Second => {",
            replace: "Arrived::First | Arrived::Second => {",
        }],
        caught_by: &[Core("ring"), Machine(M::GateSkipped)],
    },
    Bug {
        name: "gate-left-open",
        what: "activation does not shut the gate behind it",
        edits: &[Edit {
            file: RING,
            find: "segment.life.gate.store(Gate::SHUT.0, Ordering::Relaxed);",
            replace: "",
        }],
        caught_by: &[Core("ring"), Spec("GateLeftOpen")],
    },
    Bug {
        name: "place-after-tail",
        what: "a segment is open for reservations before its base LSN is in place",
        edits: &[
            Edit {
                file: RING,
                find: "        // Relaxed: published by the tail's Release below.
        segment.life.place.store(place);",
                replace: "",
            },
            Edit {
                file: RING,
                find: "segment.tail.store(Tail::open(sequence, START).0, Ordering::Release);",
                replace: "segment.tail.store(Tail::open(sequence, START).0, Ordering::Release);
        segment.life.place.store(place);",
            },
        ],
        caught_by: &[Machine(M::PlaceAfterTail), Spec("BaseAfterActivation"), Shuttle("stale_writers"), Loom("loom_reserve")],
    },
    Bug {
        name: "fill-after-tail",
        what: "a segment is open for reservations before its fill is reset",
        edits: &[
            Edit {
                file: RING,
                find: "        segment.fill.store(Fill::OPEN.0, Ordering::Relaxed);
        self.probe",
                replace: "        self.probe",
            },
            Edit {
                file: RING,
                find: "segment.tail.store(Tail::open(sequence, START).0, Ordering::Release);",
                replace: "segment.tail.store(Tail::open(sequence, START).0, Ordering::Release);
        segment.fill.store(Fill::OPEN.0, Ordering::Relaxed);",
            },
        ],
        caught_by: &[Machine(M::FillAfterTail), Loom("loom_reserve")],
    },
    Bug {
        name: "stripes-after-tail",
        what: "a segment is open for reservations before its stripes are reset",
        edits: &[
            Edit {
                file: RING,
                find: "        for stripe in &segment.stripes {
            stripe.store(Stripe::OPEN.0, Ordering::Relaxed);
        }
",
                replace: "",
            },
            Edit {
                file: RING,
                find: "segment.tail.store(Tail::open(sequence, START).0, Ordering::Release);",
                replace: "segment.tail.store(Tail::open(sequence, START).0, Ordering::Release);
        for stripe in &segment.stripes {
            stripe.store(Stripe::OPEN.0, Ordering::Relaxed);
        }",
            },
        ],
        caught_by: &[Machine(M::StripesAfterTail), Loom("loom_reserve")],
    },
    Bug {
        name: "swept-in-silence",
        what: "a sealer counts what is in a stripe, and does not say so to those who add to it later",
        edits: &[Edit {
            file: RING,
            find: "stripe.fetch_add(Stripe::SWEEP, Ordering::Acquire)",
            replace: "stripe.load(Ordering::Acquire)",
        }],
        caught_by: &[Machine(M::SweptInSilence), Spec("SweptInSilence"), Loom("loom_handover")],
    },
    Bug {
        name: "commit-too-late",
        what: "a writer that finds its stripe counted leaves it at that",
        edits: &[Edit {
            file: RING,
            find: "if before.is_swept() { self.commit_late(segment, sequence, step) } else { Duty::NONE }",
            replace: "let _ = (before, Self::commit_late);
        Duty::NONE",
        }],
        caught_by: &[Machine(M::CommitTooLate), Spec("CommitTooLate"), Loom("loom_handover")],
    },
    Bug {
        name: "full-misplaced",
        what: "a writer that finds a segment closed says that the one which is current now is full",
        edits: &[Edit {
            file: RING,
            find: "self.current.fetch_max(seen.full().0, Ordering::Relaxed);",
            replace: "let _ = (seen, self.current.fetch_or(1, Ordering::Relaxed));",
        }],
        caught_by: &[Machine(M::FullMisplaced), Spec("FullMisplaced"), Loom("loom_reserve")],
    },
    Bug {
        name: "full-unsaid",
        what: "nobody says that a segment is full, so that each attempt adds to its closed word",
        edits: &[Edit {
            file: RING,
            find: "self.current.fetch_max(seen.full().0, Ordering::Relaxed);",
            replace: "let _ = seen;",
        }],
        caught_by: &[Core("lib")],
    },
    Bug {
        name: "current-stored",
        what: "`current` is stored, not raised, so that a slow activator takes it back",
        edits: &[Edit {
            file: RING,
            find: "self.current.fetch_max(Current::new(sequence, slot).0, Ordering::Release);",
            replace: "self.current.store(Current::new(sequence, slot).0, Ordering::Release);",
        }],
        caught_by: &[Machine(M::CurrentStored), Spec("CurrentStored"), Loom("loom_next_lsn")],
    },
    Bug {
        name: "stale-grant",
        what: "a writer granted in a later life than it looked for tells nobody of that segment",
        edits: &[Edit {
            file: RING,
            find: "if sequence != seen.sequence() {",
            replace: "if sequence < seen.sequence() {",
        }],
        caught_by: &[Spec("StaleGrant"), Shuttle("stale_writers"), Loom("loom_next_lsn"), Machine(M::StaleGrant)],
    },
];
