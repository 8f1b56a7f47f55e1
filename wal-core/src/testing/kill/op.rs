//! What a writer does, as a function of a seed: the victim does it, its parent knows it.

use std::env;
use std::hash::{DefaultHasher, Hasher};
use std::process::Command;

use super::random::Random;
use crate::options::Options;

/// Holds the shape of a life, in the victim's environment.
const VARIABLE: &str = "WAL_KILL_SHAPE";

/// Of so many bytes on, two payloads are never the same.
const UNIQUE: u64 = 16;

/// What the writers of one life append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Decides everything below; another one for each life.
    pub seed: u64,
    /// Number of the first writer. No two calls of [`Writers::run`](super::Writers::run) in one
    /// life share a number.
    pub first_writer: u32,
    /// Threads that append.
    pub writers: u32,
    /// [`segment_size`](crate::Options::segment_size) of the log: some records are larger.
    pub segment_size: u64,
    /// [`file_size`](crate::Options::file_size) of the log: some records are larger.
    pub file_size: u64,
    /// Whether the log is truncated now and then.
    pub truncates: bool,
}

impl Shape {
    /// Segments of 8 KiB in files of 64 KiB: the log goes on to new ones all the time, is truncated,
    /// and uses again what truncation has freed.
    #[must_use]
    pub const fn small(seed: u64, writers: u32) -> Self {
        let (segment_size, file_size) = (8 << 10, 64 << 10);
        Self { seed, first_writer: 0, writers, segment_size, file_size, truncates: true }
    }

    /// Options of a log of this shape, with 4 segments; futures are waited for, too.
    #[must_use]
    pub fn options(&self) -> Options {
        let options = Options::default().segment_size(self.segment_size as usize).segments(4);
        let options = options.file_size(self.file_size).max_record_len(1 << 20);
        options.executor(|job| drop(std::thread::spawn(job)))
    }

    /// Leaves this for the process that `command` will start.
    pub fn pass(&self, command: &mut Command) {
        let Self { seed, first_writer, writers, segment_size, file_size, truncates } = *self;
        let truncates = u64::from(truncates);
        let text =
            format!("{seed} {first_writer} {writers} {segment_size} {file_size} {truncates}");
        command.env(VARIABLE, text);
    }

    /// What the parent left for this process; `None` if it left nothing.
    #[must_use]
    pub fn passed() -> Option<Self> {
        let text = env::var(VARIABLE).ok()?;
        let numbers: Vec<u64> = text.split(' ').map_while(|word| word.parse().ok()).collect();
        let [seed, first_writer, writers, segment_size, file_size, truncates] = numbers[..] else {
            return None;
        };
        let (first_writer, writers, truncates) =
            (first_writer as u32, writers as u32, truncates != 0);
        Some(Self { seed, first_writer, writers, segment_size, file_size, truncates })
    }

    /// Longer than any file of the log: a record has at most the size of a file and a half.
    pub(super) const fn longest_file(&self) -> u64 {
        2 * self.file_size
    }
}

/// How records are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One record, copied.
    One,
    /// One record, filled in place.
    Reserved,
    /// Several, one by one.
    Group,
    /// Several at once, whole or not at all.
    Batch,
    /// One, of which only the room is reserved: nobody may ever see it.
    GivenUp,
}

/// How the writer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Waits for its last record.
    Durable,
    /// The same, as a future.
    Future,
    /// Waits for everything that was appended.
    Sync,
    /// Waits, and has the watermark written down.
    Mark,
    /// Does not wait.
    Not,
}

/// One step of a writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) kind: Kind,
    pub(super) payloads: Vec<Vec<u8>>,
    pub(super) wait: Wait,
    /// Then it truncates the log before the record that came so many before its last, or its first.
    pub(super) truncate: Option<usize>,
}

/// A writer truncates the log once in so many steps, beginning with one of the first.
const TRUNCATES: u64 = 5;

