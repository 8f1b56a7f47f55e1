//! Bugs that show in real processes: killed, refused, starved of room, and tampered with.

use super::Layer::{Core, Crashes, Files, Lives};
use super::{Bug, Edit};

const DIR: &str = "wal-io-std/src/dir.rs";
const ERRORS: &str = "wal-core/src/sink/mod.rs";
const FILES: &str = "wal-io-std/src/files.rs";
const OPEN: &str = "wal-core/src/open.rs";
const SINK: &str = "wal-io-std/src/sink.rs";
const SOURCE: &str = "wal-io-std/src/source.rs";
const SUBMIT: &str = "wal-core/src/flush/submit.rs";
const SYS: &str = "wal-io-std/src/sys.rs";
const WAL: &str = "wal-core/src/wal.rs";

/// In the order of the scenarios.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "acknowledged-in-memory",
        what: "a wait for durability returns while the record is only in the ring",
        edits: &[Edit {
            file: WAL,
            find: "Durability::PowerLoss => Some(Need::Durable(past)),",
            replace: "Durability::PowerLoss => None,",
        }],
        caught_by: &[Crashes, Lives, Files("kill"), Core("crash")],
    },
    Bug {
        name: "opened-unfenced",
        what: "the file that opening begins does not say which one it follows",
        edits: &[Edit { file: OPEN, find: "prev: scan.last,", replace: "prev: None," }],
        caught_by: &[Crashes, Lives, Files("kill"), Files("log")],
    },
    Bug {
        name: "lock-not-exclusive",
        what: "a log that is open elsewhere is opened all the same",
        edits: &[Edit {
            file: SYS,
            find: "Err(TryLockError::WouldBlock) => Ok(false),",
            replace: "Err(TryLockError::WouldBlock) => Ok(true),",
        }],
        caught_by: &[Files("kill"), Files("directory"), Files("log")],
    },
    Bug {
        name: "sync-tried-again",
        what: "the file backend repeats a sync that failed, and believes the second answer",
        edits: &[Edit {
            file: SINK,
            find: "self.files.sync(|file| uninterrupted(|| layer.sync_data(&file.file)))",
            replace: "self.files.sync(|file| {
            uninterrupted(|| layer.sync_data(&file.file)).or_else(|_| layer.sync_data(&file.file))
        })",
        }],
        caught_by: &[Lives, Files("failing"), Files("write_sync")],
    },
    Bug {
        name: "sync-error-swallowed",
        what: "the file backend takes a failed sync for done",
        edits: &[Edit {
            file: SINK,
            find: "self.files.sync(|file| uninterrupted(|| layer.sync_data(&file.file)))",
            replace: "self.files.sync(|file| {
            let _ = uninterrupted(|| layer.sync_data(&file.file));
            Ok(())
        })",
        }],
        caught_by: &[Lives, Files("failing"), Files("write_sync")],
    },
    Bug {
        name: "write-error-swallowed",
        what: "the file backend takes a failed write for done",
        edits: &[Edit {
            file: SINK,
            find: "None => write_all_at(layer, &file.file, write.parts, write.offset),",
            replace: "None => {
                let _ = write_all_at(layer, &file.file, write.parts, write.offset);
                Ok(())
            }",
        }],
        caught_by: &[Lives, Files("failing"), Files("write_sync")],
    },
    Bug {
        name: "read-error-is-the-end",
        what: "a failed read is taken for the end of the file",
        edits: &[Edit {
            file: SOURCE,
            find:
                "        read_full_at(&self.dir.layer, file, buf, offset).map_err(self.dir.failed(
            SinkOp::Read,
            sequence,
            Some(offset),
        ))",
            replace: "        let _ = (SinkOp::Read, sequence);
        Ok(read_full_at(&self.dir.layer, file, buf, offset).unwrap_or(0))",
        }],
        caught_by: &[Lives, Files("failing"), Files("write_sync")],
    },
    Bug {
        name: "interruption-is-failure",
        what: "a call that a signal interrupted counts as failed",
        edits: &[Edit {
            file: SYS,
            find: "            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,",
            replace: "            result => return result,",
        }],
        caught_by: &[Files("failing"), Files("write_sync")],
    },
    Bug {
        name: "quota-is-failure",
        what: "an exhausted quota is not taken for a full disk",
        edits: &[Edit {
            file: ERRORS,
            find: "io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded",
            replace: "io::ErrorKind::StorageFull",
        }],
        caught_by: &[Files("failing"), Files("create")],
    },
    Bug {
        name: "full-disk-poisons",
        what: "a log is poisoned when there is no room for its next file",
        edits: &[Edit {
            file: SUBMIT,
            find: "let created = created.map_err(Failure::Harmless)?;",
            replace: "let created = created.map_err(Failure::Fatal)?;",
        }],
        caught_by: &[Files("disk"), Files("failing"), Core("failure")],
    },
    Bug {
        name: "full-disk-prevents-opening",
        what: "a log does not open while there is no room for its next file",
        edits: &[Edit {
            file: OPEN,
            find: "if cause.is_no_space() && scan.log_id.is_some() => {",
            replace: "if cause.is_no_space() && scan.log_id.is_some() && scan.end < scan.end => {",
        }],
        caught_by: &[Files("disk"), Core("failure")],
    },
    Bug {
        name: "start-given-up",
        what: "what a full disk kept opening from doing is forgotten at the first failure",
        edits: &[Edit {
            file: SUBMIT,
            find: "start.run(&shared.sink)?;",
            replace: "let _ = start.run(&shared.sink);",
        }],
        caught_by: &[Files("disk"), Core("failure")],
    },
    Bug {
        name: "nameless-file-believed",
        what: "a sync of a file that was removed counts",
        edits: &[Edit {
            file: FILES,
            find: "if self.linked && uninterrupted(|| layer.links(&self.file))? == 0 {",
            replace: "if self.linked && uninterrupted(|| layer.links(&self.file))? > 9 {",
        }],
        caught_by: &[Files("underneath")],
    },
    Bug {
        name: "cut-file-believed",
        what: "a sync of a file that was cut underneath counts",
        edits: &[Edit {
            file: FILES,
            find: "if self.made.is_some_and(|(capacity, _)| len < capacity) {",
            replace: "if self.made.is_some_and(|(capacity, _)| len > capacity) {",
        }],
        caught_by: &[Files("underneath")],
    },
    Bug {
        name: "another-directory",
        what: "a file is made in whatever directory has the log's path by now",
        edits: &[Edit {
            file: DIR,
            find: "if uninterrupted(|| self.layer.is_at(&self.handle, &self.path))? {",
            replace: "if uninterrupted(|| self.layer.is_at(&self.handle, &self.path)).is_ok() {",
        }],
        caught_by: &[Files("underneath")],
    },
    Bug {
        name: "lock-without-a-name",
        what: "a log goes on for ever whose lock another process can take",
        edits: &[Edit {
            file: DIR,
            find: "if uninterrupted(|| self.layer.is_at(&lock.file, &self.path.join(LOCK_NAME)))? {",
            replace: "if uninterrupted(|| self.layer.is_at(&lock.file, &self.path)).is_ok() {",
        }],
        caught_by: &[Files("underneath")],
    },
    Bug {
        name: "links-followed",
        what: "a symbolic link where a file should be is followed, or replaced",
        edits: &[Edit {
            file: SYS,
            find: "options.read(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);",
            replace: "options.read(true).custom_flags(0);",
        }],
        caught_by: &[Files("underneath")],
    },
    Bug {
        name: "removed-before-accepted",
        what: "opening removes files before recovery has accepted the log",
        edits: &[Edit {
            file: FILES,
            find: "    let (listing, leftovers) = dir.list()?;",
            replace: "    let (listing, leftovers) = dir.list()?;
    for path in &leftovers {
        let _ = dir.layer.remove(path);
    }",
        }],
        caught_by: &[Files("underneath"), Files("directory")],
    },
    Bug {
        name: "directories-are-files",
        what: "whatever has the name of a log file is taken for one",
        edits: &[Edit {
            file: DIR,
            find: "Some(name) if entry.is_file => classify(name),",
            replace: "Some(name) if entry.is_file || !name.is_empty() => classify(name),",
        }],
        caught_by: &[Files("underneath"), Files("directory")],
    },
];
