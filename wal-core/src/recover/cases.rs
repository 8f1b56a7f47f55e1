//! The case table of recovery. `spec/FORMAT.md` has the same table with the reasons, and
//! `tests/recovery.rs` one test for each letter.

use std::fmt;

macro_rules! cases {
    ($($name:ident $letter:literal $seen:literal => $verdict:literal;)*) => {
        /// A situation that recovery tells apart, by its letter in `spec/FORMAT.md`.
        ///
        /// *X* is the first position that does not read well. A *claim* is a durable watermark
        /// in an intact header behind it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Case {
            $(
                #[doc = concat!("@", $letter, ": ", $seen, ". Verdict: ", $verdict, ".")]
                $name,
            )*
        }

        impl Case {
            /// All cases in the order of their letters.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The letter.
            #[must_use]
            pub const fn letter(self) -> char {
                match self { $(Self::$name => $letter,)* }
            }

            /// What is seen on disk.
            #[must_use]
            pub const fn seen(self) -> &'static str {
                match self { $(Self::$name => $seen,)* }
            }

            /// What it means and what is done.
            #[must_use]
            pub const fn verdict(self) -> &'static str {
                match self { $(Self::$name => $verdict,)* }
            }
        }
    };
}

cases! {
    New 'A' "no file, or only files whose header block is all zeros" => "new log";
    Closed 'B' "the last frame is a close mark, nothing of this life of the file behind it"
        => "closed";
    Clean 'C' "zeros, bytes of an earlier life, records without a frame in a file written in place, or too little room at X; no valid frame and no claim behind it"
        => "clean end";
    TornFrame 'D' "a bad frame at X, valid frames of the same file behind it, no claim past X"
        => "torn: cut at X, islands included";
    AmbiguousFrame 'E' "a bad frame at X with bytes of this life of the file, nothing valid behind it"
        => "ambiguous: cut at X and reported, or refused";
    CorruptFrame 'F' "a bad frame at X, and a frame of the same file claims past X"
        => "corruption";
    CorruptBeforeFile 'G' "a bad frame at X, and only a later file claims past X" => "corruption";
    MisplacedFrame 'H' "an intact frame at X that names another position, or another frame before it than the one that is there"
        => "as a bad frame at X";
    Leftovers 'I' "bytes behind the end that the next file's header names" => "ignored";
    TornBeforeFile 'J' "a file that is good only to X, before the end that the next file's header names; no claim past X"
        => "torn: cut at X, later files set aside";
    InterruptedFile 'K' "a bad header block on the newest file; no claim past the end of the file before"
        => "ambiguous, or torn if valid frames follow: the file is set aside";
    CorruptFileHeader 'L' "a bad header block, and a claim past the end of the file before"
        => "corruption";
    MissingFile 'M' "a file's predecessor is absent, though older files are there"
        => "corruption";
    TruncatedFront 'N' "the oldest file names a predecessor, and no older file is there"
        => "the log starts with this file";
    DuplicateFile 'O' "two files with one sequence number" => "corruption, in every mode";
    StrangeFile 'P' "an intact header of another log or another sequence number" => "corruption";
    BrokenFileChain 'Q' "a file that contradicts its predecessor's salt, end or last frame"
        => "corruption";
    ShortFile 'R' "a file shorter than its header says, not trimmed behind a close mark"
        => "corruption";
    NewerVersion 'S' "an intact header of an unknown format version" => "unsupported format, in every mode";
    ReadError 'T' "a read fails" => "the error itself, in every mode";
    UnusedFile 'U' "a header block of zeros, no frame that could continue the log behind it"
        => "not part of the log: removed";
    StrayFile 'V' "a file that a later header skips, and which has a bad header block, or the later file is recovered"
        => "not part of the log: removed if unused, else set aside";
    Salvaged 'W' "any corruption but @O, where salvage was asked for"
        => "a hole is reported; the log goes on at the next valid frame";
    VacantFile 'X' "a file that opening or a cut began, without a frame, that no later file names"
        => "not part of the log: removed once the next file has been begun";
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.letter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_in_order_and_without_gaps() {
        for (case, letter) in Case::ALL.iter().zip('A'..) {
            assert_eq!(case.letter(), letter);
        }
    }
}
