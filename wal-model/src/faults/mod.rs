//! Nothing acknowledged is ever lost: the real log on a [simulated disk](wal_core::testing::sim)
//! that fails, loses its power, and lies.
//!
//! A [life] of a log is told what to do, and tells an [oracle] what came of it. Then fate
//! strikes; the log is opened again, and the oracle says whether what it finds may be there. The
//! [verdict](deserve) that recovery should come to is worked out from what was written and what
//! survived, without any of the log's code.
//!
//! - [`exhaustive`]: small lives, a crash after every single call that changes the disk, in every
//!   state that this crash can leave, and again during the recovery from it.
//! - [`random`]: long lives one after the other, with everything at once, from a seed.
//!
//! `cargo faults` runs both, and the tests of the same kind elsewhere, and prints [how much](command)
//! was tried.

pub mod command;
pub mod deserve;
pub mod exhaustive;
pub mod life;
pub mod medium;
pub mod oracle;
pub mod random;
#[cfg(target_os = "linux")]
pub mod ring;
pub mod verify;
