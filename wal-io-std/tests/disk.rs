//! Real disks that are full, or read-only, and limits on the size of files.
//!
//! A disk is a small tmpfs that only a child sees. Where the system lets nobody mount one, the
//! tests say so and are skipped.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[cfg(target_os = "linux")]
#[path = "process/namespace.rs"]
mod namespace;
#[cfg(target_os = "linux")]
mod process;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("skipped: full and read-only disks: made by means of Linux");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::fs::{FileExt, PermissionsExt};
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::path::{Path, PathBuf};
    use std::pin::pin;
    use std::process::{Command, ExitCode};
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::{self, Thread};

    use libtest_mimic::{Completion, Failed, Trial};
    use wal_core::read::Log;
    use wal_core::recover::ScanOptions;
    use wal_core::sink::SinkOp;
    use wal_core::{Error, Lsn, Options, RecoveryReport, SinkError, Verdict};
    use wal_io_std::{DirSource, FileOptions, Preparation, Wal};

    use crate::{namespace, process};

    const CASE: &str = "WAL_DISK_CASE";
    const DIR: &str = "WAL_DISK_DIR";

    const KIB: u64 = 1 << 10;
    const FILE: u64 = 64 * KIB;

    /// What a child does with an empty directory.
    type Scenario = fn(&Path);

    /// On a disk of its own.
    const ON_A_DISK: &[(&str, Scenario)] = &[
        ("a_full_disk_refuses_wakes_everybody_and_goes_on_when_there_is_room", full_and_room),
        ("a_log_opens_on_a_disk_without_a_free_byte", opening_on_a_full_disk),
        ("a_torn_log_opens_on_a_disk_without_a_free_byte", opening_a_torn_log_on_a_full_disk),
        ("a_new_log_on_a_full_disk_is_refused_by_name", new_log_on_a_full_disk),
        ("a_read_only_disk_is_named_and_can_be_read", read_only_disk),
    ];

    pub(crate) fn main() -> ExitCode {
        if let Ok(name) = std::env::var(CASE) {
            let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
            match ON_A_DISK.iter().find(|(case, _)| *case == name) {
                Some((_, scenario)) => scenario(&dir),
                None => in_a_directory(&name, &dir),
            }
            return ExitCode::SUCCESS;
        }
        let mut trials: Vec<Trial> = Vec::new();
        for (name, _) in ON_A_DISK {
            trials.push(Trial::ignorable_test(*name, || on_a_disk(name)));
        }
        trials.push(Trial::ignorable_test("a_directory_of_others_is_named", other_user));
        trials.push(Trial::test("a_limit_of_file_sizes_is_an_error", limit_ignored));
        trials.push(Trial::test("a_limit_of_file_sizes_that_kills_loses_nothing", limit_kills));
        process::run(trials)
    }

    fn on_a_disk(name: &str) -> Result<Completion, Failed> {
        let mut command = match namespace::command() {
            Ok(command) => command,
            Err(why) => return Ok(process::skipped(name, &why)),
        };
        let home = tempfile::Builder::new().prefix("wal-disk-").tempdir()?;
        let output = process::watch(command.env(CASE, name).env(DIR, home.path()), |_| Ok(()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: {said}", output.status).into());
        }
        process::count("full or read-only disks", 1);
        Ok(Completion::Completed)
    }

    /// A log whose files are small. Futures are waited for, too.
    fn open(dir: &Path) -> Result<(Wal, RecoveryReport), Error> {
        let options = Options::default().segment_size(8 << 10).segments(4).file_size(FILE);
        let options = options.executor(|job| drop(thread::spawn(job)));
        wal_io_std::open(dir, options)
    }

    /// Many threads append and wait, until each was refused. Returns what was acknowledged, and
    /// what they were told.
    fn work(wal: &Wal) -> (Vec<(Lsn, Vec<u8>)>, Vec<Error>) {
        let worker = |thread: usize| {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let payload = vec![(thread * 31 + number) as u8; 10 + (number * 97) % 3000];
                let done = wal.append(&payload).and_then(|appended| {
                    if number % 2 == 0 {
                        wal.wait_durable(appended.lsn)?;
                    } else {
                        block_on(wal.durable(appended.lsn))?;
                    }
                    Ok(appended.lsn)
                });
                match done {
                    Ok(lsn) => acknowledged.push((lsn, payload)),
                    Err(error) => return (acknowledged, error),
                }
            }
            unreachable!("no disk has room for that")
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|t| scope.spawn(move || worker(t))).collect();
            let ends: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            let (acknowledged, errors): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
            (acknowledged.concat(), errors)
        })
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Takes all room but about `left` bytes.
    fn fill(disk: &Path, left: u64) {
        let ballast = disk.join("ballast");
        let mut file = fs::File::options().append(true).create(true).open(&ballast).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        let len = file.metadata().unwrap().len();
        file.set_len(len - left.min(len)).unwrap();
    }

    fn make_room(disk: &Path) {
        fs::remove_file(disk.join("ballast")).unwrap();
    }

    fn assert_no_space(error: &Error, op: SinkOp, dir: &Path) {
        let Error::NoSpace { source } = error else { panic!("{error}") };
        assert_eq!((source.op, source.source.kind()), (op, ErrorKind::StorageFull), "{error}");
        assert!(source.path.as_ref().unwrap().starts_with(dir), "{error}");
        assert!(error.is_no_space() && error.is_retryable() && !error.is_fatal(), "{error}");
        assert!(error.to_string().contains(dir.to_str().unwrap()), "{error}");
        assert!(error.to_string().contains("free some"), "{error} does not say what to do");
    }

    fn assert_reads(wal: &Wal, acknowledged: &[(Lsn, Vec<u8>)]) {
        for (lsn, payload) in acknowledged {
            assert!(wal.read_at(*lsn).unwrap() == *payload, "LSN {lsn}");
        }
    }

    fn records(wal: &Wal) -> u64 {
        let all = wal.iter_from(wal.start_lsn()).unwrap();
        all.inspect(|record| assert!(record.is_ok(), "{record:?}")).count() as u64
    }

    fn full_and_room(disk: &Path) {
        namespace::mount(disk, 2048);
        let log = disk.join("log");
        let (wal, _) = open(&log).unwrap();
        let (mut acknowledged, mut count) = (Vec::new(), 0);
        for (left, truncate) in [(3 * FILE, false), (0, false), (5000, true)] {
            fill(disk, left);
            let (more, errors) = work(&wal);
            assert_eq!(errors.len(), 8);
            errors.iter().for_each(|error| assert_no_space(error, SinkOp::Create, &log));
            count += more.len();
            acknowledged.extend(more);
            assert_reads(&wal, &acknowledged);
            // Asked again, it says the same, at once; nothing more is acknowledged.
            let durable = wal.durable_lsn();
            assert_no_space(&wal.sync().unwrap_err(), SinkOp::Create, &log);
            assert_eq!(wal.durable_lsn(), durable);
            if truncate {
                // The disk stays as full as it is: the oldest files of the log are the room.
                let start = wal.truncate_before(durable).unwrap().start;
                acknowledged.retain(|(lsn, _)| *lsn >= start);
                assert!(start > Lsn::ZERO && !acknowledged.is_empty());
            } else {
                make_room(disk);
            }
            // The same log goes on, and what was appended meanwhile is in it.
            let all = wal.next_lsn();
            wal.sync().unwrap();
            assert!(wal.durable_lsn() >= all);
            let lsn = wal.append_and_sync(b"it goes on").unwrap().lsn;
            acknowledged.push((lsn, b"it goes on".to_vec()));
        }
        assert!(count > 30, "{count}");
        drop(wal);
        let (wal, report) = open(&log).unwrap();
        assert_eq!(report.verdict, Verdict::Clean, "{report}");
        assert_reads(&wal, &acknowledged);
        wal.close().unwrap();
    }

    /// A log that was stopped by a full disk, which is full to the last byte, and what it holds.
    fn full_log(disk: &Path) -> (PathBuf, Vec<(Lsn, Vec<u8>)>) {
        namespace::mount(disk, 2048);
        let log = disk.join("log");
        let (wal, _) = open(&log).unwrap();
        fill(disk, 3 * FILE);
        let (acknowledged, _) = work(&wal);
        drop(wal);
        fill(disk, 0);
        (log, acknowledged)
    }

    fn opening_on_a_full_disk(disk: &Path) {
        let (log, acknowledged) = full_log(disk);
        opened_on_a_full_disk(disk, &log, &acknowledged, Verdict::Clean);
    }

    /// The copy of what is cut has no room either.
    fn opening_a_torn_log_on_a_full_disk(disk: &Path) {
        let (log, mut acknowledged) = full_log(disk);
        let (last, _) = acknowledged.iter().max_by_key(|(lsn, _)| *lsn).unwrap().clone();
        let whole = Log::scan(DirSource::open(&log).unwrap(), ScanOptions::default(), &mut |_| {});
        let whole = whole.unwrap();
        let end = whole.report().end;
        // Behind `last` there is only what was not acknowledged. So with the frame of `last` the
        // log loses its last frames.
        let (path, offset) = place_of(&log, last);
        let file = fs::File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset + 8).unwrap();
        file.write_all_at(&[!byte[0]], offset + 8).unwrap();
        let torn = Log::scan(DirSource::open(&log).unwrap(), ScanOptions::default(), &mut |_| {});
        let report = torn.unwrap().report().clone();
        assert!(report.cut.is_some() && report.end < end, "{report}");
        acknowledged.retain(|(lsn, _)| *lsn < report.end);
        opened_on_a_full_disk(disk, &log, &acknowledged, report.verdict);
        let aside = fs::read_dir(log.join("set-aside")).unwrap().count();
        assert!(aside > 0, "what was cut is not kept");
    }

    /// The file that holds the record at `lsn`, and the offset of the record.
    fn place_of(log: &Path, lsn: Lsn) -> (PathBuf, u64) {
        use wal_core::format::file_header::{BLOCK_LEN, decode};
        let mut found = None;
        for entry in fs::read_dir(log).unwrap() {
            let path = entry.unwrap().path();
            let mut block = vec![0; BLOCK_LEN];
            let read = fs::File::open(&path).unwrap().read(&mut block).unwrap();
            if let Ok(header) = decode(&block[..read])
                && header.base <= lsn
                && found.as_ref().is_none_or(|(base, _, _)| *base < header.base)
            {
                found = Some((header.base, path, header.offset_of(lsn)));
            }
        }
        let (_, path, offset) = found.unwrap();
        (path, offset)
    }

    fn opened_on_a_full_disk(
        disk: &Path,
        log: &Path,
        acknowledged: &[(Lsn, Vec<u8>)],
        verdict: Verdict,
    ) {
        // Twice: the first time it changed nothing, so the second finds the same.
        for _ in 0..2 {
            let (wal, report) = open(log).unwrap();
            assert_eq!(report.verdict, verdict, "{report}");
            assert!(report.records >= acknowledged.len() as u64, "{report}");
            assert_reads(&wal, acknowledged);
            assert_eq!(records(&wal), report.records);
            let (more, errors) = work(&wal);
            assert!(more.is_empty());
            for error in &errors {
                let Error::NoSpace { source } = error else { panic!("{error}") };
                assert_no_space(error, source.op, log);
            }
            let error = wal.close().unwrap_err();
            assert!(error.is_no_space(), "{error}");
        }
        let (wal, report) = open(log).unwrap();
        wal.append(b"appended when there is no room").unwrap();
        assert!(wal.sync().unwrap_err().is_no_space());
        make_room(disk);
        wal.sync().unwrap();
        wal.append_and_sync(b"it goes on").unwrap();
        assert_reads(&wal, acknowledged);
        assert_eq!(records(&wal), report.records + 2);
        drop(wal);
        let (wal, again) = open(log).unwrap();
        assert_eq!((again.verdict, again.records), (Verdict::Clean, report.records + 2), "{again}");
        assert_reads(&wal, acknowledged);
        wal.close().unwrap();
    }

    fn new_log_on_a_full_disk(disk: &Path) {
        namespace::mount(disk, 1024);
        let log = disk.join("log");
        fs::create_dir(&log).unwrap();
        fs::write(log.join("lock"), b"").unwrap();
        fill(disk, 0);
        assert_no_space(&open(&log).unwrap_err(), SinkOp::Create, &log);
        assert_eq!(fs::read_dir(&log).unwrap().count(), 1, "only the lock is there");
        make_room(disk);
        let (wal, report) = open(&log).unwrap();
        assert_eq!(report.verdict, Verdict::New);
        wal.append_and_sync(b"fine").unwrap();
    }

    /// The tools that only read.
    fn assert_tools_read(wal: &Path, log: &Path, expected: &[u8]) {
        let run = |command: &str| {
            let output = Command::new(wal).arg(command).arg(log).output().unwrap();
            assert!(output.status.success(), "{command}: {output:?}");
            output.stdout
        };
        assert_eq!(run("cat"), expected);
        for command in ["verify", "stat"] {
            assert!(!run(command).is_empty());
        }
        let mut found = Vec::new();
        let source = DirSource::open(log).unwrap();
        Log::scan(source, ScanOptions::default(), &mut |record| {
            found.extend_from_slice(record.payload);
            found.push(b'\n');
        })
        .unwrap();
        assert_eq!(found, expected);
    }

    fn small_log(dir: &Path) {
        let (wal, _) = open(dir).unwrap();
        wal.append(b"one").unwrap();
        wal.append_and_sync(b"two").unwrap();
    }

    fn sink_error(error: &Error) -> &SinkError {
        match error {
            Error::Sink(source) => source,
            _ => panic!("{error}"),
        }
    }

    /// Opening to write fails at the lock, in every way to open.
    fn assert_not_opened(log: &Path, kind: ErrorKind) {
        let closed = FileOptions::default().create(false);
        for files in [FileOptions::default(), closed.preparation(Preparation::Inline)] {
            let error = wal_io_std::open_with(log, Options::default(), &files).unwrap_err();
            let cause = sink_error(&error);
            let found = (cause.op, cause.source.kind(), cause.path.clone());
            assert_eq!(found, (SinkOp::Lock, kind, Some(log.join("lock"))), "{error}");
            assert!(error.to_string().contains(log.join("lock").to_str().unwrap()), "{error}");
        }
    }

    fn read_only_disk(disk: &Path) {
        namespace::mount(disk, 1024);
        let log = disk.join("log");
        small_log(&log);
        namespace::make_read_only(disk);
        assert_not_opened(&log, ErrorKind::ReadOnlyFilesystem);
        assert_tools_read(Path::new(env!("CARGO_BIN_EXE_wal")), &log, b"one\ntwo\n");
        let error = open(&disk.join("new")).unwrap_err();
        let cause = sink_error(&error);
        assert_eq!((cause.op, cause.source.kind()), (SinkOp::Open, ErrorKind::ReadOnlyFilesystem));
        assert_eq!(cause.path, Some(disk.join("new")));
    }

    /// What a child does without a disk of its own.
    fn in_a_directory(name: &str, dir: &Path) {
        match name {
            "other user" => {
                let log = dir.join("log");
                assert_not_opened(&log, ErrorKind::PermissionDenied);
                assert_tools_read(&dir.join("wal"), &log, b"one\ntwo\n");
                let closed = dir.join("closed");
                for error in [
                    open(&closed).map(drop).unwrap_err(),
                    DirSource::open(&closed).map(drop).unwrap_err(),
                ] {
                    let cause = sink_error(&error);
                    let found = (cause.source.kind(), cause.path.as_deref());
                    assert_eq!(found.0, ErrorKind::PermissionDenied, "{error}");
                    assert!(found.1.unwrap().starts_with(&closed), "{error}");
                }
            }
            "limit" => limited(dir),
            _ => panic!("there is no case `{name}`"),
        }
    }

    /// Root may write anywhere, so as root the child becomes somebody else.
    fn other_user() -> Result<Completion, Failed> {
        let home = tempfile::Builder::new().prefix("wal-disk-").tempdir()?;
        let dir = home.path();
        // The programs may lie where others cannot go.
        fs::copy(std::env::current_exe()?, dir.join("itself"))?;
        fs::copy(env!("CARGO_BIN_EXE_wal"), dir.join("wal"))?;
        small_log(&dir.join("log"));
        fs::create_dir(dir.join("closed"))?;
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        for entry in fs::read_dir(dir.join("log"))? {
            mode(&entry?.path(), 0o444)?;
        }
        mode(dir, 0o755)?;
        mode(&dir.join("log"), 0o555)?;
        mode(&dir.join("closed"), 0o000)?;
        let mut command = Command::new(dir.join("itself"));
        if rustix::process::geteuid().is_root() {
            const NOBODY: u32 = 65534;
            command.uid(NOBODY).gid(NOBODY);
        }
        let done = process::watch(command.env(CASE, "other user").env(DIR, dir), |_| Ok(()));
        mode(&dir.join("log"), 0o755)?;
        mode(&dir.join("closed"), 0o755)?;
        let output = match done {
            Ok(output) => output,
            Err(why) => {
                let why = why.message().unwrap_or("it cannot be started");
                let why = format!("cannot run as another user: {why}");
                return Ok(process::skipped("a_directory_of_others_is_named", &why));
            }
        };
        if output.status.success() {
            process::count("directories of others", 1);
            return Ok(Completion::Completed);
        }
        Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
    }

    /// Bytes of the largest file that the child may write.
    const LIMIT: u64 = 2 * FILE;

    /// A child whose files are limited; with `ignore`, the signal that says so is ignored.
    fn under_limit(dir: &Path, ignore: bool) -> Result<std::process::Output, Failed> {
        let trap = if ignore { "trap '' XFSZ; " } else { "" };
        let mut command = Command::new("/bin/sh");
        let limit = LIMIT / 512;
        command.args(["-c", &format!("{trap}ulimit -f {limit}; exec \"$0\"")]);
        command.arg(std::env::current_exe()?).env(CASE, "limit").env(DIR, dir);
        process::watch(&mut command, |_| Ok(()))
    }

    /// Appends what fits, then what needs a file larger than the limit, and goes on.
    fn limited(dir: &Path) {
        let log = dir.join("log");
        let (wal, _) = open(&log).unwrap();
        for _ in 0..20 {
            wal.append_and_sync(&[1; 5000]).unwrap();
        }
        let error = wal.append(&vec![2; LIMIT as usize]).unwrap_err();
        let cause = sink_error(&error);
        assert_eq!((cause.op, cause.source.kind()), (SinkOp::Create, ErrorKind::FileTooLarge));
        assert!(cause.path.as_ref().unwrap().starts_with(&log), "{error}");
        for _ in 0..20 {
            wal.append_and_sync(&[3; 5000]).unwrap();
        }
        wal.close().unwrap();
    }

    fn limit_ignored() -> Result<(), Failed> {
        let home = tempfile::Builder::new().prefix("wal-disk-").tempdir()?;
        let output = under_limit(home.path(), true)?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let (wal, report) = open(&home.path().join("log"))?;
        assert_eq!((report.verdict, report.records), (Verdict::Closed, 40), "{report}");
        drop(wal);
        process::count("file size limits", 1);
        Ok(())
    }

    fn limit_kills() -> Result<(), Failed> {
        let home = tempfile::Builder::new().prefix("wal-disk-").tempdir()?;
        let output = under_limit(home.path(), false)?;
        assert_eq!(output.status.signal(), Some(rustix::process::Signal::XFSZ.as_raw()));
        let (wal, report) = open(&home.path().join("log"))?;
        assert_eq!((report.verdict, report.records), (Verdict::Clean, 20), "{report}");
        drop(wal);
        process::count("file size limits", 1);
        Ok(())
    }
}
