//! Bugs that take a schedule to show, each with a scenario that meets it.
//!
//! Two edits are left out, since no schedule of the scenarios shows them. That `seal_active`
//! compares the base it loaded without looking whether the slot has lived on changes nothing: a
//! later base past the position asked for means that everything before it is sealed. And that
//! `Tail::seal` looks at the life of its word matters only where three threads stand still at once
//! (an activator before it raises `current`, and two late writers) while the leader seals.

use super::{Bug, Edit, Layer};

/// The bugs.
pub(super) const BUGS: &[Bug] = &[
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
        name: "lead-entrusted-to-a-task",
        what: "one of the tasks that wait is woken to lead, and nobody leads if it is dropped",
        edits: &[
            Edit {
                file: "wal-core/src/flush/wait.rs",
                find: "return Next::Wake(desk.take_everybody());",
                replace: "return Next::Wake(desk.waiters.take_any().into_iter().collect());",
            },
            Edit {
                file: "wal-core/src/flush/waiters.rs",
                find: "    /// Removes the owner of the frame behind segment `sequence`.\n",
                replace: "    pub(crate) fn take_any(&mut self) -> Option<Waker> {
        let durable = self.durable.pop_first().map(|(_, waiter)| waiter.waker);
        let written = || self.written.pop_first().map(|(_, waiter)| waiter.waker);
        let space = || self.space.pop_first().map(|(_, waiter)| waiter.waker);
        durable.or_else(written).or_else(space)
    }

    /// Removes the owner of the frame behind segment `sequence`.\n",
            },
        ],
        caught_by: &[Layer::Shuttle("unblocking_sink")],
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
            find: "let may_rotate = || !last && !shared.is_poisoned();",
            replace: "let may_rotate = || !shared.is_poisoned();",
        }],
        caught_by: &[Layer::Shuttle("closing")],
    },
];
