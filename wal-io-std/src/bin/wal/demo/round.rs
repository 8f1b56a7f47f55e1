//! One round: a child lives and dies, the log is recovered, its records are checked.

use std::path::Path;
use std::time::{Duration, Instant};

use wal_core::{Error, RecoveryReport, Verdict, Wal};
use wal_io_std::FileSink;

use super::check::{Fault, Faults, Ledger, Recovered};
use super::child::options;
use super::corpus::Corpus;
use super::random::Random;
use super::tamper;
use super::victim::{self, Moment, Plan};
use crate::failure::{Failure, Outcome};
use crate::output::grouped;
use crate::progress::Progress;

/// All children together write at most about so many bytes, however fast the device is.
const MOST_BYTES: u64 = 512 << 20;

/// The numbers of a round.
pub(crate) struct Round {
    number: u32,
    appended: u64,
    pub(crate) acknowledged: u64,
    /// Records of this round that recovery found, acknowledged or not.
    recovered: u64,
    syncs: u64,
    /// How long the child lived with the log open; `None` if it was killed while opening it.
    worked: Option<Duration>,
    recovery: String,
}

impl Round {
    pub(crate) fn heading() -> String {
        line(
            ["round", "appended", "acknowledged", "recovered", "per sync", "killed after"],
            "recovery",
        )
    }

    pub(crate) fn line(&self) -> String {
        let per_sync = match self.syncs {
            0 => "-".into(),
            syncs => format!("{:.1}", self.acknowledged as f64 / syncs as f64),
        };
        let worked = self.worked.map_or("opening".into(), |w| format!("{:.3} s", w.as_secs_f64()));
        let cells = [
            &self.number.to_string(),
            &grouped(self.appended),
            &grouped(self.acknowledged),
            &grouped(self.recovered),
            &per_sync,
            &worked,
        ];
        line(cells.map(String::as_str), &self.recovery)
    }
}

/// Columns of fixed width: the rows appear one by one.
fn line(cells: [&str; 6], last: &str) -> String {
    let [a, b, c, d, e, f] = cells;
    format!("{a:>5}  {b:>10}  {c:>12}  {d:>10}  {e:>8}  {f:>12}  {last}")
}

/// How a check ended.
pub(crate) enum Survey {
    Passed,
    Failed(Faults),
}

/// A log, and what must be in it.
pub(crate) struct Demo<'a> {
    dir: &'a Path,
    corpus: &'a Corpus,
    ledger: Ledger,
    /// How long the last child took to open the log.
    opening: Option<Duration>,
}

impl<'a> Demo<'a> {
    pub(crate) fn new(dir: &'a Path, corpus: &'a Corpus, writers: usize) -> Self {
        Self { dir, corpus, ledger: Ledger::new(writers), opening: None }
    }

    /// Runs round `number` of `rounds` in about `time`.
    pub(crate) fn round(
        &mut self,
        number: u32,
        time: Duration,
        rounds: u32,
        tamper: bool,
        random: &mut Random,
        progress: &Progress,
    ) -> Outcome<(Round, Survey)> {
        let before = self.ledger.durable_records();
        let moment = self.moment(time, random);
        let most_bytes = MOST_BYTES / u64::from(rounds);
        let plan = Plan { moment, most_bytes, seed: random.next() };
        let life = victim::run(self.dir, &plan, self.corpus, &mut self.ledger, progress)?;
        self.opening = life.opening.or(self.opening);
        let appended = self.ledger.sent_records() - before;
        if tamper {
            tamper::damage(self.dir, &self.ledger)?;
        }
        progress.now(|| "recovering".into());
        let (survey, recovery) = self.survey()?;
        let round = Round {
            number,
            appended,
            acknowledged: life.acknowledged,
            // After a failed check nothing is settled, and the number says so: it is 0.
            recovered: match &survey {
                Survey::Passed => self.ledger.durable_records() - before,
                Survey::Failed(_) => 0,
            },
            syncs: life.syncs,
            worked: life.opening.map(|_| life.working),
            recovery,
        };
        Ok((round, survey))
    }

    /// A random moment to kill: one time in five while the log is being opened or just after, so
    /// that recovery itself is interrupted too.
    fn moment(&self, time: Duration, random: &mut Random) -> Moment {
        match self.opening {
            Some(opening) if random.below(5) == 0 => {
                Moment::AfterStart(opening.mul_f64(2.0 * random.fraction()))
            }
            _ => Moment::AfterReady(time.mul_f64(0.3 + 0.65 * random.fraction())),
        }
    }

    /// Recovers the log, checks it, and closes it.
    fn survey(&mut self) -> Outcome<(Survey, String)> {
        let failed = |error: Error| Failure::log(self.dir, &error);
        let started = Instant::now();
        let (wal, report) = match wal_io_std::open(self.dir, options()) {
            Ok(opened) => opened,
            // Refused because durable data is damaged: just what must not be.
            Err(error) if error.is_corruption() => {
                let faults = Faults::unreadable(error.to_string());
                return Ok((Survey::Failed(faults), "refused".into()));
            }
            Err(error) => return Err(failed(error)),
        };
        let recovery = describe(&report, started.elapsed());
        let survey = match self.check(&wal) {
            Ok(Ok(recovered)) => {
                self.ledger.settle(recovered);
                Survey::Passed
            }
            Ok(Err(faults)) => Survey::Failed(faults),
            Err(error) if error.is_corruption() => {
                Survey::Failed(Faults::unreadable(error.to_string()))
            }
            Err(error) => return Err(failed(error)),
        };
        wal.close().map_err(failed)?;
        Ok((survey, recovery))
    }

    /// Checks every record in order, and the last durable one of each writer by its LSN as well.
    fn check(&self, wal: &Wal<FileSink>) -> Result<Result<Recovered, Faults>, Error> {
        let mut check = self.ledger.check(self.corpus);
        let mut cursor = wal.cursor_from(wal.start_lsn())?;
        while let Some(entry) = cursor.next()? {
            check.record(entry.lsn, entry.payload);
        }
        for (writer, seq, place) in self.ledger.last_places() {
            match wal.read_at(place.lsn) {
                Ok(payload) => check.direct(writer, seq, place, &payload),
                Err(Error::NotARecord { .. } | Error::NotDurable { .. }) => {
                    check.fault(Fault::Missing { writer, seq, lsn: place.lsn });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(check.finish())
    }
}

/// What recovery found, in a few words.
fn describe(report: &RecoveryReport, took: Duration) -> String {
    let end = match report.verdict {
        Verdict::New => "nothing there yet",
        Verdict::Closed => "closed",
        Verdict::Clean => "clean end",
        Verdict::Torn => "torn tail",
        Verdict::Ambiguous => "undecidable tail",
        Verdict::Salvaged => "salvaged",
        _ => "unknown end",
    };
    let cut = report.cut.as_ref();
    let cut = cut.map_or(String::new(), |cut| format!(", {} bytes cut off", grouped(cut.bytes)));
    let (records, millis) = (grouped(report.records), took.as_millis());
    format!("{end}{cut}; {records} records in {millis} ms")
}
