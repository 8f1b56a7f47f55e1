//! Running the tool, and the logs it is run on.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use wal_core::{Lsn, Options};

pub(crate) const SUCCESS: Option<i32> = Some(0);
pub(crate) const DAMAGE: Option<i32> = Some(1);
pub(crate) const TROUBLE: Option<i32> = Some(2);

/// A directory for a log and for what else a test needs.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Appends `input` through the tool.
    pub(crate) fn append(&self, args: &[&str], input: &[u8]) -> Output {
        run(wal("append").arg(self.log()).args(["--file-size", "1048576"]).args(args), input)
    }

    /// Runs a command that reads.
    pub(crate) fn read(&self, command: &str, args: &[&str]) -> Output {
        run(wal(command).arg(self.log()).args(args), b"")
    }

    pub(crate) fn json(&self, command: &str) -> Value {
        serde_json::from_slice(&self.read(command, &["--json"]).stdout).unwrap()
    }

    /// Makes a log with three records in frames of their own, and drops it without closing it.
    /// They are synced, or only written. Returns the LSNs.
    pub(crate) fn unclosed(&self, synced: bool) -> Vec<Lsn> {
        let options = Options::default().segment_size(64 << 10).file_size(1 << 20);
        let (wal, _) = wal_io_std::open(self.log(), options).unwrap();
        let append = |payload: &[u8]| {
            let lsn = wal.append(payload).unwrap().lsn;
            if synced { wal.sync() } else { wal.flush() }.unwrap();
            lsn
        };
        [b"one".as_slice(), b"two", b"three"].map(append).to_vec()
    }

    /// Inverts the first payload byte of the record at `lsn` in the only log file, which begins
    /// with LSN 0.
    pub(crate) fn flip(&self, lsn: Lsn) {
        let path = self.log().join("00000000000000000001.wal");
        let mut bytes = fs::read(&path).unwrap();
        bytes[4096 + lsn.get() as usize + 8] ^= 1;
        fs::write(&path, bytes).unwrap();
    }

    /// Every name and byte in the log's directory.
    pub(crate) fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.log()).unwrap().map(|entry| entry.unwrap().path());
        let mut contents: Vec<_> =
            entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        contents.sort();
        contents
    }
}

pub(crate) fn wal(command: &str) -> Command {
    let mut wal = Command::new(env!("CARGO_BIN_EXE_wal"));
    wal.arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    wal
}

pub(crate) fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // It may stop before it has read everything.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
pub(crate) fn assert_code(output: &Output, code: Option<i32>) {
    assert_eq!(output.status.code(), code, "{output:?}");
}

pub(crate) fn framed(records: &[&[u8]]) -> Vec<u8> {
    let frame = |record: &&[u8]| [&(record.len() as u32).to_le_bytes(), *record].concat();
    records.iter().flat_map(frame).collect()
}

/// An `append --ack` that is fed line by line.
pub(crate) fn interactive(place: &Place) -> Child {
    let mut command = wal("append");
    command.arg(place.log()).args(["--ack", "--file-size", "1048576"]).spawn().unwrap()
}

/// Lines as they come, so that a test can fail instead of waiting for one that never does.
pub(crate) fn lines_of(stdout: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let _ = send.send(line.unwrap());
        }
    });
    receive
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
