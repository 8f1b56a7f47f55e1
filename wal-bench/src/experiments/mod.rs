//! Small prototypes of ways to reserve and commit, behind the choice made in `wal-core`.
//!
//! Each is a complete ring with real copies, checksums and reuse of segments, but without a sink:
//! whoever closes a segment waits until the next one is complete from its last life and opens it.
//! They differ only in the words of a segment ([`Words`]).

mod counter;
mod fused;
mod packed;
mod ring;
mod striped;
mod tagged;

pub use counter::Counter;
pub use fused::copy_with_crc;
pub use packed::Packed;
pub use ring::{ProtoRing, Reserved, Words};
pub use striped::Striped;
pub use tagged::Tagged;

/// Reserve by addition without looking first.
pub const NO_LOOK: u8 = 0;
/// Look at the word with a relaxed load first, and add only if it is open.
pub const LOOK: u8 = 1;
/// Ask for the word's line in exclusive state first, then look, then add.
pub const PREFETCH: u8 = 2;
