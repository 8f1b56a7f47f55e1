//! The key-value store: whatever a process was doing when it was killed, its state is then one that it
//! had, with everything that was acknowledged.

#[allow(dead_code, reason = "the program's own main")]
#[path = "../../examples/kv.rs"]
mod example;
#[cfg(target_os = "linux")]
#[path = "kv_failing.rs"]
pub(crate) mod failing;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use wal_core::Options;

use crate::process::{self, count, rounds};
use example::{Change, Map, Outcome, Store};

const DIR: &str = "WAL_KV_DIR";
const WRITERS: u8 = 3;
/// A process that does nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// A step that no writer comes to.
const END: u64 = 1 << 40;

fn small() -> Options {
    Options::default().segment_size(8192).segments(4).file_size(64 << 10)
}

/// A process that is to be killed: writers that say what was acknowledged, and checkpoints all the
/// time.
pub(crate) struct Victim(PathBuf);

impl Victim {
    pub(crate) fn of_env() -> Option<Self> {
        std::env::var_os(DIR).map(|dir| Self(dir.into()))
    }

    pub(crate) fn live(&self) -> ExitCode {
        match self.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        }
    }

    fn run(&self) -> Outcome<()> {
        let store = Store::open(&self.0, small())?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let write = |writer| {
                for step in steps(&store.all(), writer)..END {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let done = with_step(writer, step, |changes| store.write(changes));
                    // One call, so that lines stay whole.
                    done.and_then(|()| say(&format!("{writer} {step}\n"))).inspect_err(|_| {
                        // Relaxed: whoever sees it late writes once more.
                        over.store(true, Ordering::Relaxed);
                    })?;
                }
                Outcome::Ok(())
            };
            let writers: Vec<_> =
                (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
            let mut result = Ok(());
            while result.is_ok() && !over.load(Ordering::Relaxed) {
                result = say("checkpoint\n")
                    .and_then(|()| store.checkpoint())
                    .and_then(|()| say("done\n"));
            }
            over.store(true, Ordering::Relaxed);
            for writer in writers {
                writer.join().map_err(|_| "a writer panicked")??;
            }
            result
        })
    }
}

fn say(line: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())?;
    Ok(out.flush()?)
}

/// The key under which a writer counts its steps.
fn counter(writer: u8) -> [u8; 2] {
    [b'c', writer]
}

