//! The parent's side of the child: start it, listen, kill it.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::check::Ledger;
use super::corpus::Corpus;
use super::wire::Message;
use crate::failure::{Failure, Outcome};
use crate::progress::Progress;

/// A child that has not opened its log by then never will.
const OPENING_LIMIT: Duration = Duration::from_secs(60);
const SIGKILL: i32 = 9;

/// When to kill.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// So long after it began to open the log, whether it has opened it by then or not.
    AfterStart(Duration),
    /// So long after it has opened the log.
    AfterReady(Duration),
}

/// What to do with a child.
pub(crate) struct Plan {
    pub(crate) moment: Moment,
    /// It is killed early when it has written so many bytes.
    pub(crate) most_bytes: u64,
    pub(crate) seed: u64,
}

/// The life of a child.
pub(crate) struct Life {
    /// How long it took to open the log; `None` if it was killed before.
    pub(crate) opening: Option<Duration>,
    /// How long it lived with the log open.
    pub(crate) working: Duration,
    /// Syncs it reported.
    pub(crate) syncs: u64,
    /// Records it reported durable.
    pub(crate) acknowledged: u64,
}

/// A child process that does not outlive this.
struct Victim(Child);

impl Victim {
    /// Kills it, whatever it does, and waits until it is gone and its locks with it.
    fn kill(&mut self) -> io::Result<ExitStatus> {
        self.0.kill()?;
        self.0.wait()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Fails only if it is gone already.
        let _ = self.kill();
    }
}

/// Runs a child on the log in `dir` until the planned moment, noting in `ledger` what it says.
pub(crate) fn run(
    dir: &Path,
    plan: &Plan,
    corpus: &Corpus,
    ledger: &mut Ledger,
    progress: &Progress,
) -> Outcome<Life> {
    let trouble = |error: io::Error| {
        Failure::trouble(format!("cannot run the process to be killed: {error}; try again"))
    };
    let (mut victim, stdin, stdout) = spawn(dir, plan, ledger).map_err(trouble)?;
    feed(stdin, corpus).map_err(trouble)?;
    let started = Instant::now();
    let (send, receive) = crossbeam_channel::bounded(1024);
    thread::scope(|scope| {
        // Ends with the child, whose death closes the pipe, or when we stop listening.
        scope.spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let message = line.ok().and_then(|line| Message::parse(&line));
                if send.send(message).is_err() {
                    break;
                }
            }
        });
        let mut watch = Watch { started, ready: None, ledger, bytes: 0, life: None };
        let listening = watch.until_the_moment(plan, &receive, progress);
        let status = victim.kill().map_err(trouble)?;
        let end = Instant::now();
        listening?;
        // What it had written before it died is in the pipe: it counts.
        for message in &receive {
            watch.note(message)?;
        }
        if status.signal() != Some(SIGKILL) {
            let advice = "see its message above";
            let text = format!("the process to be killed ended by itself: {status}; {advice}");
            return Err(Failure::trouble(text));
        }
        let mut life = watch.life.unwrap_or(NO_LIFE);
        life.opening = watch.ready.map(|ready| ready - started);
        life.working = watch.ready.map_or(Duration::ZERO, |ready| end - ready);
        Ok(life)
    })
}

const NO_LIFE: Life = Life { opening: None, working: Duration::ZERO, syncs: 0, acknowledged: 0 };

fn spawn(
    dir: &Path,
    plan: &Plan,
    ledger: &Ledger,
) -> io::Result<(Victim, Option<ChildStdin>, ChildStdout)> {
    let next: Vec<String> = ledger.next().iter().map(u64::to_string).collect();
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("demo-child").arg("--next").arg(next.join(","));
    command.arg("--seed").arg(plan.seed.to_string()).arg("--").arg(dir);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let victim = Victim(child);
    let none = || io::Error::other("it has no standard output");
    Ok((victim, stdin, stdout.ok_or_else(none)?))
}

/// Gives the child the corpus; it reads all of it before it does anything else.
fn feed(stdin: Option<ChildStdin>, corpus: &Corpus) -> io::Result<()> {
    match stdin {
        Some(mut stdin) => stdin.write_all(corpus.text()),
        None => Ok(()),
    }
}

/// Listens to a child.
struct Watch<'a> {
    started: Instant,
    ready: Option<Instant>,
    ledger: &'a mut Ledger,
    /// Bytes it has written to its log.
    bytes: u64,
    life: Option<Life>,
}

impl Watch<'_> {
    /// Notes messages until it is time to kill, or the child is dead already.
    fn until_the_moment(
        &mut self,
        plan: &Plan,
        messages: &Receiver<Option<Message>>,
        progress: &Progress,
    ) -> Outcome<()> {
        loop {
            let deadline = match (plan.moment, self.ready) {
                (Moment::AfterStart(delay), _) => self.started + delay,
                (Moment::AfterReady(delay), Some(ready)) => ready + delay,
                (Moment::AfterReady(_), None) => self.started + OPENING_LIMIT,
            };
            match messages.recv_deadline(deadline) {
                Ok(message) => self.note(message)?,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    if matches!(plan.moment, Moment::AfterReady(_)) && self.ready.is_none() {
                        let text = "the process to be killed has not opened its log in a minute; \
                                    check the device";
                        return Err(Failure::trouble(text));
                    }
                    return Ok(());
                }
            }
            // A deadline that has passed is not noticed above while messages keep coming.
            if self.bytes >= plan.most_bytes || self.ready.is_some() && Instant::now() >= deadline {
                return Ok(());
            }
            progress.now(|| format!("{} records durable", self.ledger.durable_records()));
        }
    }

    fn note(&mut self, message: Option<Message>) -> Outcome<()> {
        let fits = match message {
            Some(Message::Ready) => {
                self.ready = Some(Instant::now());
                true
            }
            Some(Message::Sent { writer, first, records }) => {
                self.ledger.sent(writer, first, records)
            }
            Some(Message::Durable { syncs, bytes, writer, first, places }) => {
                let life = self.life.get_or_insert(NO_LIFE);
                // Messages of several threads come in any order.
                life.syncs = life.syncs.max(syncs);
                life.acknowledged += places.len() as u64;
                self.bytes = self.bytes.max(bytes);
                self.ledger.durable(writer, first, &places)
            }
            None => false,
        };
        if fits {
            return Ok(());
        }
        Err(Failure::trouble(
            "the process to be killed says what makes no sense: a bug of the demo",
        ))
    }
}
