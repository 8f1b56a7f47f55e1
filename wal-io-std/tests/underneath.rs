//! What others do to the directory of a log, while it is open and before it is: remove, replace,
//! move, cut, add, and write with a newer release.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use wal_core::format::checksum::crc32c;
use wal_core::format::file_header::{BLOCK_LEN, VERSION};
use wal_core::read::Log;
use wal_core::recover::ScanOptions;
use wal_core::sink::SinkOp;
use wal_core::{Error, Lsn, Options, Reason, SinkError, Verdict};
use wal_io_std::{DirSource, FileOptions, Preparation, Wal};

const FILE: u64 = 64 << 10;

/// Files are made when they are needed, and by whoever needs them.
fn open(dir: &Path) -> Result<(Wal, wal_core::RecoveryReport), Error> {
    let options = Options::default().segment_size(8192).segments(2).file_size(FILE);
    wal_io_std::open_with(dir, options, &FileOptions::default().preparation(Preparation::Inline))
}

/// A log that is open, and what it acknowledged.
struct Case {
    home: tempfile::TempDir,
    wal: Wal,
    acknowledged: Vec<Lsn>,
}

impl Case {
    /// Three files, the last of them with room for more.
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (wal, _) = open(&home.path().join("log")).unwrap();
        let mut case = Self { home, wal, acknowledged: Vec::new() };
        while case.files().len() < 3 {
            case.append().unwrap();
        }
        case.append().unwrap();
        case
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("log")
    }

    fn files(&self) -> Vec<PathBuf> {
        log_files(&self.dir())
    }

    fn newest(&self) -> PathBuf {
        self.files().pop().unwrap()
    }

    fn append(&mut self) -> Result<(), Error> {
        let appended = self.wal.append_and_sync(&payload(self.acknowledged.len()))?;
        self.acknowledged.push(appended.lsn);
        Ok(())
    }

    /// Appends until it is refused, which it must be before a file's worth is acknowledged.
    fn append_until_refused(&mut self) -> Error {
        for _ in 0..2 * FILE / 4096 {
            if let Err(error) = self.append() {
                return error;
            }
        }
        panic!("nothing was noticed");
    }

    /// The log is poisoned because of file `path`, for good.
    fn assert_poisoned(&mut self, path: &Path) {
        for _ in 0..2 {
            let error = self.append().unwrap_err();
            let Error::Poisoned { first } = &error else { panic!("{error}") };
            assert_eq!((first.op, first.path.as_deref()), (SinkOp::Sync, Some(path)), "{error}");
            assert!(error.to_string().contains(" while it is written to"), "{error}");
        }
    }

    /// Readers find record `index`.
    fn assert_reads(&self, index: usize) {
        assert_eq!(self.wal.read_at(self.acknowledged[index]).unwrap(), payload(index));
    }

    /// Closes the handle as a crash would, and opens what is at the log's place now.
    fn reopen(self) -> (tempfile::TempDir, Result<(Wal, wal_core::RecoveryReport), Error>) {
        let dir = self.dir();
        drop(self.wal);
        (self.home, open(&dir))
    }
}

fn payload(index: usize) -> Vec<u8> {
    vec![index as u8; 3000]
}

fn log_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension() == Some("wal".as_ref())).collect();
    files.sort();
    files
}

fn sink_error(error: &Error) -> &SinkError {
    match error {
        Error::Sink(source) => source,
        _ => panic!("{error}"),
    }
}

fn assert_corrupt(opened: Result<(Wal, wal_core::RecoveryReport), Error>, reason: Reason) {
    match opened {
        Err(Error::Corrupt(found)) => assert_eq!(found.reason, reason, "{found}"),
        Err(error) => panic!("{error}"),
        Ok((_, report)) => panic!("{report}"),
    }
}

/// The system goes on to sync a file without a name. Whoever waits must not be told that what is
/// in it is safe.
#[test]
fn a_removed_newest_file_is_noticed_before_anything_in_it_is_acknowledged() {
    let mut case = Case::new();
    let (newest, before) = (case.newest(), case.acknowledged.len());
    fs::remove_file(&newest).unwrap();
    case.assert_poisoned(&newest);
    assert_eq!(case.acknowledged.len(), before);
    case.assert_reads(0);
    let (_home, opened) = case.reopen();
    // Nothing in the files that are left says that another one followed them.
    let (wal, report) = opened.unwrap();
    assert_eq!(report.verdict, Verdict::Clean);
    let records = wal.iter_from(wal.start_lsn()).unwrap().map(|record| record.unwrap().payload);
    let records: Vec<_> = records.collect();
    assert!(records.len() < before && records.iter().enumerate().all(|(i, r)| *r == payload(i)));
}