/// How many steps of a writer a state has.
fn steps(map: &Map, writer: u8) -> u64 {
    let bytes = map.get(&counter(writer)[..]).and_then(|value| value[..].try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

/// What a writer does in one step: it counts it, sets some of its keys and removes another.
fn with_step<T>(writer: u8, step: u64, f: impl FnOnce(&[Change<'_>]) -> T) -> T {
    let random = |n: u64| (step * 4 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let key = |n| [b'k', writer, (random(n) % 40) as u8];
    let (set, other, gone, next) = (key(0), key(1), key(2), (step + 1).to_le_bytes());
    let value = step.to_le_bytes().repeat((random(3) % 40) as usize);
    f(&[
        (&set, Some(&value)),
        (&gone, None),
        (&other, Some(&next)),
        (&counter(writer), Some(&next)),
    ])
}

/// What is left of a writer's keys after so many steps, by a map and nothing else.
fn advance(model: &mut Map, writer: u8, steps: std::ops::Range<u64>) {
    for step in steps {
        with_step(writer, step, |changes| {
            for &(key, value) in changes {
                match value {
                    Some(value) => model.insert(key.to_vec(), value.to_vec()),
                    None => model.remove(key),
                };
            }
        });
    }
}

/// Has a process live in `dir` and kills it: at some moment, or `within` so many checkpoints, in
/// the last of them. Returns the lines that it has printed.
fn kill(dir: &Path, pause: Duration, within: u32) -> Result<Vec<String>, Failed> {
    let mut command = process::itself();
    let mut child = command.env(DIR, dir).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (send, begun) = std::sync::mpsc::channel();
    let out = child.stdout.take().ok_or("no output")?;
    let reader = thread::spawn({
        let lines = Arc::clone(&lines);
        move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if line == "checkpoint" {
                    // Nobody listens any more once it is to be killed.
                    let _ = send.send(());
                }
                if let Ok(mut lines) = lines.lock() {
                    lines.push(line);
                }
            }
        }
    });
    // The first checkpoint begins when the store is open.
    let waited = (0..within.max(1)).try_for_each(|_| begun.recv_timeout(PATIENCE));
    let unfinished = dir.join("checkpoint.unfinished");
    let began = Instant::now();
    while within > 0 && !unfinished.exists() && began.elapsed() < PATIENCE {
        thread::yield_now();
    }
    thread::sleep(pause);
    let early = child.try_wait()?;
    child.kill()?;
    child.wait()?;
    drop(begun);
    reader.join().map_err(|_| "the reader panicked")?;
    waited.map_err(|_| "no checkpoint begins")?;
    if let Some(status) = early {
        return Err(format!("it ended by itself: {status}").into());
    }
    let lines = std::mem::take(&mut *lines.lock().map_err(|_| "the reader panicked")?);
    Ok(lines)
}

pub(crate) fn killed() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let mut random = process::seed() | 1;
    let (mut model, mut acknowledged) = (Map::new(), [0; WRITERS as usize]);
    let (mut unfinished, rounds) = (0, rounds(20));
    for round in 0..rounds {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let micros = random >> 33;
        let within = round % 4;
        let pause = micros % if within > 0 { 1_000 } else { 60_000 };
        let lines = kill(dir.path(), Duration::from_micros(pause), within)?;
        for line in &lines {
            let Some((writer, step)) = line.split_once(' ') else { continue };
            let (writer, step) = (writer.parse::<usize>()?, step.parse::<u64>()?);
            acknowledged[writer] = step + 1;
            count("kv: acknowledged", 1);
        }
        let left = dir.path().join("checkpoint.unfinished");
        unfinished += u32::from(left.exists());
        // Once more by this process, half of the time: recovery comes after recovery.
        let store = Store::open(dir.path(), small())?;
        let found = store.all();
        for writer in 0..WRITERS {
            let (done, known) = (steps(&found, writer), &mut acknowledged[usize::from(writer)]);
            // Of each writer one step may be there that nobody was told of.
            assert!((*known..=*known + 1).contains(&done), "round {round}: {done} of {known}");
            *known = done;
            let before = steps(&model, writer);
            advance(&mut model, writer, before..done);
        }
        assert!(found == model, "round {round}: a state that never was");
        if round % 2 == 0 {
            store.checkpoint()?;
        }
        drop(store);
        // What the next process makes is told from what this one has left.
        if left.exists() {
            std::fs::remove_file(left)?;
        }
    }
    count("kv: kills", rounds.into());
    count("kv: kills within a checkpoint that left a file", unfinished.into());
    assert!(acknowledged.iter().all(|&steps| steps > 0) && model.len() > 40);
    assert!(unfinished > 0, "no kill has hit a checkpoint");
    Ok(())
}

pub(crate) fn refused() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path(), small())?;
    for n in 0..2000_u32 {
        store.put(&(n % 50).to_le_bytes(), &[n as u8; 100])?;
    }
    store.checkpoint()?;
    store.put(b"behind", b"it")?;
    store.delete(&7_u32.to_le_bytes())?;
    let start = store.wal.start_lsn();
    assert!(start.get() > 0, "a checkpoint frees the log");
    let expected = store.all();
    drop(store);
    assert!(Store::open(dir.path(), small())?.all() == expected);
    let path = dir.path().join("checkpoint");
    let bytes = std::fs::read(&path)?;
    let refusal = || match Store::open(dir.path(), small()) {
        Ok(_) => Err(Failed::from("opened")),
        Err(error) => Ok(error.to_string()),
    };
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, damaged)?;
        assert!(refusal()?.contains("damaged"), "{at}");
    }
    std::fs::write(&path, &bytes[..bytes.len() - 5])?;
    assert!(refusal()?.contains("damaged"));
    // Without its checkpoint, a log that was truncated is not all.
    std::fs::remove_file(&path)?;
    assert!(refusal()?.contains("is gone"));
    std::fs::write(&path, &bytes)?;
    std::fs::rename(dir.path().join("log"), dir.path().join("elsewhere"))?;
    assert!(refusal()?.contains("the log ends before the checkpoint"));
    Ok(())
}
