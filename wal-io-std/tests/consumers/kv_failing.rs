//! A disk that refuses to sync: a checkpoint of which nobody knows whether it is durable must not take
//! the place of one that is, nor the log go for its sake.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Completion, Failed};

use super::example::{Outcome, Store};
use super::small;
use crate::process;
use crate::seccomp::{self, call};

const DIR: &str = "WAL_KV_FAILING_DIR";

/// The process's way to say that the kernel refuses what the test needs.
const REFUSED: u8 = 77;

pub(crate) fn of_env() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// The process in which files cannot be synced any more; the log's own commits use another call.
pub(crate) fn live(dir: &Path) -> ExitCode {
    match run(dir) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => REFUSED.into(),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn put(store: &Store, value: u8) -> Outcome<()> {
    (0..400_u32).try_for_each(|n| store.put(&(n % 50).to_le_bytes(), &[value; 200]))
}

fn run(dir: &Path) -> Outcome<bool> {
    let store = Store::open(dir, small())?;
    put(&store, 1)?;
    store.checkpoint()?;
    put(&store, 2)?;
    let state = || Outcome::Ok((fs::read(dir.join("checkpoint"))?, store.wal.start_lsn()));
    let before = state()?;
    if let Err(why) = seccomp::fail(&[call(libc::SYS_fsync)], libc::EIO) {
        eprintln!("{why}");
        return Ok(false);
    }
    if store.checkpoint().is_ok() {
        return Err("a checkpoint that was not synced is called done".into());
    }
    if state()? != before {
        return Err("a checkpoint that was not synced has replaced one that was".into());
    }
    Ok(true)
}

pub(crate) fn unsynced() -> Result<Completion, Failed> {
    let dir = tempfile::tempdir()?;
    let output = process::watch(process::itself().env(DIR, dir.path()), |_| Ok(()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(REFUSED.into()) {
        return Ok(process::skipped("a disk that refuses to sync", said.trim()));
    }
    if !output.status.success() {
        return Err(format!("{}: {said}", output.status).into());
    }
    let store = Store::open(dir.path(), small())?;
    let values = store.all();
    assert!(values.len() == 50 && values.values().all(|value| value[..] == [2; 200]));
    Ok(Completion::Completed)
}