#[test]
fn a_replaced_newest_file_is_noticed_like_a_removed_one() {
    let mut case = Case::new();
    let newest = case.newest();
    let other = case.home.path().join("other");
    fs::write(&other, b"something else").unwrap();
    fs::rename(&other, &newest).unwrap();
    case.assert_poisoned(&newest);
    let (_home, opened) = case.reopen();
    drop(opened);
    // It is none of ours: neither cut nor removed.
    let kept = log_files(&_home.path().join("log")).into_iter().chain(aside(&_home));
    assert!(kept.map(|path| fs::read(path).unwrap()).any(|bytes| bytes == b"something else"));
}

fn aside(home: &tempfile::TempDir) -> Vec<PathBuf> {
    let aside = home.path().join("log/set-aside");
    let Ok(entries) = fs::read_dir(aside) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_file_cut_underneath_is_noticed_before_anything_more_is_acknowledged() {
    for len in [0, BLOCK_LEN as u64, FILE - 1] {
        let mut case = Case::new();
        let newest = case.newest();
        fs::File::options().write(true).open(&newest).unwrap().set_len(len).unwrap();
        case.assert_poisoned(&newest);
        case.assert_reads(0);
        if len < FILE - 1 {
            let last = case.acknowledged.last().copied().unwrap();
            let error = case.wal.read_at(last).unwrap_err();
            assert!(error.is_corruption(), "{error}");
        }
        let (_home, opened) = case.reopen();
        match opened {
            Err(Error::Corrupt(found)) => assert_eq!(found.path, newest, "{found}"),
            Err(error) => panic!("{error}"),
            // A header that was never written, in the eyes of the next life.
            Ok((_, report)) => assert!(report.cut.is_some(), "{len}: {report}"),
        }
    }
}

#[test]
fn a_removed_old_file_fails_its_readers_and_the_next_opening_and_nobody_else() {
    for (gone, missing) in [(0, "first"), (1, "second")] {
        let mut case = Case::new();
        let path = case.files().remove(gone);
        fs::remove_file(&path).unwrap();
        case.append().unwrap();
        let last = case.acknowledged.len() - 1;
        case.assert_reads(last);
        let first = if gone == 0 { 0 } else { FILE as usize / 4096 };
        let error = case.wal.read_at(case.acknowledged[first]).unwrap_err();
        let cause = sink_error(&error);
        assert_eq!((cause.op, cause.path.as_deref()), (SinkOp::Open, Some(&*path)), "{missing}");
        let walked: Result<Vec<_>, _> = case.wal.iter_from(Lsn::ZERO).and_then(Iterator::collect);
        assert!(walked.is_err());
        let acknowledged = case.acknowledged.clone();
        let (_home, opened) = case.reopen();
        if gone == 0 {
            // As if the log had been truncated: where it starts now is all that tells.
            let (_, report) = opened.unwrap();
            let left = acknowledged.iter().filter(|lsn| **lsn >= report.start).count() as u64;
            assert!(report.start > acknowledged[0] && report.records == left, "{report}");
        } else {
            assert_corrupt(opened, Reason::MissingFile);
        }
    }
}

/// Without the directory no file can be made. What is durable stays durable, and if the directory
/// comes back, so does the log.
#[test]
fn a_directory_that_is_moved_away_stops_the_log_at_the_next_file_until_it_is_back() {
    let mut case = Case::new();
    let (dir, elsewhere) = (case.dir(), case.home.path().join("elsewhere"));
    fs::rename(&dir, &elsewhere).unwrap();
    let error = case.append_until_refused();
    let cause = sink_error(&error);
    assert_eq!((cause.op, cause.path.as_deref()), (SinkOp::Create, Some(&*dir)), "{error}");
    assert!(error.to_string().contains("moved, removed or replaced"), "{error}");
    let error = case.wal.read_at(case.acknowledged[0]).unwrap_err();
    let expected = (SinkOp::Open, std::io::ErrorKind::NotFound);
    assert_eq!((sink_error(&error).op, sink_error(&error).source.kind()), expected, "{error}");
    fs::rename(&elsewhere, &dir).unwrap();
    case.wal.sync().unwrap();
    case.append().unwrap();
    let acknowledged = case.acknowledged.len() as u64;
    let (_home, opened) = case.reopen();
    // One was refused and appended all the same.
    assert_eq!(opened.unwrap().1.records, acknowledged + 1);
}

#[test]
fn nothing_is_written_into_another_directory_of_the_same_name() {
    let mut case = Case::new();
    let (dir, elsewhere) = (case.dir(), case.home.path().join("elsewhere"));
    fs::rename(&dir, &elsewhere).unwrap();
    fs::create_dir(&dir).unwrap();
    let error = case.append_until_refused();
    assert_eq!(sink_error(&error).op, SinkOp::Create, "{error}");
    assert!(error.to_string().contains("moved, removed or replaced"), "{error}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    let acknowledged = case.acknowledged.len() as u64;
    drop(case.wal);
    let (_, report) = open(&elsewhere).unwrap();
    assert!(report.records >= acknowledged, "{report}");
}

#[test]
fn a_removed_directory_is_noticed_before_anything_more_is_acknowledged() {
    let mut case = Case::new();
    let newest = case.newest();
    fs::remove_dir_all(case.dir()).unwrap();
    case.assert_poisoned(&newest);
    let (_home, opened) = case.reopen();
    assert_eq!(opened.unwrap().1.verdict, Verdict::New);
}

/// Whoever removes the lock lets a second process in. The first goes no further than its file.
#[test]
fn a_removed_lock_stops_the_log_at_the_next_file() {
    let mut case = Case::new();
    fs::remove_file(case.dir().join("lock")).unwrap();
    let error = case.append_until_refused();
    assert_eq!(sink_error(&error).op, SinkOp::Create, "{error}");
    assert!(error.to_string().contains("lock was removed or replaced"), "{error}");
}

/// Names, kinds and bytes of everything in a directory, links not followed.
fn contents(dir: &Path) -> BTreeMap<PathBuf, (String, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_dir() {
            all.extend(contents(&path));
        }
        let bytes = if kind.is_file() {
            fs::read(&path).unwrap()
        } else if kind.is_symlink() {
            fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
        } else {
            Vec::new()
        };
        let known = [kind.is_dir(), kind.is_file(), kind.is_fifo(), kind.is_socket()];
        all.insert(path, (format!("{known:?}"), bytes));
    }
    all
}

#[test]
fn a_directory_full_of_foreign_things_opens_and_all_of_them_stay_as_they_are() {
    let case = Case::new();
    let (dir, records) = (case.dir(), case.acknowledged.len() as u64);
    let newest = case.newest();
    let home = case.home;
    drop(case.wal);
    let outside = home.path().join("outside");
    fs::write(&outside, [0; 8192]).unwrap();
    let at = |name: &str| dir.join(name);
    let mut foreign = Vec::new();
    let name = |sequence: u64| format!("{sequence:020}.wal");
    for file in [
        "notes.txt",
        ".wal",
        "1.wal",
        "00000000000000000001",
        "0000000000000000000001.wal",
        "00000000000000000001.WAL",
        "00000000000000000001.wal.bak",
        "00000000000000000001.wal~",
        "99999999999999999999.wal",
        "18446744073709551616.wal",
        "-0000000000000000001.wal",
        "+0000000000000000001.wal",
        " 0000000000000000001.wal",
        "0x000000000000000001.wal",
        "lock.wal",
        "lock~",
        "LOCK",
        "tmp",
        ".tmp",
        "1.wal.tmp",
    ] {
        fs::write(at(file), b"mine").unwrap();
        foreign.push(at(file));
    }
    for raw in [&b"\xff\xfe.wal"[..], b"0000000000000000000\xb1.wal", b"new\nline.wal"] {
        let path = dir.join(OsStr::from_bytes(raw));
        fs::write(&path, b"mine").unwrap();
        foreign.push(path);
    }
    for directory in [name(77), name(u64::MAX), format!("{}.tmp", name(78)), "sub.wal".into()] {
        fs::create_dir(at(&directory)).unwrap();
        fs::write(at(&directory).join(name(1)), b"mine").unwrap();
        foreign.push(at(&directory));
    }
    let links = [(name(80), outside.clone()), (name(81), newest), (name(82), "/nowhere".into())];
    for (link, to) in links.iter().chain(&[(format!("{}.tmp", name(83)), outside.clone())]) {
        symlink(to, at(link)).unwrap();
        foreign.push(at(link));
    }
    let fifo = std::process::Command::new("mkfifo").arg(at(&name(90))).status().unwrap();
    assert!(fifo.success());
    let _socket = UnixListener::bind(at(&name(91))).unwrap();
    foreign.extend([at(&name(90)), at(&name(91))]);
    foreign.sort();

    let before = contents(&dir);
    let listed = Log::scan(DirSource::open(&dir).unwrap(), ScanOptions::default(), &mut |_| {});
    assert_eq!(listed.unwrap().report().foreign, foreign);
    assert!(contents(&dir) == before, "reading for tools has changed something");
    for life in 1..4 {
        let (wal, report) = open(&dir).unwrap();
        assert_eq!(report.foreign, foreign);
        assert_eq!(report.records, records + life - 1);
        for path in &foreign {
            assert!(report.to_string().contains(&format!("ignored {}", path.display())));
        }
        wal.append_and_sync(b"another").unwrap();
        let after = contents(&dir);
        for path in &foreign {
            assert!(after.get(path) == before.get(path), "{} was touched", path.display());
        }
        if life == 2 {
            wal.close().unwrap();
        }
    }
    assert_eq!(fs::read(outside).unwrap(), [0; 8192]);
}

/// What stands where the next file goes is not stepped over, and not removed: it is named.
#[test]
fn a_foreign_thing_in_the_way_of_the_next_file_is_named_and_left_alone() {
    type Put = fn(&Path, &Path);
    let things: [(&str, Put); 6] = [
        ("a directory", |path, _| fs::create_dir(path).unwrap()),
        ("a link to zeros", |path, outside| symlink(outside, path).unwrap()),
        ("a link to nothing", |path, _| symlink("/nowhere/at/all", path).unwrap()),
        ("a socket", |path, _| drop(UnixListener::bind(path).unwrap())),
        ("a pipe", |path, _| {
            assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
        ("a file with something in it", |path, _| fs::write(path, b"mine").unwrap()),
    ];
    for (what, put) in things {
        let mut case = Case::new();
        let outside = case.home.path().join("outside");
        fs::write(&outside, [0; 8192]).unwrap();
        let next = case.dir().join(format!("{:020}.wal", 4));
        put(&next, &outside);
        let before = contents(case.home.path());
        let error = case.append_until_refused();
        let cause = sink_error(&error);
        let place = (cause.op, cause.path.as_deref());
        assert_eq!(place, (SinkOp::Create, Some(&*next)), "{what}: {error}");
        let after = contents(case.home.path());
        assert!(after.get(&next) == before.get(&next), "{what} was touched");
        assert_eq!(fs::read(&outside).unwrap(), [0; 8192], "{what}");
        // Out of the way, and the same log goes on.
        if next.is_dir() { fs::remove_dir(&next) } else { fs::remove_file(&next) }.unwrap();
        case.wal.sync().unwrap();
        case.append().unwrap();
    }
}

/// Things of ours that are not what they must be.
#[test]
fn a_lock_or_a_place_for_damage_of_another_kind_is_named() {
    let home = tempfile::tempdir().unwrap();
    let outside = home.path().join("outside");
    fs::write(&outside, b"mine").unwrap();
    type Put = fn(&Path, &Path);
    let things: [Put; 2] =
        [|path, _| fs::create_dir(path).unwrap(), |path, outside| symlink(outside, path).unwrap()];
    for (index, put) in things.into_iter().enumerate() {
        let dir = home.path().join(index.to_string());
        fs::create_dir(&dir).unwrap();
        put(&dir.join("lock"), &outside);
        let error = open(&dir).unwrap_err();
        let cause = sink_error(&error);
        let expected = (SinkOp::Lock, Some(dir.join("lock")));
        assert_eq!((cause.op, cause.path.clone()), expected, "{error}");
    }
    assert_eq!(fs::read(&outside).unwrap(), b"mine");
}

/// A file of the next version of the format, whole as far as this one can tell.
fn of_newer_version(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let crc = crc32c(&bytes[..BLOCK_LEN - 4]).to_le_bytes();
    bytes[BLOCK_LEN - 4..BLOCK_LEN].copy_from_slice(&crc);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_log_of_a_newer_release_is_refused_by_name_and_not_touched() {
    // The first file, one in the middle, the last.
    for index in 0..3 {
        let case = Case::new();
        let (dir, files) = (case.dir(), case.files());
        let _home = case.home;
        drop(case.wal);
        of_newer_version(&files[index]);
        let leftover = dir.join(format!("{:020}.wal.tmp", 9));
        fs::write(&leftover, b"in the making, by a newer release").unwrap();
        let before = contents(&dir);
        let scanned =
            Log::scan(DirSource::open(&dir).unwrap(), ScanOptions::default(), &mut |_| {});
        for error in [scanned.map(drop).unwrap_err(), open(&dir).map(drop).unwrap_err()] {
            let Error::UnsupportedFormat { path, found, supported } = &error else {
                panic!("{error}")
            };
            assert_eq!((path, *found, *supported), (&files[index], VERSION + 1, VERSION));
            let text = error.to_string();
            for part in [files[index].to_str().unwrap(), "version 2", "up to 1", "newer release"] {
                assert!(text.contains(part), "{text}");
            }
        }
        assert!(contents(&dir) == before, "file {index}: something was changed");
    }
}
