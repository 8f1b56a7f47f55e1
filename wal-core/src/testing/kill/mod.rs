//! Killing a process that writes, over and over, while what must be in its log is known elsewhere.
//!
//! The *victim* is a process with a log and many writers. It tells its parent, line by line, what
//! it is about to append, where it came to lie, and what it was told to be durable; and up to where
//! it is about to truncate the log, and where that was told to start. The parent kills it at a random
//! moment, of its work or of its recovery, opens the log itself, and holds it against the [`Ledger`].
//! The next victim goes on in the same log.
//!
//! Any backend whose log survives its process can be tried: in a test target with `harness =
//! false`, `main` calls [`victim`] if [`is_victim`] and [`torture`] otherwise, with a command that
//! runs the same program again.
//!
//! A kill ends a process, not the machine: what the operating system holds survives. So this tries
//! recovery from the death of a process; what power loss leaves is the simulators' to try.

mod front;
mod ledger;
mod op;
mod random;
mod torture;
mod victim;

pub use ledger::Ledger;
pub use op::Shape;
pub use torture::{Plan, Tally, torture};
pub use victim::{Writers, is_victim, victim};
