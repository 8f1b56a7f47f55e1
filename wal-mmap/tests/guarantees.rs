//! What each durability level takes of the system, and that nothing but somebody else's cutting a
//! file ends the process: shown with filters of the kernel and with small disks.
//!
//! The process that is filtered, starved or killed is a child; what it was told, it stores where its
//! parent can see it without a call.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[cfg(target_os = "linux")]
#[path = "../../wal-io-std/tests/process/namespace.rs"]
#[allow(dead_code, reason = "each test target uses a part of this")]
mod namespace;
#[cfg(target_os = "linux")]
#[path = "../../wal-io-std/tests/process/mod.rs"]
mod process;
#[cfg(target_os = "linux")]
#[path = "../../wal-io-std/tests/process/seccomp.rs"]
mod seccomp;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("skipped: guarantees: shown by means of Linux");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::process::ExitStatusExt;
    use std::path::{Path, PathBuf};
    use std::process::{Child, ExitCode};
    use std::sync::Mutex;
    use std::thread;
    use std::time::{Duration, Instant};

    use libtest_mimic::{Completion, Failed, Trial};
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};
    use wal_core::sink::SinkOp;
    use wal_core::{AmbiguousTail, Durability, Error, Options, RecoveryReport, Verdict};
    use wal_mmap::{FileOptions, Preparation, Wal};

    use crate::{namespace, process, seccomp};

    const CASE: &str = "WAL_GUARANTEES_CASE";
    const DIR: &str = "WAL_GUARANTEES_DIR";
    /// The child's way to say that the kernel refuses what the test needs.
    const REFUSED: u8 = 77;

    /// Commits that a file has room for, each in a block of its own, and that are made.
    const FILE: u64 = 64 << 20;
    const COMMITS: u64 = 5000;

    /// What a child does in a directory.
    type Scenario = fn(&Path);
    const CHILDREN: &[(&str, Scenario)] = &[
        ("process", |dir| commit_without_calls(dir, Durability::ProcessCrash)),
        ("power", |dir| commit_without_calls(dir, Durability::PowerLoss)),
        ("flush", flush_fails),
        ("full", full_disk),
        ("holes", holes_on_a_full_disk),
        ("cut", cut_underneath),
    ];

    pub(crate) fn main() -> ExitCode {
        if let Ok(name) = std::env::var(CASE) {
            let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
            let (_, scenario) = CHILDREN.iter().find(|(case, _)| *case == name).unwrap();
            scenario(&dir);
            return ExitCode::SUCCESS;
        }
        process::run(vec![
            Trial::ignorable_test("a_commit_that_outlives_the_process_makes_no_call", no_call),
            Trial::ignorable_test("a_commit_that_outlives_the_machine_makes_one", a_call),
            Trial::test("a_group_is_one_flush_of_what_was_written", one_flush),
            Trial::ignorable_test("a_failed_flush_poisons", || child("flush")),
            Trial::ignorable_test("a_full_disk_is_an_error_and_no_signal", || on_a_disk("full")),
            Trial::ignorable_test("holes_are_filled_or_refused", || on_a_disk("holes")),
            Trial::test("a_file_that_is_cut_underneath_ends_the_process", cut),
        ])
    }

    /// Files are made in the call that needs them: a helper would be filtered, too.
    fn open(dir: &Path, file_size: u64) -> Result<(Wal, RecoveryReport), Error> {
        let options = Options::default().segment_size(64 << 10).segments(4).file_size(file_size);
        let options = options.ambiguous_tail(AmbiguousTail::Refuse);
        let files = FileOptions::default().preparation(Preparation::Inline);
        wal_mmap::open_with(dir, options, &files)
    }

    fn payload(number: u64) -> [u8; 100] {
        let mut payload = [number as u8; 100];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        payload
    }

    /// How many records there are, the first ones in their order.
    fn recovered(wal: &Wal) -> u64 {
        let mut count = 0;
        for record in wal.iter_from(wal.start_lsn()).unwrap() {
            assert_eq!(record.unwrap().payload, payload(count), "record {count}");
            count += 1;
        }
        count
    }

    fn spawn(name: &str, dir: &Path) -> std::io::Result<Child> {
        process::itself().env(CASE, name).env(DIR, dir).spawn()
    }

    fn child(name: &str) -> Result<Completion, Failed> {
        let home = tempfile::Builder::new().prefix("wal-guarantees-").tempdir()?;
        let mut command = process::itself();
        finish(name, command.env(CASE, name).env(DIR, home.path().join("log")))
    }

    fn on_a_disk(name: &str) -> Result<Completion, Failed> {
        let mut command = match namespace::command() {
            Ok(command) => command,
            Err(why) => return Ok(process::skipped(name, &why)),
        };
        let home = tempfile::Builder::new().prefix("wal-guarantees-").tempdir()?;
        finish(name, command.env(CASE, name).env(DIR, home.path()))
    }

    fn finish(name: &str, command: &mut std::process::Command) -> Result<Completion, Failed> {
        let output = process::watch(command, |_| Ok(()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(REFUSED.into()) {
            return Ok(process::skipped(name, said.trim()));
        }
        if output.status.success() {
            return Ok(Completion::Completed);
        }
        Err(format!("{}: {said}", output.status).into())
    }

    /// A number in a file that parent and child have mapped: storing it takes no call.
    struct Counter(memmap2::MmapRaw);

    impl Counter {
        fn new(dir: &Path) -> Self {
            let mut options = fs::OpenOptions::new();
            let path = dir.with_extension("count");
            let file = options.read(true).write(true).create(true).truncate(false).open(path);
            let file = file.unwrap();
            file.set_len(4096).unwrap();
            Self(memmap2::MmapRaw::map_raw(&file).unwrap())
        }

        #[allow(unsafe_code, reason = "mapped memory is reached through a pointer")]
        fn get(&self) -> &std::sync::atomic::AtomicU64 {
            // SAFETY: the start of a page that stays mapped as long as `self`, and that both
            // processes access by atomic operations only.
            unsafe { std::sync::atomic::AtomicU64::from_ptr(self.0.as_mut_ptr().cast()) }
        }
    }

    /// Any call of the system ends the process, from now on.
    fn forbid_calls() {
        let kill = SeccompAction::KillProcess;
        let arch = std::env::consts::ARCH.try_into().unwrap();
        // Of those that it names, there is none; the rest are all.
        let one = BTreeMap::from([(libc::SYS_restart_syscall, Vec::new())]);
        let filter = SeccompFilter::new(one, kill, SeccompAction::Allow, arch).unwrap();
        let program: BpfProgram = filter.try_into().unwrap();
        if let Err(error) = apply_filter_all_threads(&program) {
            eprintln!("the kernel refuses a filter: {error}");
            std::process::exit(REFUSED.into());
        }
    }

    /// The child: commits, without a call, and tells how far it came.
    fn commit_without_calls(dir: &Path, durability: Durability) {
        let (wal, _) = open(dir, FILE).unwrap();
        let count = Counter::new(dir);
        let release = std::sync::atomic::Ordering::Release;
        // The first segment of a file is not in it yet, the first wait makes a parker.
        for number in 0..10 {
            wal.append_with(&payload(number), Durability::PowerLoss).unwrap();
            count.get().store(number + 1, release);
        }
        forbid_calls();
        for number in 10..COMMITS {
            wal.append_with(&payload(number), durability).unwrap();
            count.get().store(number + 1, release);
        }
        // Memory alone: nobody waits for these.
        for number in COMMITS..COMMITS + 100 {
            wal.append(&payload(number)).unwrap();
        }
        count.get().store(u64::MAX, release);
        loop {
            std::hint::spin_loop();
        }
    }

    fn no_call() -> Result<Completion, Failed> {
        let home = tempfile::Builder::new().prefix("wal-guarantees-").tempdir()?;
        let dir = home.path().join("log");
        let count = Counter::new(&dir);
        let mut child = spawn("process", &dir)?;
        let began = Instant::now();
        while count.get().load(std::sync::atomic::Ordering::Acquire) < u64::MAX {
            if let Some(status) = child.try_wait()? {
                if status.code() == Some(REFUSED.into()) {
                    return Ok(process::skipped("filters", "the kernel allows none"));
                }
                let made = count.get().load(std::sync::atomic::Ordering::Acquire);
                return Err(format!("ended by {status} behind commit {made}").into());
            }
            if began.elapsed() > Duration::from_secs(60) {
                child.kill()?;
                return Err("HANGS".into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        child.kill()?;
        child.wait()?;
        let (wal, report) = open(&dir, FILE)?;
        assert_eq!(report.verdict, Verdict::Clean, "{report}");
        assert_eq!(recovered(&wal), COMMITS);
        process::count("commits without a call", COMMITS - 10);
        Ok(Completion::Completed)
    }

    /// The same, and a filter that bites.
    fn a_call() -> Result<Completion, Failed> {
        let home = tempfile::Builder::new().prefix("wal-guarantees-").tempdir()?;
        let dir = home.path().join("log");
        let status = spawn("power", &dir)?.wait()?;
        if status.code() == Some(REFUSED.into()) {
            return Ok(process::skipped("filters", "the kernel allows none"));
        }
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}");
        let (wal, _) = open(&dir, FILE)?;
        // The eleventh may be there, but nobody was told so.
        assert!((10..=11).contains(&recovered(&wal)));
        Ok(Completion::Completed)
    }

    /// Flushes, and where.
    #[derive(Clone, Default)]
    struct Watched(std::sync::Arc<Mutex<Vec<std::ops::Range<usize>>>>);

    struct WatchedMap(wal_mmap::mapper::OsMap, Watched);

    impl wal_mmap::mapper::Mapper<fs::File> for Watched {
        type Map = WatchedMap;

        fn map(&self, file: &fs::File, len: usize) -> std::io::Result<WatchedMap> {
            let map = wal_mmap::mapper::Os.map(file, len)?;
            Ok(WatchedMap(map, self.clone()))
        }
    }

    #[allow(unsafe_code, reason = "it promises memory, as the mapping within does")]
    // SAFETY: the mapping within keeps the promise.
    unsafe impl wal_mmap::mapper::Map for WatchedMap {
        fn as_ptr(&self) -> *mut u8 {
            self.0.as_ptr()
        }

        fn len(&self) -> usize {
            self.0.len()
        }

        fn flush(&self, range: std::ops::Range<usize>) -> std::io::Result<()> {
            self.1.0.lock().unwrap().push(range.clone());
            self.0.flush(range)
        }
    }

    fn one_flush() -> Result<(), Failed> {
        let home = tempfile::tempdir()?;
        let watched = Watched::default();
        let files = FileOptions::default().preparation(Preparation::Inline);
        let layer = wal_io_std::sys::Os;
        let sink = wal_mmap::MmapSink::with_layer(layer, watched.clone(), home.path(), &files)?;
        let options = Options::default().segment_size(64 << 10).segments(4).file_size(1 << 20);
        let (wal, _) = wal_core::Wal::open(sink, options)?;
        let flushes = || std::mem::take(&mut *watched.0.lock().unwrap());
        let header = 0..4096;
        assert_eq!(flushes(), [header]);
        let mut at = 4096;
        for round in 1..5 {
            for _ in 0..round {
                // 8000 bytes and two headers: two blocks each.
                wal.append_with(&[1; 8000], Durability::ProcessCrash)?;
            }
            wal.append(&[2; 100])?;
            assert_eq!(flushes(), [], "the process needs none");
            wal.sync()?;
            let written = at..at + round * 8192 + 4096;
            at = written.end;
            assert_eq!(flushes(), [written]);
            wal.sync()?;
            assert_eq!(flushes(), [], "nothing was written");
        }
        // Over two files, each is flushed once.
        for _ in 0..20 {
            wal.append(&[3; 60_000])?;
        }
        wal.sync()?;
        assert_eq!(flushes().len(), 2);
        Ok(())
    }

    /// The child: no flush succeeds any more.
    fn flush_fails(dir: &Path) {
        let (wal, _) = open(dir, FILE).unwrap();
        for number in 0..20 {
            wal.append_with(&payload(number), Durability::PowerLoss).unwrap();
        }
        let durable = wal.durable_lsn();
        if let Err(why) = seccomp::fail(&[seccomp::call(libc::SYS_msync)], libc::EIO) {
            eprintln!("the kernel refuses a filter: {why}");
            std::process::exit(REFUSED.into());
        }
        // Where nobody asks for more than the process, nobody is told.
        wal.append_with(&payload(20), Durability::ProcessCrash).unwrap();
        let waiter = || wal.append_and_sync(b"lost").unwrap_err();
        let errors: Vec<Error> = thread::scope(|scope| {
            let waiters: Vec<_> = (0..4).map(|_| scope.spawn(waiter)).collect();
            waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect()
        });
        for error in errors {
            let Error::Poisoned { first } = &error else { panic!("{error}") };
            assert_eq!((first.op, first.source.raw_os_error()), (SinkOp::Sync, Some(libc::EIO)));
            assert!(first.path.as_ref().unwrap().starts_with(dir), "{error}");
        }
        // For good, whatever the level, and what is durable can be read.
        for durability in [Durability::Memory, Durability::ProcessCrash, Durability::PowerLoss] {
            assert!(wal.append_with(b"no", durability).unwrap_err().is_fatal());
        }
        assert_eq!(wal.durable_lsn(), durable);
        assert_eq!(recovered(&wal), 20);
        drop(wal);
        // Nothing that failed comes back as durable, nothing acknowledged is missing.
        // By the backend that needs no `msync`.
        let (wal, _) = wal_io_std::open(dir, Options::default()).unwrap();
        let count = wal.iter_from(wal.start_lsn()).unwrap().count();
        assert!(count >= 20, "{count}");
    }

    const SMALL: u64 = 128 << 10;

    /// The child, on a disk of its own: appends until it is full, and on when there is room.
    fn full_disk(dir: &Path) {
        namespace::mount(dir, 1024);
        let log = dir.join("log");
        let (wal, _) = open(&log, SMALL).unwrap();
        fs::write(dir.join("ballast"), vec![1; 256 << 10]).unwrap();
        let mut number = 0;
        for full in 0..2 {
            let error = loop {
                // Both levels: neither store nor flush may be the first to see that it is full.
                let level =
                    if number % 2 == 0 { Durability::ProcessCrash } else { Durability::PowerLoss };
                // What was refused is in the ring, and waited for again.
                let appended = wal.append(&payload(number));
                match appended.and_then(|appended| {
                    number += 1;
                    wal.wait(appended.lsn, level)
                }) {
                    Ok(()) => {}
                    Err(error) => break error,
                }
            };
            assert!(error.is_no_space() && error.is_retryable(), "{error}");
            assert!(number > 20, "{number}");
            if full == 0 {
                fs::remove_file(dir.join("ballast")).unwrap();
                wal.sync().unwrap();
            }
        }
        drop(wal);
        let (wal, _) = open(&log, SMALL).unwrap();
        let found = recovered(&wal);
        assert!(found + 4 >= number && found <= number, "{found} of {number}");
    }

    /// The child, on a disk of its own: the next file is there, and has no space.
    fn holes_on_a_full_disk(dir: &Path) {
        namespace::mount(dir, 1024);
        let log = dir.join("log");
        fs::create_dir(&log).unwrap();
        let sparse = log.join(format!("{:020}.wal", 1));
        fs::File::create(&sparse).unwrap().set_len(SMALL).unwrap();
        fs::write(dir.join("ballast"), vec![1; 2 << 20]).unwrap_err();
        let error = open(&log, SMALL).unwrap_err();
        assert!(error.is_no_space(), "{error}");
        fs::remove_file(dir.join("ballast")).unwrap();
        let (wal, _) = open(&log, SMALL).unwrap();
        fs::write(dir.join("ballast"), vec![1; 2 << 20]).unwrap_err();
        // All of it has its space now.
        for number in 0..10 {
            wal.append_with(&payload(number), Durability::ProcessCrash).unwrap();
        }
        assert_eq!(wal.written_lsn().get(), 10 * 4096);
    }

    /// The child: somebody cuts the file that it has mapped.
    fn cut_underneath(dir: &Path) {
        let (wal, _) = open(dir, FILE).unwrap();
        wal.append_and_sync(&payload(0)).unwrap();
        let path = dir.join(format!("{:020}.wal", 1));
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(8192).unwrap();
        let _ = wal.append(&payload(1));
        unreachable!("a store behind the end of a file");
    }

    /// Documented, and the one way there is.
    fn cut() -> Result<(), Failed> {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("log");
        let status = spawn("cut", &dir)?.wait()?;
        assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
        assert!(matches!(open(&dir, FILE), Err(Error::Corrupt(_))));
        Ok(())
    }
}
