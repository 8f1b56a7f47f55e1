//! Where in the files the stream goes, as pure arithmetic.

use crate::format::{file_header::BLOCK_LEN, frame};
use crate::lsn::Lsn;

/// The shape of the log, fixed while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Bytes of a segment.
    pub segment: u64,
    /// Bytes of an ordinary log file, header block included.
    pub file: u64,
    /// Alignment of frames.
    pub align: u64,
}

/// Where a frame or a segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Stream position of the frame header.
    pub base: Lsn,
    /// Sequence number of the file.
    pub file: u64,
    /// Stream position of that file's first frame.
    pub file_base: Lsn,
    /// Length of that file in bytes.
    pub file_capacity: u64,
}

/// What follows a sealed segment in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Where the frame written directly behind the segment goes, if there is one.
    pub direct: Option<Place>,
    /// Where the next segment starts.
    pub next: Place,
}

impl Place {
    /// File offset of the frame.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        BLOCK_LEN as u64 + (self.base.get() - self.file_base.get())
    }

    /// Whether the frame is the first of its file.
    #[must_use]
    pub fn opens_file(&self) -> bool {
        self.base == self.file_base
    }
}

impl Layout {
    /// Where a frame of up to `need` bytes goes when the stream has reached `end` in the file of
    /// `here`: right there if it fits, otherwise to a new file that starts at the same position.
    #[must_use]
    pub fn follow(&self, here: Place, end: Lsn, need: u64) -> Place {
        let base = end.align_up(self.align);
        let moved = Place { base, ..here };
        if moved.offset() + need <= here.file_capacity {
            return moved;
        }
        let own = (BLOCK_LEN as u64 + need).next_multiple_of(BLOCK_LEN as u64);
        Place { base, file: here.file + 1, file_base: base, file_capacity: self.file.max(own) }
    }

    /// What follows the segment at `here` once it is sealed with `len` bytes and a frame of
    /// `direct` bytes (0 for none) goes right behind it. A segment that holds nothing but room
    /// for its header takes no space.
    #[must_use]
    pub fn rotate(&self, here: Place, len: u64, direct: u64) -> Rotation {
        let len = if len > frame::HEADER_LEN as u64 { len } else { 0 };
        let (mut place, mut end) = (here, here.base.advance(len));
        let direct = (direct > 0).then(|| {
            place = self.follow(place, end, direct);
            end = place.base.advance(direct);
            place
        });
        Rotation { direct, next: self.follow(place, end, self.segment) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { segment: 8192, file: 4096 + 3 * 8192, align: 4096 };
    const FIRST: Place =
        Place { base: Lsn::ZERO, file: 1, file_base: Lsn::ZERO, file_capacity: LAYOUT.file };

    #[test]
    fn a_partly_filled_segment_takes_whole_blocks() {
        let Rotation { direct, next } = LAYOUT.rotate(FIRST, 100, 0);
        assert_eq!((direct, next), (None, Place { base: Lsn::new(4096), ..FIRST }));
        assert_eq!(next.offset(), 8192);
        assert!(FIRST.opens_file() && !next.opens_file());
    }

    #[test]
    fn an_empty_segment_takes_no_space() {
        assert_eq!(LAYOUT.rotate(FIRST, 64, 0).next, FIRST);
    }

    #[test]
    fn a_segment_that_might_not_fit_opens_the_next_file_at_the_same_position() {
        let here = Place { base: Lsn::new(16384), ..FIRST };
        let next = LAYOUT.rotate(here, 8192, 0).next;
        assert_eq!((next.file, next.base, next.file_base), (2, Lsn::new(24576), Lsn::new(24576)));
        assert!(next.opens_file());
        assert_eq!(next.offset(), 4096);
    }

    #[test]
    fn a_direct_frame_goes_between_the_segment_and_the_next_and_gets_a_file_that_holds_it() {
        let rotation = LAYOUT.rotate(FIRST, 4096, 5000);
        let direct = rotation.direct.unwrap();
        assert_eq!((direct.file, direct.base), (1, Lsn::new(4096)));
        assert_eq!((rotation.next.file, rotation.next.base), (1, Lsn::new(12288)));

        let rotation = LAYOUT.rotate(FIRST, 4096, 100_000);
        let direct = rotation.direct.unwrap();
        assert_eq!((direct.file, direct.base), (2, Lsn::new(4096)));
        assert_eq!(direct.file_capacity, 106_496);
        assert_eq!((rotation.next.file, rotation.next.base), (3, Lsn::new(106_496)));
        assert_eq!(rotation.next.file_capacity, LAYOUT.file);
    }
}
