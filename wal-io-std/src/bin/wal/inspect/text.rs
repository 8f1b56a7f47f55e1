//! What `wal inspect` shows, for people.

use wal_core::format::layout::{FILE_HEADER, FRAME_HEADER};

use super::Sight;
use super::fields::{self, Value, agreement, file_fault, frame_fault, record_fault, record_kind};
use crate::failure::Outcome;
use crate::output::{Output, grouped};
use crate::paint::{Paint, Tone};
use crate::table::Table;

/// Bytes in a line of the dump.
const WIDTH: usize = 16;

pub(super) fn print(output: &mut Output, sight: &Sight<'_>) -> Outcome<()> {
    let paint = Paint::stdout();
    let (file, map) = (sight.file, &sight.map);
    let offset = map.offset_of(sight.lsn);
    output.line(&format!(
        "LSN {} is at offset {offset} of {} ({} bytes)",
        sight.lsn,
        file.path.display(),
        grouped(file.len)
    ))?;
    if let Some(corruption) = &sight.corruption {
        output.line(&paint.text(Tone::Bad, &corruption.to_string()))?;
    }
    if map.guessed {
        let text = "the header is no help: positions are those that the first intact frame tells";
        output.line(&paint.text(Tone::Doubtful, text))?;
    }

    output.line("")?;
    let fault = sight.fault.map(file_fault);
    heading(output, paint, "file header, at offset 0", fault.as_deref())?;
    if sight.block.iter().any(|byte| *byte != 0) {
        table(output, paint, &fields::read(FILE_HEADER, &sight.block, fields::file_flags), 0)?;
    }

    output.line("")?;
    let Some(frame) = &sight.frame else { return dump(output, paint, sight) };
    let text = format!("frame at LSN {}, offset {}", frame.lsn, frame.offset);
    heading(output, paint, &text, frame.fault.map(frame_fault))?;
    let values = fields::read(FRAME_HEADER, &frame.bytes, fields::frame_flags);
    table(output, paint, &values, frame.offset)?;
    if sight.lsn >= frame.end {
        output.line("the position lies behind its records, in the padding")?;
    }

    if !sight.records.is_empty() {
        output.line("")?;
        heading(output, paint, "records around", None)?;
        records(output, sight)?;
    }
    output.line("")?;
    dump(output, paint, sight)
}

fn heading(output: &mut Output, paint: Paint, text: &str, fault: Option<&str>) -> Outcome<()> {
    let verdict = match fault {
        None => paint.text(Tone::Good, "intact"),
        Some(fault) => paint.text(Tone::Bad, &format!("DAMAGED: {fault}")),
    };
    let text = paint.text(Tone::Strong, text);
    output.line(&if text.contains("records around") { text } else { format!("{text}: {verdict}") })
}

fn table(output: &mut Output, paint: Paint, values: &[Value], at: u64) -> Outcome<()> {
    for value in values {
        let tone = if value.meaning.starts_with("WRONG") { Tone::Bad } else { Tone::Faint };
        let line = format!(
            "  {:>8}  {:<20}  {:<20}  {}",
            at + value.field.offset as u64,
            value.field.name,
            value.text(),
            paint.text(tone, &value.meaning)
        );
        output.line(line.trim_end())?;
    }
    Ok(())
}

fn records(output: &mut Output, sight: &Sight<'_>) -> Outcome<()> {
    let mut table = Table::new(&["LSN", "offset", "length", "crc", "what"]);
    for record in &sight.records {
        let crc = match record.computed {
            Some(computed) => agreement(record.stored, computed),
            None => "unknown".into(),
        };
        let mut what = record_kind(record.kind).to_owned();
        if let Some(fault) = record.fault {
            what = format!("DAMAGED: {} ({what})", record_fault(fault));
        }
        if record.holds(sight.lsn) {
            what.push_str("  <- here");
        }
        table.row(vec![
            record.lsn.to_string(),
            record.offset.to_string(),
            record.len.to_string(),
            format!("0x{:08x} {crc}", record.stored),
            what,
        ]);
    }
    for line in table.lines() {
        output.line(&format!("  {line}"))?;
    }
    Ok(())
}

fn dump(output: &mut Output, paint: Paint, sight: &Sight<'_>) -> Outcome<()> {
    if sight.dump.is_empty() {
        return Ok(());
    }
    output.line(&paint.text(Tone::Strong, &format!("bytes from offset {} on", sight.dump_at)))?;
    for (number, line) in sight.dump.chunks(WIDTH).enumerate() {
        output.line(&dump_line(sight.dump_at + (number * WIDTH) as u64, line))?;
    }
    Ok(())
}

/// Offset, bytes, and those that can be printed.
fn dump_line(offset: u64, bytes: &[u8]) -> String {
    let mut line = format!("  {offset:08x} ");
    for at in 0..WIDTH {
        let gap = if at == WIDTH / 2 { "  " } else { " " };
        match bytes.get(at) {
            Some(byte) => line.push_str(&format!("{gap}{byte:02x}")),
            None => line.push_str(&format!("{gap}  ")),
        }
    }
    let printed = bytes.iter().map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    });
    line.push_str("  |");
    line.extend(printed);
    line.push('|');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_dump_has_offset_bytes_and_text() {
        assert_eq!(
            dump_line(0x1f0, b"WfRm\0\xff, and more"),
            "  000001f0  57 66 52 6d 00 ff 2c 20  61 6e 64 20 6d 6f 72 65  |WfRm.., and more|"
        );
        let short = dump_line(0, b"ab");
        assert_eq!(short, format!("  00000000  61 62{:45}|ab|", ""));
    }
}
