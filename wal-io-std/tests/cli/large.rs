//! A log of hundreds of megabytes of real bytes, through everything that the tool does.
//!
//! What is appended are the files of the Rust toolchain that runs this test: they are on any machine
//! where it runs, and have lines of every length, binary ones included. It takes under 20 seconds in a
//! debug build: each step reads or writes all of it once or twice, and the crates that do are
//! optimized in that profile.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::*;

/// Bytes that the log has at least.
const ENOUGH: u64 = 200 << 20;

/// Files of the toolchain, largest first, until there are enough bytes.
fn content() -> Vec<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().unwrap();
    let root = PathBuf::from(text(&output.stdout).trim());
    let mut found = Vec::new();
    let mut dirs = vec![root];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() {
                found.push((entry.metadata().unwrap().len(), entry.path()));
            }
        }
    }
    found.sort();
    let mut total = 0;
    let mut taken = Vec::new();
    while let Some((len, path)) = found.pop().filter(|_| total < ENOUGH) {
        total += len;
        taken.push(path);
    }
    assert!(total >= ENOUGH, "the toolchain has {total} bytes only");
    taken
}

/// Whether `wal cat DIR` gives the lines of `files`, each with a newline at its end.
fn holds(dir: &Path, files: &[PathBuf]) -> bool {
    let mut child = wal("cat").arg(dir).stdin(Stdio::null()).spawn().unwrap();
    let mut found = BufReader::with_capacity(1 << 20, child.stdout.take().unwrap());
    let same = files.iter().all(|path| begins_with(&mut found, path));
    let over = found.fill_buf().unwrap().is_empty();
    drop(found);
    child.wait().unwrap().success() && same && over
}

/// Whether what comes next is this file, with a newline at its end.
fn begins_with(found: &mut impl BufRead, path: &Path) -> bool {
    let mut expected = BufReader::with_capacity(1 << 20, File::open(path).unwrap());
    let mut last = b'\n';
    loop {
        let bytes = expected.fill_buf().unwrap();
        if bytes.is_empty() {
            break;
        }
        let got = found.fill_buf().unwrap();
        let len = bytes.len().min(got.len());
        if len == 0 || bytes[..len] != got[..len] {
            return false;
        }
        last = bytes[len - 1];
        expected.consume(len);
        found.consume(len);
    }
    let mut newline = [0];
    last == b'\n' || found.read_exact(&mut newline).is_ok() && newline == *b"\n"
}

fn object(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[test]
fn a_large_log_goes_through_everything() {
    let place = Place::new();
    let files = content();
    let log = place.log();

    // It grows under the eyes of somebody who reads along.
    assert_code(&run(wal("append").arg(&log), b""), SUCCESS);
    let mut tail = wal("tail").arg(&log).args(["-f", "--from", "0"]).spawn().unwrap();
    let follower = {
        let mut read = BufReader::with_capacity(1 << 20, tail.stdout.take().unwrap());
        let total: u64 = files.iter().map(|path| path.metadata().unwrap().len()).sum();
        std::thread::spawn(move || {
            // A newline is missing at the end of some files; so there are that many bytes at least.
            let mut seen = 0;
            while seen < total {
                let len = read.fill_buf().unwrap().len();
                assert!(len > 0, "tail ended after {seen} bytes");
                seen += len as u64;
                read.consume(len);
            }
        })
    };
    let appended = object(&run(wal("append").arg(&log).arg("--json").args(&files), b""));
    let records = appended["records"].as_u64().unwrap();
    assert!(appended["payload_bytes"].as_u64().unwrap() + records >= ENOUGH);
    follower.join().unwrap();
    let _ = tail.kill();
    let _ = tail.wait();
    assert!(holds(&log, &files), "it does not come back byte for byte");

    // Out and in again.
    let export = place.dir.path().join("log.walx");
    let told = place.read("export", &["--json", "-o", export.to_str().unwrap()]);
    assert_eq!(object(&told)["records"], records);
    let new = place.dir.path().join("new");
    let told = run(wal("import").arg(&new).arg("--json").arg(&export), b"");
    assert_eq!(object(&told)["records"], records);
    fs::remove_file(&export).unwrap();
    assert!(holds(&new, &files), "it does not survive an export");
    fs::remove_dir_all(&new).unwrap();

    // One bit in the middle.
    let stat = place.json("stat");
    let used = stat["files"].as_array().unwrap().iter().filter(|file| file["base"].is_u64());
    let used: Vec<&Value> = used.collect();
    let file = used[used.len() / 2];
    let path = PathBuf::from(file["path"].as_str().unwrap());
    let offset = file["bytes"].as_u64().unwrap() / 2;
    flip(&path, offset);
    let verdict = place.read("verify", &["--json"]);
    assert_code(&verdict, DAMAGE);
    let corruption = &object(&verdict)["corruptions"][0];
    assert_eq!(corruption["path"], file["path"]);
    let at = corruption["offset"].as_u64().unwrap();
    let lsn = &corruption["lsn"];
    let inspected = place.read("inspect", &["--at", &lsn.to_string(), "--json"]);
    assert_code(&inspected, DAMAGE);
    let shown = object(&inspected);
    let record = shown["records"].as_array().unwrap().iter().find(|record| record["lsn"] == *lsn);
    let record = record.unwrap();
    assert_eq!(record["fault"], "the checksum is wrong");
    let len = record["length"].as_u64().unwrap();
    assert!(at <= offset && offset < at + len + 16, "{record}, flipped at {offset}");

    // All that is intact is saved.
    let told = object(&place.read("repair", &["--json", "--to", new.to_str().unwrap()]));
    let saved = told["records"].as_u64().unwrap();
    assert!(saved < records && saved > records * 9 / 10, "{saved} of {records}");
    assert_eq!(told["lost"][0]["lsn"], corruption["lsn"]);
    assert_code(&run(wal("verify").arg(&new), b""), SUCCESS);
    fs::remove_dir_all(&new).unwrap();

    // With the bit set right, nothing was ever wrong; and what is old can go.
    flip(&path, offset);
    let middle = used[used.len() / 2]["base"].to_string();
    let freed = object(&place.read("truncate", &["--json", "--before", &middle]));
    assert!(freed["bytes_freed"].as_u64().unwrap() >= ENOUGH / 4, "{freed}");
    assert!(!Path::new(used[0]["path"].as_str().unwrap()).exists());
    assert_eq!(freed["start"].to_string(), middle);
    assert_code(&place.read("verify", &[]), SUCCESS);
}

/// Inverts a bit.
fn flip(path: &Path, offset: u64) {
    use std::os::unix::fs::FileExt;
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 4], offset).unwrap();
}
