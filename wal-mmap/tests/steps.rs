//! Stops a process that commits at every single instruction, and recovers what it would have left,
//! had it died there.
//!
//! The process is traced, one step at a time; its stores into the mapping are in the files at once,
//! as they are for its death. Recovery is as strict as can be: it may come upon nothing that it
//! would have to doubt.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(unsafe_code, reason = "tracing is done by calls of the system")]

#[cfg(target_os = "linux")]
#[path = "../../wal-io-std/tests/process/mod.rs"]
mod process;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("skipped: single steps: taken by means of Linux");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;
    use std::fs;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;
    use std::ptr::null_mut;

    use libtest_mimic::{Completion, Failed, Trial};
    use wal_core::recover::{self, ScanOptions};
    use wal_core::{AmbiguousTail, Durability, Options, Verdict};
    use wal_io_std::DirSource;
    use wal_mmap::{FileOptions, Preparation, Wal};

    use crate::process;

    const CASE: &str = "WAL_STEPS_CASE";
    const DIR: &str = "WAL_STEPS_DIR";
    /// The child's way to say that it may not be traced.
    const REFUSED: u8 = 77;

    /// Records before the steps begin, and what is done then.
    struct Case {
        name: &'static str,
        before: u64,
        len: usize,
    }

    /// Behind so many records, the log is truncated: files go round from then on.
    const TRUNCATED: u64 = 40;

    const CASES: [Case; 6] = [
        // The first segment of a log has memory of its own, which is copied into the file.
        Case { name: "a_segment_that_is_copied", before: 0, len: 100 },
        Case { name: "a_segment_in_its_place", before: 3, len: 100 },
        // Its own frame, behind the segment.
        Case { name: "a_large_record", before: 3, len: 9000 },
        // As many as a file has room for: the next one goes with the header of another.
        Case { name: "the_first_frame_of_a_file", before: 14, len: 100 },
        // Where frames of an earlier life begin at the very same places.
        Case { name: "a_segment_over_leftovers", before: 62, len: 100 },
        Case { name: "a_large_record_over_leftovers", before: 62, len: 9000 },
    ];

    pub(crate) fn main() -> ExitCode {
        if let Ok(name) = std::env::var(CASE) {
            let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
            return CASES.iter().find(|case| case.name == name).unwrap().child(&dir);
        }
        let trial = |case: &'static Case| Trial::ignorable_test(case.name, || case.run());
        process::run(CASES.iter().map(trial).collect())
    }

    fn options() -> Options {
        Options::default().segment_size(8192).segments(4).file_size(64 << 10)
    }

    impl Case {
        fn commit(&self, wal: &Wal) {
            wal.append_with(&vec![0x5a; self.len], Durability::ProcessCrash).unwrap();
        }

        fn child(&self, dir: &Path) -> ExitCode {
            let files = FileOptions::default().preparation(Preparation::Inline);
            let (wal, _) = wal_mmap::open_with(dir, options(), &files).unwrap();
            for number in 0..self.before {
                wal.append_with(&[0x5a; 100], Durability::ProcessCrash).unwrap();
                if number == TRUNCATED {
                    wal.sync().unwrap();
                    wal.truncate_before(wal.durable_lsn()).unwrap();
                }
            }
            // Whoever has waited once has all that waiting needs.
            wal.sync().unwrap();
            // SAFETY: has effects on who may stop this process only.
            let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, null_mut::<u8>(), 0) };
            if traced != 0 {
                eprintln!("may not be traced: {}", io::Error::last_os_error());
                return REFUSED.into();
            }
            stop();
            self.commit(&wal);
            stop();
            unreachable!("killed while it was stopped");
        }

        fn run(&self) -> Result<Completion, Failed> {
            let home = tempfile::Builder::new().prefix("wal-steps-").tempdir()?;
            let dir = home.path().join("log");
            let mut child = process::itself().env(CASE, self.name).env(DIR, &dir).spawn()?;
            let pid = child.id() as libc::pid_t;
            let status = wait(pid)?;
            if libc::WIFEXITED(status) {
                return Ok(process::skipped(self.name, "a process may not be traced"));
            }
            let mut watch = Watch { dir, files: BTreeMap::new(), changes: 0, recoveries: 0 };
            let before = Self::recover(&watch)?;
            let mut records = before;
            let mut steps = 0u64;
            let stepped = loop {
                if let Err(wrong) = Self::look(&mut watch, &mut records) {
                    break Err(format!("step {steps}: {wrong}"));
                }
                // SAFETY: the child is stopped, and is this thread's to trace.
                let stepped =
                    unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, pid, null_mut::<u8>(), 0) };
                if stepped != 0 {
                    break Err(io::Error::last_os_error().to_string());
                }
                let status = wait(pid)?;
                if !libc::WIFSTOPPED(status) {
                    break Err(format!("step {steps}: it ended: {status:#x}"));
                }
                if libc::WSTOPSIG(status) == libc::SIGSTOP {
                    break Ok(());
                }
                steps += 1;
            };
            child.kill()?;
            child.wait()?;
            stepped?;
            assert_eq!(records, before + 1, "the commit is not in the files");
            assert!(watch.recoveries > 3 && steps > 1000, "{steps} {}", watch.recoveries);
            process::count("single steps", steps);
            process::count("recoveries in between", watch.recoveries);
            Ok(Completion::Completed)
        }

        /// Recovers, if the last step has changed a file: nothing is missing, and at most the record
        /// under way has come.
        fn look(watch: &mut Watch, records: &mut u64) -> Result<(), String> {
            if watch.has_changed().map_err(|error| error.to_string())? {
                let now = Self::recover(watch)?;
                if now < *records || now > *records + 1 {
                    return Err(format!("{now} records, and there were {}", *records));
                }
                *records = now;
            }
            Ok(())
        }

        /// How many records there are, to the strictest of recoveries.
        fn recover(watch: &Watch) -> Result<u64, String> {
            let source = DirSource::open(&watch.dir).map_err(|error| error.to_string())?;
            let strict =
                ScanOptions { ambiguous_tail: AmbiguousTail::Refuse, ..ScanOptions::default() };
            let scan = recover::scan(&source, strict, &mut |_| {});
            let report = scan.map_err(|error| format!("refused: {error}"))?.report;
            if !matches!(report.verdict, Verdict::Clean | Verdict::Torn | Verdict::New) {
                return Err(report.to_string());
            }
            Ok(report.records)
        }
    }

    /// Stops this process until its tracer goes on.
    fn stop() {
        // SAFETY: sends a signal to the calling thread.
        unsafe { libc::raise(libc::SIGSTOP) };
    }

    fn wait(pid: libc::pid_t) -> io::Result<libc::c_int> {
        let mut status = 0;
        // SAFETY: `status` is written to during the call only.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        if waited == pid { Ok(status) } else { Err(io::Error::last_os_error()) }
    }

    /// The files as they were at the last look.
    struct Watch {
        dir: PathBuf,
        files: BTreeMap<PathBuf, Vec<u8>>,
        changes: u64,
        recoveries: u64,
    }

    impl Watch {
        /// Whether there is something to recover: a header has changed, or so much else.
        fn has_changed(&mut self) -> io::Result<bool> {
            let (mut header, mut any) = (false, false);
            for entry in fs::read_dir(&self.dir)? {
                let path = entry?.path();
                if path.extension().is_none_or(|extension| extension != "wal") {
                    continue;
                }
                let now = fs::read(&path)?;
                let last = self.files.entry(path).or_default();
                if *last == now {
                    continue;
                }
                any = true;
                // Frames begin at blocks here.
                let heads = now.chunks(4096).zip(last.chunks(4096));
                header |= last.len() != now.len()
                    || now[..4096] != last[..4096]
                    || heads.into_iter().any(|(now, last)| now[..64] != last[..64]);
                *last = now;
            }
            self.changes += u64::from(any);
            let look = header || any && self.changes.is_multiple_of(64);
            self.recoveries += u64::from(look);
            Ok(look)
        }
    }
}