impl Op {
    /// Step `number` of `writer`.
    pub(super) fn of(shape: &Shape, writer: u32, number: u64) -> Self {
        let mut random = Random::new(shape.seed, (u64::from(writer) << 40) | number);
        let kind = match random.below(100) {
            0..50 => Kind::One,
            50..65 => Kind::Group,
            65..85 => Kind::Batch,
            85..95 => Kind::Reserved,
            _ => Kind::GivenUp,
        };
        let wait = match random.below(100) {
            0..55 => Wait::Durable,
            55..70 => Wait::Future,
            70..75 => Wait::Sync,
            75..78 => Wait::Mark,
            _ => Wait::Not,
        };
        let records =
            if matches!(kind, Kind::Group | Kind::Batch) { 2 + random.below(7) } else { 1 };
        let payloads = (0..records).map(|index| {
            let least = match (kind, index) {
                // A record that may be there without having been reported is told by its bytes; a
                // short one only if nothing depends on whose it is.
                (Kind::One, _) => 0,
                // It follows the one before it directly, so it may even be empty.
                (Kind::Batch, 1..) => 0,
                _ => UNIQUE,
            };
            let len = Self::len(shape, &mut random, kind, least);
            let mut payload = Vec::with_capacity(len as usize + 8);
            while (payload.len() as u64) < len {
                payload.extend(random.next().to_le_bytes());
            }
            payload.truncate(len as usize);
            payload
        });
        let payloads = payloads.collect();
        // Behind a record that nobody has waited for, too.
        let truncates = shape.truncates && (number + u64::from(writer)).is_multiple_of(TRUNCATES);
        let truncate = truncates.then(|| random.below(16) as usize);
        Self { kind, payloads, wait, truncate }
    }

    fn len(shape: &Shape, random: &mut Random, kind: Kind, least: u64) -> u64 {
        let alone = matches!(kind, Kind::One | Kind::Reserved);
        match random.below(1000) {
            0..8 if alone => shape.file_size + random.below(shape.file_size / 2),
            0..40 if alone => shape.segment_size + random.below(2 * shape.segment_size),
            // A batch of several of these is larger than a segment, too.
            40..140 => shape.segment_size / 8 + random.below(shape.segment_size / 4),
            140..240 => least + random.below(UNIQUE),
            240..300 => least,
            _ => least + random.below(400),
        }
    }
}

/// What is kept of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    len: usize,
    hash: u64,
}

impl Digest {
    pub(super) fn of(payload: &[u8]) -> Self {
        // Not the checksum of the log: the same mistake would not be seen twice.
        let mut hasher = DefaultHasher::new();
        hasher.write(payload);
        Self { len: payload.len(), hash: hasher.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape::small(1, 4);

    #[test]
    fn every_kind_of_step_and_every_size_comes_and_comes_again() {
        let ops: Vec<Op> = (0..4000).map(|number| Op::of(&SHAPE, 3, number)).collect();
        assert_eq!(ops[17], Op::of(&SHAPE, 3, 17));
        assert_ne!(ops[17], Op::of(&Shape { seed: 2, ..SHAPE }, 3, 17));
        for kind in [Kind::One, Kind::Reserved, Kind::Group, Kind::Batch, Kind::GivenUp] {
            assert!(ops.iter().any(|op| op.kind == kind), "{kind:?}");
        }
        for wait in [Wait::Durable, Wait::Future, Wait::Sync, Wait::Mark, Wait::Not] {
            assert!(ops.iter().any(|op| op.wait == wait), "{wait:?}");
        }
        assert!(ops.iter().any(|op| op.truncate == Some(0)));
        assert!(ops.iter().any(|op| op.truncate.is_some_and(|back| back > 10)));
        let kept = Shape { truncates: false, ..SHAPE };
        assert!((0..100).all(|number| Op::of(&kept, 3, number).truncate.is_none()));
        let of = |range: std::ops::Range<usize>| {
            let lens = ops.iter().flat_map(|op| &op.payloads).map(Vec::len);
            lens.filter(|len| range.contains(len)).count()
        };
        for range in [0..1, 1..16, 16..400, 8192..65536, 65536..100_000] {
            assert!(of(range.clone()) > 0, "{range:?}");
        }
        let batch = |op: &&Op| op.kind == Kind::Batch;
        let large = |op: &Op| op.payloads.iter().map(Vec::len).sum::<usize>() > 8192;
        assert!(ops.iter().filter(batch).any(large));
    }
}
