//! What a measurement has cost beside time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::Mount;

/// Processor time of all threads of this process so far, the kernel's work for them included; not
/// that of the kernel's own threads.
#[must_use]
pub fn cpu() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The disk of a directory.
///
/// The kernel's count for a process is no substitute: it counts what was made dirty, in pieces of
/// the page cache of up to a megabyte, of which only some sectors may be written.
#[derive(Clone, Debug)]
pub struct Disk {
    counters: Option<PathBuf>,
}

impl Disk {
    /// The disk that `dir` is on.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        let counters = |mount: Mount| format!("/sys/dev/block/{}/stat", mount.device).into();
        Self { counters: Mount::of(dir).map(counters) }
    }

    /// Bytes written to it so far, by everybody; `None` where the system does not tell.
    #[must_use]
    pub fn written(&self) -> Option<u64> {
        let counters = fs::read_to_string(self.counters.as_ref()?).ok()?;
        // Of 512 bytes, whatever the disk's are.
        let sectors: u64 = counters.split_whitespace().nth(6)?.parse().ok()?;
        Some(sectors * 512)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn work_is_seen() {
        let (before, began) = (cpu(), std::time::Instant::now());
        // Until it is: somebody else may have the processor.
        while cpu() < before + Duration::from_millis(5) {
            assert!(began.elapsed() < Duration::from_secs(60), "{before:?}");
        }
    }

    #[test]
    fn written_bytes_are_seen() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let disk = Disk::of(dir);
        let Some(before) = disk.written() else {
            eprintln!("skipped: nobody says what is written to the disk of {}", dir.display());
            return;
        };
        let mut file = tempfile::tempfile_in(dir).unwrap();
        file.write_all(&vec![1; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        let written = disk.written().unwrap_or(0) - before;
        assert!(written >= 1 << 20, "{written}");
    }
}
