//! The parent's side: start, listen, kill, recover, check.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::ledger::{Ledger, read_all};
use super::op::Shape;
use super::random::Random;
use crate::error::Error;
use crate::recover::{RecoveryReport, Verdict};
use crate::sink::SegmentSink;
use crate::wal::Wal;

/// Every recovery reads all of a log: so none grows for ever.
const ROUNDS_OF_A_LOG: u32 = 12;

/// A victim whose moment has not come by then will never get there.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to torture.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What the victims append; the seed decides when they are killed, too.
    pub shape: Shape,
    /// Victims killed at work.
    pub rounds: u32,
    /// They work no longer than this.
    pub longest: Duration,
}

impl Plan {
    /// Plans for logs of their own that together are this one, since recovery after each round reads
    /// a whole log. Their seeds differ.
    pub fn logs(self) -> impl Iterator<Item = Self> {
        (0..self.rounds).step_by(ROUNDS_OF_A_LOG as usize).map(move |done| {
            let rounds = ROUNDS_OF_A_LOG.min(self.rounds - done);
            let shape = Shape { seed: self.shape.seed.wrapping_add(done.into()), ..self.shape };
            Self { shape, rounds, ..self }
        })
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Processes killed while they appended.
    pub killed_at_work: u64,
    /// Of them, those that had begun a truncation and not reported its end.
    pub killed_truncating: u64,
    /// Processes killed between beginning to open the log and having opened it.
    pub killed_opening: u64,
    /// Reports that something is durable.
    pub acknowledgements: u64,
    /// Reports that the log was truncated.
    pub truncations: u64,
    /// Of them, those that have moved its start.
    pub freeing_truncations: u64,
    /// Records read back, after all rounds together.
    pub records: u64,
    /// Recoveries that found a torn end, decidable or not.
    pub torn: u64,
    /// Openers that were refused because the victim lived.
    pub locked_out: u64,
}

impl Tally {
    /// Its numbers by name, for a table.
    #[must_use]
    pub const fn counts(&self) -> [(&'static str, u64); 9] {
        [
            ("kills at work", self.killed_at_work),
            ("kills while truncating", self.killed_truncating),
            ("kills while opening", self.killed_opening),
            ("acknowledgements before kills", self.acknowledgements),
            ("truncations before kills", self.truncations),
            ("truncations that freed files", self.freeing_truncations),
            ("records recovered after kills", self.records),
            ("torn ends", self.torn),
            ("second openers refused", self.locked_out),
        ]
    }
}

/// Kills process after process. `command` starts one that calls [`victim`](super::victim), and
/// `open` opens the same log in this process, the way the victims do.
///
/// # Errors
///
/// What is wrong with the log, or why it could not be tried, and the seed.
pub fn torture<S: SegmentSink>(
    plan: &Plan,
    command: &dyn Fn() -> Command,
    open: &dyn Fn() -> Result<(Wal<S>, RecoveryReport), Error>,
) -> Result<Tally, String> {
    let mut torture = Torture {
        plan,
        command,
        open,
        ledger: Ledger::new(),
        random: Random::new(plan.shape.seed, u64::MAX),
        opening: Duration::from_millis(5),
        tally: Tally::default(),
    };
    for round in 0..plan.rounds {
        torture.round(round).map_err(|wrong| {
            format!("{wrong} (round {round} of seed {}; kills are timed)", plan.shape.seed)
        })?;
    }
    let Torture { tally, ledger, .. } = torture;
    Ok(Tally {
        acknowledgements: ledger.acknowledgements(),
        truncations: ledger.truncations(),
        freeing_truncations: ledger.freeing_truncations(),
        ..tally
    })
}

struct Torture<'a, S: SegmentSink> {
    plan: &'a Plan,
    command: &'a dyn Fn() -> Command,
    open: &'a dyn Fn() -> Result<(Wal<S>, RecoveryReport), Error>,
    ledger: Ledger,
    random: Random,
    /// How long opening took last time.
    opening: Duration,
    tally: Tally,
}

/// When to kill.
#[derive(Clone, Copy)]
enum Moment {
    /// So long after it has opened the log.
    Working(Duration),
    /// So long after a writer began the truncation of this number.
    Truncating(usize, Duration),
    /// So long after it began to, even if that is over.
    Opening(Duration),
}

impl<S: SegmentSink> Torture<'_, S> {
    fn round(&mut self, round: u32) -> Result<(), String> {
        let longest = self.plan.longest.as_micros() as u64;
        let shape = Shape { seed: self.random.next(), ..self.plan.shape };
        let moment = if shape.truncates && !round.is_multiple_of(2) {
            let delay = Duration::from_micros(self.random.below(300));
            Moment::Truncating(self.random.below(24) as usize, delay)
        } else {
            Moment::Working(Duration::from_micros(self.random.below(longest)))
        };
        self.life(shape, moment, round.is_multiple_of(4))?;
        // Recovery from that death dies, too, perhaps more than once.
        for _ in 0..self.random.below(3) {
            let limit = self.opening.as_micros() as u64 + 500;
            let moment = Moment::Opening(Duration::from_micros(self.random.below(limit)));
            self.life(Shape { writers: 0, ..shape }, moment, false)?;
        }
        self.recover()
    }

