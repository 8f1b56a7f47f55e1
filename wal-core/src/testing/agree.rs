//! Holds what recovery made of a log against what the [naive reader](super::naive) did.

use super::logs::Written;
use super::naive::{End, Log, Place, read};
use crate::error::Error;
use crate::recover::{Scan, ScanOptions, Verdict, scan};
use crate::sink::{LogSource, SinkError};

/// Says where the two differ, given the outcome of a [`scan`] by the default options and the
/// records that it visited.
///
/// # Errors
///
/// The first difference, in words.
pub fn agree(found: &Result<Scan, Error>, visited: &[Written], log: &Log) -> Result<(), String> {
    let outcome = match found {
        Err(Error::Corrupt(at)) => {
            End::Corrupt(Place { file: at.file, lsn: at.lsn.get(), offset: at.offset })
        }
        // Its file is known by a path only.
        Err(Error::UnsupportedFormat { found, .. }) => match log.outcome {
            End::Unsupported { file, .. } => End::Unsupported { file, version: *found },
            other => return Err(format!("version {found}, not {other:?}")),
        },
        Err(other) => return Err(format!("{other}, not {:?}", log.outcome)),
        Ok(scan) => end_of(scan),
    };
    if outcome != log.outcome {
        return Err(format!("{outcome:?}, not {:?}", log.outcome));
    }
    let visits = visited.iter().map(|(lsn, payload)| (lsn.get(), payload));
    if !visits.eq(log.records.iter().map(|(lsn, payload)| (*lsn, payload))) {
        let (visited, expected) = (visited.len(), log.records.len());
        return Err(format!("{visited} records that are not the {expected} expected"));
    }
    let Ok(scan) = found else { return Ok(()) };
    let counts = (scan.end.get(), scan.report.frames, scan.report.voids);
    let expected = (log.end, log.frames, log.voids);
    if counts != expected {
        return Err(format!("end, frames and voids are {counts:?}, not {expected:?}"));
    }
    let records = scan.report.records;
    if records != visited.len() as u64 {
        return Err(format!("{records} records reported, {} visited", visited.len()));
    }
    Ok(())
}

fn end_of(scan: &Scan) -> End {
    let cut = scan.report.cut.as_ref();
    let place = cut.map(|cut| Place { file: cut.file, lsn: cut.lsn.get(), offset: cut.offset });
    match (scan.report.verdict, place) {
        (Verdict::Torn, Some(place)) => End::Torn(place),
        (Verdict::Ambiguous, Some(place)) => End::Ambiguous(place),
        (Verdict::Closed, None) => End::Closed,
        (Verdict::Clean, None) => End::Clean,
        (Verdict::New, None) => End::New,
        (verdict, place) => unreachable!("{verdict:?} with {place:?}"),
    }
}

/// Everything there is in `source`, read naively. Its files are held in memory.
///
/// # Errors
///
/// Any error of the source.
pub fn naively(source: &dyn LogSource) -> Result<Log, SinkError> {
    let mut files = Vec::new();
    for entry in source.list()?.files {
        let mut bytes = vec![0; entry.len as usize];
        let len = source.read_at(entry.sequence, 0, &mut bytes)?;
        bytes.truncate(len);
        files.push((entry.sequence, bytes));
    }
    let files: Vec<_> = files.iter().map(|(sequence, bytes)| (*sequence, &bytes[..])).collect();
    Ok(read(&files))
}

/// Scans `source` by the default options, and holds that against the naive reader.
///
/// # Errors
///
/// The first difference, in words.
pub fn check(source: &dyn LogSource) -> Result<(Result<Scan, Error>, Vec<Written>), String> {
    let mut visited: Vec<Written> = Vec::new();
    let found = scan(source, ScanOptions::default(), &mut |record| {
        visited.push((record.lsn, record.payload.to_vec()));
    });
    let log = naively(source).map_err(|error| error.to_string())?;
    agree(&found, &visited, &log)?;
    Ok((found, visited))
}
