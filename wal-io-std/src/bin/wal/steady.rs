//! Reading a log that somebody else is writing to.
//!
//! A scan reads one place after the other. If the log has grown in between, what it had found missing
//! at the first is vouched for by the second, which is what damage looks like; and a file that was
//! listed may have been removed. Damage stays where it is, so another scan tells.

use std::io;

use wal_core::{Error, Lsn};

/// Whoever changes a log faster than that is not waited for.
const ATTEMPTS: u32 = 10;

/// Scans until a scan goes well, or finds the same damage as the one before it.
pub(crate) fn steady<T>(mut scan: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut last: Option<Lsn> = None;
    for _ in 1..ATTEMPTS {
        match scan() {
            Err(Error::Corrupt(found)) if last != Some(found.lsn) => last = Some(found.lsn),
            Err(Error::Sink(error)) if error.source.kind() == io::ErrorKind::NotFound => {}
            done => return done,
        }
    }
    scan()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use wal_core::{Corruption, Reason, SinkError};

    use super::*;

    fn corrupt(lsn: u64) -> Error {
        let (lsn, path) = (Lsn::new(lsn), PathBuf::new());
        let reason = Reason::UnfinishedBatch;
        Error::from(Corruption { reason, lsn, file: 1, path, offset: 0, len: 0, proof: lsn })
    }

    fn missing() -> Error {
        SinkError::of(wal_core::sink::SinkOp::Open, io::ErrorKind::NotFound.into()).into()
    }

    /// Runs through `outcomes`, and tells how many were asked for.
    fn run(outcomes: Vec<Result<u8, Error>>) -> (Result<u8, Error>, usize) {
        let mut asked = 0;
        let mut outcomes = outcomes.into_iter();
        let result = steady(|| {
            asked += 1;
            outcomes.next().unwrap_or(Ok(0))
        });
        (result, asked)
    }

    #[test]
    fn damage_counts_if_it_stays_where_it_is() {
        assert!(matches!(run(vec![Ok(1)]), (Ok(1), 1)));
        let (found, asked) = run(vec![Err(corrupt(8)), Err(corrupt(8)), Ok(1)]);
        assert!(matches!(found, Err(Error::Corrupt(_))) && asked == 2);
        let outcomes = vec![Err(corrupt(8)), Err(missing()), Err(corrupt(16)), Ok(1)];
        assert!(matches!(run(outcomes), (Ok(1), 4)));
        let (found, asked) = run((0..99).map(|lsn| Err(corrupt(lsn))).collect());
        assert!(matches!(found, Err(Error::Corrupt(_))) && asked == 10);
        let (found, asked) = run(vec![Err(Error::Closed), Ok(1)]);
        assert!(matches!(found, Err(Error::Closed)) && asked == 1);
    }
}
