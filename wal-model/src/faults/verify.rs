//! Opening what a crash has left, and holding it against what should be there.

use wal_core::testing::sim::{Image, SimDisk, Survival};
use wal_core::{Durability, Error, Lsn, Options, RecoveryReport, Verdict};

use super::deserve::Deserved;
use super::life::{self, Opened};
use super::medium::Medium;
use super::oracle::{Found, Oracle};

/// The verdict of a report, in the words of [`Deserved`].
fn said(report: &RecoveryReport) -> Option<Deserved> {
    Some(match report.verdict {
        Verdict::New => Deserved::New,
        Verdict::Closed => Deserved::Closed,
        Verdict::Clean => Deserved::Clean(report.end),
        Verdict::Torn => Deserved::Torn(report.end),
        Verdict::Ambiguous => Deserved::Ambiguous(report.end),
        _ => return None,
    })
}

/// Whether `error` is what was deserved.
fn is_deserved(error: &Error, deserved: Option<Deserved>) -> bool {
    match (error, deserved) {
        // Beside a missing file there may be other signs of it, and the first one met is named.
        (Error::Corrupt(found), Some(Deserved::Corrupt(lsn) | Deserved::Gap(lsn))) => {
            found.lsn == lsn
        }
        _ => false,
    }
}

/// A log that was opened after a crash, and what is in it.
pub struct Survivor<M: Medium> {
    /// The log.
    pub opened: Opened<M>,
    /// Its records.
    pub records: Vec<Found>,
}

/// Opens `disk` and holds it against the oracle, and the verdict against the one deserved, if that
/// is known. `None` if the log is refused as corrupt, deservedly.
///
/// # Errors
///
/// What is wrong.
pub fn open<M: Medium>(
    disk: &SimDisk,
    options: &Options,
    oracle: &mut Oracle,
    survived: Durability,
    deserved: Option<Deserved>,
) -> Result<Option<Survivor<M>>, String> {
    let opened = match life::open::<M>(disk, options) {
        Ok(opened) => opened,
        Err(error) if is_deserved(&error, deserved) => return Ok(None),
        Err(error) => {
            let deserved = deserved.map(|deserved| format!(", and {deserved:?} was deserved"));
            let deserved = deserved.unwrap_or_default();
            return Err(format!("the log does not open{deserved}: {error}"));
        }
    };
    check(opened, oracle, survived, deserved).map(Some)
}

/// As [`open`], of a log that is open.
///
/// # Errors
///
/// What is wrong.
pub fn check<M: Medium>(
    opened: Opened<M>,
    oracle: &mut Oracle,
    survived: Durability,
    deserved: Option<Deserved>,
) -> Result<Survivor<M>, String> {
    let report = &opened.report;
    if let Some(deserved) = deserved
        && said(report) != Some(deserved)
    {
        return Err(format!("{deserved:?} was deserved, and the verdict is: {report}"));
    }
    let records = life::records(&opened).map_err(|error| format!("reading: {error}"))?;
    if report.records != records.len() as u64 {
        return Err(format!("{} records can be read; {report}", records.len()));
    }
    oracle
        .recover((opened.wal.start_lsn(), report.end), &records, survived)
        .map_err(|wrong| format!("{wrong}; {report}"))?;
    Ok(Survivor { opened, records })
}

/// Recovers what is on `image` again and again: nothing changes any more, nothing that was cut off
/// comes back, and what is appended now is there.
///
/// # Errors
///
/// What is wrong.
pub fn settles<M: Medium>(
    image: &Image,
    options: &Options,
    expected: &[Found],
    end: Lsn,
) -> Result<(), String> {
    let disk = SimDisk::of(image.process_crash(), 2);
    let opened =
        life::open::<M>(&disk, options).map_err(|error| format!("opening again: {error}"))?;
    let records = life::records(&opened).map_err(|error| format!("reading again: {error}"))?;
    if opened.report.cut.is_some() || records != expected {
        return Err(format!("recovered again, it is another log: {}", opened.report));
    }
    let added =
        opened.wal.append_and_sync(b"after").map_err(|error| format!("going on: {error}"))?;
    if added.lsn < end {
        return Err(format!("{} was given again behind {end}", added.lsn));
    }
    // Whatever the directories still hold back comes back now.
    let disk = SimDisk::of(disk.image().power_loss(Survival::Nothing), 3);
    let opened =
        life::open::<M>(&disk, options).map_err(|error| format!("opening at last: {error}"))?;
    let records = life::records(&opened).map_err(|error| format!("reading at last: {error}"))?;
    let (last, before) = records.split_last().ok_or("the record added is gone")?;
    if before != expected || last.0 != added.lsn || last.1 != b"after" {
        return Err(format!("what was added does not follow what was there: {}", opened.report));
    }
    Ok(())
}
