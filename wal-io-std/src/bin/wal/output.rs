//! Standard output, and reports as JSON.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::Path;

use serde_json::{Value, json};
use wal_core::{Corruption, Cut, RecoveryReport, Verdict};

use crate::failure::{Failure, Outcome};
use crate::paint::note;

/// Standard output, buffered in blocks.
pub(crate) struct Output {
    inner: BufWriter<StdoutLock<'static>>,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { inner: BufWriter::with_capacity(64 << 10, io::stdout().lock()) }
    }

    /// Writes all of `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.inner.write_all(bytes).map_err(|error| Failure::stdout(&error))
    }

    /// Writes `text` and ends the line.
    pub(crate) fn line(&mut self, text: &str) -> Outcome<()> {
        self.write(text.as_bytes())?;
        self.write(b"\n")
    }

    /// Hands on what there is so far.
    pub(crate) fn flush(&mut self) -> Outcome<()> {
        self.inner.flush().map_err(|error| Failure::stdout(&error))
    }

    /// Hands everything on. Without this, what is still buffered would fail unseen.
    pub(crate) fn finish(mut self) -> Outcome<()> {
        self.flush()
    }
}

/// The verdict in one word, as `--json` has it.
pub(crate) fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::New => "new",
        Verdict::Closed => "closed",
        Verdict::Clean => "clean",
        Verdict::Torn => "torn",
        Verdict::Ambiguous => "ambiguous",
        Verdict::Salvaged => "salvaged",
        _ => "unknown",
    }
}

/// A path as text; what is not UTF-8 in it is replaced.
pub(crate) fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What a log without corruption holds and how it ends.
pub(crate) fn sentence(report: &RecoveryReport) -> String {
    format!(
        "LSN {} to {}, {} records ({} bytes) in {} frames of {} files; {}",
        report.start,
        report.end,
        report.records,
        report.payload_bytes,
        report.frames,
        report.files,
        ending(report)
    )
}

/// Says on standard error what opening a log has done to it, unless that was nothing.
pub(crate) fn told_of_recovery(dir: &Path, report: &RecoveryReport) {
    if !matches!(report.verdict, Verdict::New | Verdict::Closed) {
        note(&format!("recovered {}: {}", dir.display(), sentence(report)));
        for path in &report.set_aside {
            note(&format!("what was cut off is kept in {}", path.display()));
        }
    }
}

/// How a log without corruption ends, without claiming that anything was cut.
pub(crate) fn ending(report: &RecoveryReport) -> String {
    let mut text = String::from(match report.verdict {
        Verdict::New => "nothing was ever appended",
        Verdict::Closed => "closed cleanly",
        Verdict::Clean => "a clean end, though not closed",
        Verdict::Torn => "a torn tail, which was never reported durable",
        Verdict::Ambiguous => {
            "a damaged last frame, of which nothing tells whether it had been reported durable \
             (most likely a torn write)"
        }
        _ => "an end of a kind that this tool does not know",
    });
    if let Some(cut) = &report.cut {
        text.push_str(&format!(
            "; opening the log cuts off {} bytes at LSN {} ({}, offset {}: {}) and keeps a copy",
            cut.bytes,
            cut.lsn,
            cut.path.display(),
            cut.offset,
            cut.reason
        ));
    }
    for path in &report.foreign {
        text.push_str(&format!("; no log file: {}", path.display()));
    }
    text
}

/// A report as JSON, without a verdict.
pub(crate) fn report_json(report: &RecoveryReport) -> Value {
    json!({
        "start": report.start.get(),
        "end": report.end.get(),
        "records": report.records,
        "payload_bytes": report.payload_bytes,
        "voids": report.voids,
        "frames": report.frames,
        "files_read": report.files,
        "cut": report.cut.as_ref().map(cut_json),
        "foreign": report.foreign.iter().map(|path| path_text(path)).collect::<Vec<_>>(),
    })
}

fn cut_json(cut: &Cut) -> Value {
    json!({
        "reason": cut.reason.to_string(),
        "lsn": cut.lsn.get(),
        "file": cut.file,
        "path": path_text(&cut.path),
        "offset": cut.offset,
        "bytes": cut.bytes,
    })
}

/// A corruption as JSON.
pub(crate) fn corruption_json(corruption: &Corruption) -> Value {
    json!({
        "reason": corruption.reason.to_string(),
        "lsn": corruption.lsn.get(),
        "file": corruption.file,
        "path": path_text(&corruption.path),
        "offset": corruption.offset,
        "bytes": corruption.len,
        "durable_up_to": corruption.proof.get(),
    })
}

/// `bytes` in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// `count` with its digits in groups of three.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_from_the_right() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (count, text) in cases {
            assert_eq!(grouped(count), text);
        }
    }

    #[test]
    fn bytes_become_two_digits_each() {
        assert_eq!(hex(&[0, 0x0f, 0xa5, 0xff]), "000fa5ff");
        assert_eq!(hex(&[]), "");
    }
}