    /// One process, from its start to its kill.
    fn life(&mut self, shape: Shape, moment: Moment, intrude: bool) -> Result<(), String> {
        self.ledger.begin(shape);
        let mut command = (self.command)();
        shape.pass(&mut command);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("cannot start a victim: {error}"))?;
        let mut victim = Victim(child);
        let lines = listen(victim.0.stdout.take());
        let mut watch = Watch::new();
        watch.until(moment, &lines, &mut self.ledger)?;
        if intrude && watch.opened.is_some() {
            self.intrude()?;
        }
        let killed = victim.kill()?;
        for line in lines {
            watch.note(&line, &mut self.ledger)?;
        }
        if !killed {
            return Err("the victim ended before it was killed: see its message".into());
        }
        match (shape.writers, watch.began, watch.opened) {
            (1.., _, Some(_)) => {
                self.tally.killed_at_work += 1;
                self.tally.killed_truncating += u64::from(self.ledger.is_truncating());
            }
            (_, Some(_), None) => self.tally.killed_opening += 1,
            _ => {}
        }
        if let Some(opened) = watch.opened {
            self.opening = opened;
        }
        Ok(())
    }

    /// Opens the log of a process that has it open.
    fn intrude(&mut self) -> Result<(), String> {
        match (self.open)() {
            Err(Error::Locked { path }) if path.is_absolute() => {
                self.tally.locked_out += 1;
                Ok(())
            }
            Err(error) => Err(format!("a second opener is told: {error}")),
            Ok(_) => Err("TWO OPENERS: the log was opened while the victim had it open".into()),
        }
    }

    /// Recovers, checks, and recovers again.
    fn recover(&mut self) -> Result<(), String> {
        let open = || (self.open)().map_err(|error| format!("cannot be opened: {error}"));
        let (wal, report) = open()?;
        if report.cut.is_some() {
            self.tally.torn += 1;
        }
        self.ledger.settle(&wal, &report)?;
        self.tally.records += report.records;
        let unreadable = |error| format!("UNREADABLE: {error}");
        let once = read_all(&wal).map_err(unreadable)?;
        drop(wal);
        let (wal, again) = open()?;
        let of = |report: &RecoveryReport| (report.start, report.records, report.end);
        let same = of(&again) == of(&report);
        if !same || again.verdict != Verdict::Clean || !again.set_aside.is_empty() {
            return Err(format!("NOT IDEMPOTENT: first {report}; then {again}"));
        }
        if read_all(&wal).map_err(unreadable)? != once {
            return Err("NOT IDEMPOTENT: the second recovery has other records".into());
        }
        if self.random.below(3) == 0 {
            wal.close().map_err(|error| format!("cannot be closed: {error}"))?;
        }
        Ok(())
    }
}

/// A process that does not outlive this.
struct Victim(Child);

impl Victim {
    /// Kills it and waits until it is gone; false if it was gone before.
    fn kill(&mut self) -> Result<bool, String> {
        let trouble = |error| format!("cannot kill the victim: {error}");
        let gone = self.0.try_wait().map_err(trouble)?.is_some();
        // On Unix systems, this is SIGKILL.
        self.0.kill().map_err(trouble)?;
        let status = self.0.wait().map_err(trouble)?;
        Ok(!gone && status.code().is_none())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Fails only if it is gone already.
        let _ = self.kill();
    }
}

/// The lines of a process as they come; they end with it.
fn listen(stdout: Option<ChildStdout>) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    if let Some(stdout) = stdout {
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            // What a kill has cut off is no line.
            while stdout.read_line(&mut line).is_ok_and(|_| line.ends_with('\n')) {
                let whole = std::mem::take(&mut line);
                if send.send(whole.trim_end().to_owned()).is_err() {
                    break;
                }
            }
        });
    }
    receive
}

struct Watch {
    started: Instant,
    /// When it began to open the log.
    began: Option<Instant>,
    /// How long it took to open the log, once it has.
    opened: Option<Duration>,
    /// When its writers began to truncate.
    truncations: Vec<Instant>,
}

impl Watch {
    fn new() -> Self {
        Self { started: Instant::now(), began: None, opened: None, truncations: Vec::new() }
    }

    /// When the moment is, if that is known by now.
    fn time_of(&self, moment: Moment) -> Option<Instant> {
        match moment {
            Moment::Opening(delay) => Some(self.began? + delay),
            Moment::Working(delay) => Some(self.began? + self.opened? + delay),
            Moment::Truncating(number, delay) => Some(*self.truncations.get(number)? + delay),
        }
    }

    /// Listens until it is time to kill, or the process is gone.
    fn until(
        &mut self,
        moment: Moment,
        lines: &Receiver<String>,
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        loop {
            let time = self.time_of(moment);
            let deadline = time.unwrap_or(self.started + PATIENCE);
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.note(&line, ledger)?,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= deadline {
                let hangs = "HANGS: the moment to kill it did not come in a minute";
                return time.map(drop).ok_or_else(|| hangs.into());
            }
        }
    }

    fn note(&mut self, line: &str, ledger: &mut Ledger) -> Result<(), String> {
        if line == "opening" {
            self.began = Some(Instant::now());
            return Ok(());
        }
        if let (true, Some(began)) = (line.starts_with("ready "), self.began) {
            self.opened = Some(began.elapsed());
            return Ok(());
        }
        if line.starts_with("truncate ") {
            self.truncations.push(Instant::now());
        }
        ledger.note(line)
    }
}
