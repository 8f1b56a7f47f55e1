//! Has calls of the system fail in a running process, under the backend as it is shipped.
//!
//! A child opens a log, many threads append and wait, and then a call fails: from some moment on
//! for good, by a filter of the kernel, or once, by a tracer. The child says what it was told, its
//! parent recovers the log and holds it against that.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
#[path = "process/seccomp.rs"]
mod seccomp;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("skipped: failing calls: only Linux filters calls");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};
    use std::process::{Command, ExitCode};
    use std::sync::{OnceLock, mpsc};
    use std::time::{Duration, Instant};

    use libtest_mimic::{Completion, Failed, Trial};
    use wal_core::sink::SinkOp;
    use wal_core::testing::kill::{Ledger, Shape, Writers};
    use wal_core::{Error, Lsn, Options, RecoveryReport, SinkError};
    use wal_io_std::{FileOptions, Preparation, Wal};

    use crate::process;
    use crate::seccomp::{self, Call, call};

    const DIR: &str = "WAL_FAILING_DIR";
    const CASE: &str = "WAL_FAILING_CASE";

    /// The child's way to say that the kernel refuses what the test needs.
    const REFUSED: u8 = 77;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    /// When a call begins to fail: a moment of work, when it was acknowledged so often...
    const AT: u64 = 40;
    /// ...and when the log is closed, if that harms nobody.
    const END: u64 = 160;

    /// ...or if nobody was ever told.
    const NEVER: u64 = 5000;

    /// One failure.
    #[derive(Clone, Copy)]
    struct Case {
        name: &'static str,
        how: How,
        file_size: u64,
        expected: Expected,
    }

    /// How calls come to fail.
    #[derive(Clone, Copy)]
    enum How {
        /// For good, from the moment that `AT` says.
        From(&'static [Call], i32),
        /// For good, before the log is opened.
        Before(&'static [Call], i32),
        /// Now and then, as an option of `strace` says; counted in each thread by itself.
        Once(&'static str, i32),
    }

    /// What the log has to make of it.
    #[derive(Clone, Copy)]
    enum Expected {
        /// It is poisoned by a failure of this operation.
        Poisoned(SinkOp),
        /// Its callers are told of a failure of this operation, or that there is no space; it can
        /// be repeated.
        Refused(SinkOp),
        /// Nobody notices.
        Harmless,
        /// Only readers notice.
        Unreadable,
    }
    use Expected::{Harmless, Poisoned, Refused, Unreadable};

    const FDATASYNC: &[Call] = &[call(libc::SYS_fdatasync)];
    const FSYNC: &[Call] = &[call(libc::SYS_fsync)];
    const WRITE: &[Call] = &[call(libc::SYS_pwritev)];
    const READ: &[Call] = &[call(libc::SYS_pread64)];
    const ALLOCATE: &[Call] = &[call(libc::SYS_fallocate)];
    const LIST: &[Call] = &[call(libc::SYS_getdents64)];
    const LOCK: &[Call] = &[call(libc::SYS_flock)];
    #[cfg(target_arch = "x86_64")]
    const RENAME: &[Call] = &[call(libc::SYS_rename), call(libc::SYS_renameat2)];
    #[cfg(not(target_arch = "x86_64"))]
    const RENAME: &[Call] = &[call(libc::SYS_renameat), call(libc::SYS_renameat2)];
    #[cfg(target_arch = "x86_64")]
    const REMOVE: &[Call] = &[call(libc::SYS_unlink), call(libc::SYS_unlinkat)];
    #[cfg(not(target_arch = "x86_64"))]
    const REMOVE: &[Call] = &[call(libc::SYS_unlinkat)];
    /// Only where a file may be made.
    const MAKE: &[Call] =
        &[Call { number: libc::SYS_openat, only: Some((2, libc::O_CREAT as u64)) }];

    /// Where it is to be a commit or a read that fails, files are not made all the time.
    const fn size_for(expected: Expected) -> u64 {
        match expected {
            Poisoned(_) | Unreadable => 8 * MIB,
            Refused(_) | Harmless => 64 * KIB,
        }
    }

    const fn from(name: &'static str, calls: &'static [Call], errno: i32, to: Expected) -> Case {
        Case { name, how: How::From(calls, errno), file_size: size_for(to), expected: to }
    }

    const fn before(name: &'static str, calls: &'static [Call], errno: i32, op: SinkOp) -> Case {
        let expected = Refused(op);
        Case { name, how: How::Before(calls, errno), file_size: 64 * KIB, expected }
    }

    const fn once(name: &'static str, inject: &'static str, errno: i32, to: Expected) -> Case {
        Case { name, how: How::Once(inject, errno), file_size: size_for(to), expected: to }
    }

    const CASES: &[Case] = &[
        from("sync_eio", FDATASYNC, libc::EIO, Poisoned(SinkOp::Sync)),
        from("sync_enospc", FDATASYNC, libc::ENOSPC, Poisoned(SinkOp::Sync)),
        from("sync_edquot", FDATASYNC, libc::EDQUOT, Poisoned(SinkOp::Sync)),
        from("write_eio", WRITE, libc::EIO, Poisoned(SinkOp::Write)),
        from("write_enospc", WRITE, libc::ENOSPC, Poisoned(SinkOp::Write)),
        from("allocate_enospc", ALLOCATE, libc::ENOSPC, Refused(SinkOp::Create)),
        from("allocate_edquot", ALLOCATE, libc::EDQUOT, Refused(SinkOp::Create)),
        from("allocate_eio", ALLOCATE, libc::EIO, Refused(SinkOp::Create)),
        from("allocate_unsupported", ALLOCATE, libc::EOPNOTSUPP, Harmless),
        from("rename_eio", RENAME, libc::EIO, Refused(SinkOp::Create)),
        from("sync_of_the_directory_eio", FSYNC, libc::EIO, Refused(SinkOp::Create)),
        from("too_many_open_files", MAKE, libc::EMFILE, Refused(SinkOp::Create)),
        from("remove_eio", REMOVE, libc::EIO, Refused(SinkOp::Create)),
        from("read_eio", READ, libc::EIO, Unreadable),
        before("opening::sync_eio", FDATASYNC, libc::EIO, SinkOp::Sync),
        before("opening::sync_of_the_directory_eio", FSYNC, libc::EIO, SinkOp::Open),
        before("opening::lock_enolck", LOCK, libc::ENOLCK, SinkOp::Lock),
        before("opening::lock_emfile", MAKE, libc::EMFILE, SinkOp::Lock),
        before("opening::list_eio", LIST, libc::EIO, SinkOp::List),
        before("opening::read_eio", READ, libc::EIO, SinkOp::Read),
        before("opening::write_eio", WRITE, libc::EIO, SinkOp::Create),
        before("opening::rename_eio", RENAME, libc::EIO, SinkOp::Create),
        once("once::sync_eio", "fdatasync:error=EIO:when=6", libc::EIO, Poisoned(SinkOp::Sync)),
        // Behind the 128 that fill a file.
        once("once::write_eio", "pwritev:error=EIO:when=134", libc::EIO, Poisoned(SinkOp::Write)),
        // Those of opening come first, in the thread that opens. Again and again, since whoever
        // needs no new file at that moment is not told.
        once("once::directory_eio", "fsync:error=EIO:when=4+4", libc::EIO, Refused(SinkOp::Create)),
        once("once::sync_eintr", "fdatasync:error=EINTR:when=2+3", libc::EINTR, Harmless),
        once("once::write_eintr", "pwritev:error=EINTR:when=2+3", libc::EINTR, Harmless),
        // The first ones are the loader's.
        once("once::read_eintr", "pread64:error=EINTR:when=20+3", libc::EINTR, Harmless),
    ];

    pub(crate) fn main() -> ExitCode {
        if let Some(name) = std::env::var_os(CASE) {
            let case = CASES.iter().find(|case| *case.name == *name).unwrap();
            return case.child(&PathBuf::from(std::env::var_os(DIR).unwrap()));
        }
        let trial = |case: &'static Case| Trial::ignorable_test(case.name, || case.run());
        process::run(CASES.iter().map(trial).collect())
    }

    impl Case {
        fn open(&self, dir: &Path) -> Result<(Wal, RecoveryReport), Error> {
            let options = Options::default().segment_size(8 << 10).segments(4);
            let options = options.file_size(self.file_size).max_record_len(1 << 20);
            // One thread for all jobs: the tracer counts in each thread by itself.
            let (jobs, queue) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
            std::thread::spawn(move || queue.into_iter().for_each(|job| job()));
            let options = options.executor(move |job| drop(jobs.send(job)));
            let preparation = match (self.how, self.expected) {
                // The helper is another thread each time.
                (How::Once(..), Refused(_)) => Preparation::Inline,
                // A file that was made ahead would be there to be used.
                (How::Before(..), _) => Preparation::Inline,
                _ => Preparation::Thread,
            };
            wal_io_std::open_with(dir, options, &FileOptions::default().preparation(preparation))
        }

        const fn errno(&self) -> i32 {
            match self.how {
                How::From(_, errno) | How::Before(_, errno) | How::Once(_, errno) => errno,
            }
        }

        /// The parent: runs the child, and looks at what it left.
        fn run(&self) -> Result<Completion, Failed> {
            let home = tempfile::Builder::new().prefix("wal-failing-").tempdir()?;
            let dir = home.path().join("log");
            let shape = Shape {
                seed: process::seed(),
                first_writer: 0,
                writers: 6,
                segment_size: 8 * KIB,
                file_size: 64 * KIB,
                truncates: false,
            };
            let mut command = process::itself();
            if let How::Once(inject, _) = self.how {
                if let Err(why) = tracer() {
                    return Ok(process::skipped(self.name, why));
                }
                command = Command::new("strace");
                let call = inject.split(':').next().unwrap_or_default();
                command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
                command.args(["-e", &format!("inject={inject}")]);
                command.arg(std::env::current_exe()?);
            }
            let earlier = match self.how {
                How::Before(..) => Some(self.earlier(&dir)?),
                _ => None,
            };
            shape.pass(command.env(CASE, self.name).env(DIR, &dir));
            let mut ledger = Ledger::new();
            ledger.begin(shape);
            ledger.tolerate(LATE);
            let output = process::watch(&mut command, |line| ledger.note(line))?;
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.code() == Some(i32::from(REFUSED)) {
                return Ok(process::skipped(self.name, said.trim()));
            }
            if !output.status.success() {
                return Err(format!("seed {}: {}: {said}", shape.seed, output.status).into());
            }
            if let Some(earlier) = earlier {
                let now = contents(&dir)?;
                let kept = earlier.iter().all(|(name, bytes)| now.get(name) == Some(bytes));
                if !kept || now.len() != earlier.len() {
                    return Err(format!("a failed opening leaves {:?}", now.keys()).into());
                }
                process::count("openings failed on purpose", 1);
                let (_, report) = self.open(&dir)?;
                let whole = report.records == EARLIER && report.cut.is_none();
                return if whole { Ok(Completion::Completed) } else { Err(report.into()) };
            }
            let least = if matches!(self.how, How::Once(..)) { 1 } else { AT };
            if ledger.acknowledgements() < least {
                return Err("too little happened to show anything".into());
            }
            let (wal, report) = self.open(&dir)?;
            ledger
                .settle(&wal, &report)
                .map_err(|wrong| format!("seed {}: {wrong}", shape.seed))?;
            process::count("calls failed on purpose", 1);
            Ok(Completion::Completed)
        }

        /// A log that is there already, not closed, and its files.
        fn earlier(&self, dir: &Path) -> Result<BTreeMap<OsString, Vec<u8>>, Failed> {
            let (wal, _) = self.open(dir)?;
            for _ in 0..EARLIER {
                wal.append(&[7; 5000])?;
            }
            wal.sync()?;
            drop(wal);
            Ok(contents(dir)?)
        }

        fn child(&self, dir: &Path) -> ExitCode {
            let shape = Shape::passed().unwrap();
            if let How::Before(calls, errno) = self.how {
                if let Err(why) = seccomp::fail(calls, errno) {
                    eprintln!("the kernel refuses a filter: {why}");
                    return REFUSED.into();
                }
                let Err(error) = self.open(dir).map(drop) else { panic!("it opens") };
                self.assert_cause(&error, dir);
                return ExitCode::SUCCESS;
            }
            let (wal, _) = self.open(dir).unwrap();
            let began: OnceLock<Instant> = OnceLock::new();
            // Appended when the call fails already: nothing can have made it durable.
            let late: OnceLock<Option<Lsn>> = OnceLock::new();
            let refused: OnceLock<String> = OnceLock::new();
            let errors = Writers::new(shape).run(&wal, &|count| {
                if let (AT, How::From(calls, errno)) = (count, self.how) {
                    if let Err(why) = seccomp::fail(calls, errno) {
                        let _ = refused.set(why);
                        wal.clone().close().unwrap();
                        return;
                    }
                    began.set(Instant::now()).unwrap();
                    late.set(wal.try_append(LATE).ok().map(|a| a.lsn)).unwrap();
                }
                let harmless = matches!(self.expected, Harmless | Unreadable);
                if count == if harmless { END } else { NEVER } {
                    // A writer that is refused for another reason than this has found the fault.
                    let _ = wal.clone().close();
                }
            });
            if let Some(why) = refused.get() {
                eprintln!("the kernel refuses a filter: {why}");
                return REFUSED.into();
            }
            assert_eq!(errors.len(), shape.writers as usize);
            if let Some(began) = began.get() {
                let took = began.elapsed();
                assert!(took < Duration::from_secs(20), "waiters were told after {took:?}");
            }
            let late = late.get().copied().flatten();
            match self.expected {
                Poisoned(_) => self.poisoned(&wal, dir, &errors, late),
                Refused(_) => self.refused(&wal, dir, &errors),
                Harmless => {
                    assert!(
                        errors.iter().all(|error| matches!(error, Error::Closed)),
                        "{errors:?}"
                    );
                    assert!(read_all(&wal).unwrap() > 0);
                }
                Unreadable => {
                    assert!(
                        errors.iter().all(|error| matches!(error, Error::Closed)),
                        "{errors:?}"
                    );
                    self.assert_cause(&read_all(&wal).unwrap_err(), dir);
                }
            }
            ExitCode::SUCCESS
        }

        /// All were told the same, nothing more is acknowledged, and reading goes on.
        fn poisoned(&self, wal: &Wal, dir: &Path, errors: &[Error], late: Option<Lsn>) {
            let text = errors[0].to_string();
            for error in errors {
                assert!(error.is_fatal() && matches!(error, Error::Poisoned { .. }), "{error}");
                assert_eq!(error.to_string(), text, "they are told different causes");
                self.assert_cause(error, dir);
            }
            let durable = wal.durable_lsn();
            if let Some(late) = late {
                assert!(durable <= late, "durable up to {durable}, though {late} cannot be");
                assert!(wal.wait_durable(late).is_err());
            }
            // Whatever the system says by now.
            for _ in 0..3 {
                let calls = [
                    wal.append(LATE).map(drop),
                    wal.append_batch(&[LATE]).map(drop),
                    wal.append(&[0; 100_000]).map(drop),
                    wal.append_and_sync(LATE).map(drop),
                    wal.sync(),
                    wal.mark_durable(),
                    wal.clone().close().map(drop),
                ];
                for call in calls {
                    assert_eq!(call.unwrap_err().to_string(), text);
                }
            }
            assert_eq!(wal.durable_lsn(), durable);
            assert!(read_all(wal).unwrap() > 0, "what is durable can be read");
        }

        /// The log lives: it can be read, and asked again.
        fn refused(&self, wal: &Wal, dir: &Path, errors: &[Error]) {
            for error in errors {
                assert!(!error.is_fatal(), "{error}");
                self.assert_cause(error, dir);
            }
            assert!(read_all(wal).unwrap() > 0);
            let all = wal.next_lsn();
            if matches!(self.how, How::Once(..)) {
                // This thread has its share of failures, too, but no two in a row.
                let late = wal.append(LATE).or_else(|_| wal.append(LATE)).unwrap();
                wal.wait_durable(late.lsn).or_else(|_| wal.wait_durable(late.lsn)).unwrap();
                assert!(wal.durable_lsn() >= all, "{} of {all}", wal.durable_lsn());
            } else {
                self.assert_cause(&wal.sync().unwrap_err(), dir);
                assert!(wal.durable_lsn() < all);
                self.assert_cause(&wal.clone().close().unwrap_err(), dir);
            }
        }

        /// It is typed, and says what failed, where, and why.
        fn assert_cause(&self, error: &Error, dir: &Path) {
            let cause: &SinkError = match error {
                Error::Poisoned { first } => first,
                Error::NoSpace { source } | Error::Sink(source) => source,
                _ => panic!("{error}"),
            };
            let op = match self.expected {
                Poisoned(op) | Refused(op) => op,
                Harmless | Unreadable => SinkOp::Read,
            };
            assert_eq!(cause.op, op, "{error}");
            assert_eq!(cause.source.raw_os_error(), Some(self.errno()), "{error}");
            let full = [libc::ENOSPC, libc::EDQUOT].contains(&self.errno());
            assert_eq!(error.is_no_space(), full, "{error}");
            assert_eq!(
                error.is_retryable(),
                full && matches!(self.expected, Refused(_)),
                "{error}"
            );
            let path = cause.path.as_ref().unwrap();
            assert!(path.starts_with(dir), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
    }

    /// Appended beside the writers.
    const LATE: &[u8] = b"appended when the call fails already";

    /// Records of a log that is opened while calls fail.
    const EARLIER: u64 = 30;

    fn read_all(wal: &Wal) -> Result<usize, Error> {
        let mut records = 0;
        for record in wal.iter_from(wal.start_lsn())? {
            record?;
            records += 1;
        }
        Ok(records)
    }

    fn contents(dir: &Path) -> std::io::Result<BTreeMap<OsString, Vec<u8>>> {
        let entries = std::fs::read_dir(dir)?;
        entries
            .map(|entry| entry.and_then(|e| Ok((e.file_name(), std::fs::read(e.path())?))))
            .collect()
    }

    /// Whether a tracer can be used, and why not.
    fn tracer() -> Result<(), &'static str> {
        static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
        let found = FOUND.get_or_init(|| {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"]);
            match strace.output() {
                Ok(output) if output.status.success() => Ok(()),
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr);
                    Err(format!("strace is not allowed to trace: {}", said.trim()))
                }
                Err(error) => Err(format!("strace cannot be run: {error}")),
            }
        });
        found.as_ref().copied().map_err(String::as_str)
    }
}
