//! Fields of headers as they lie there, whether they make sense or not.

use wal_core::format::checksum::crc32c;
use wal_core::format::layout::Field;
use wal_core::format::{file_header, frame, record};

use crate::output::hex;

/// A field and what it holds.
pub(super) struct Value {
    pub(super) field: Field,
    pub(super) bytes: Vec<u8>,
    /// What that means, if it needs saying.
    pub(super) meaning: String,
}

impl Value {
    /// The value as a number; `None` if it is none.
    pub(super) fn number(&self) -> Option<u64> {
        let number = self.bytes.len() <= 8 && self.field.name != "magic";
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        number.then(|| self.bytes.iter().rev().fold(0, fold))
    }

    /// The value as it is written: positions and lengths in decimal, the rest in hexadecimal.
    pub(super) fn text(&self) -> String {
        let plain = ["salt", "crc", "flags"].iter().all(|part| !self.field.name.contains(part));
        match self.number() {
            Some(number) if plain => number.to_string(),
            Some(number) => format!("0x{number:0width$x}", width = self.bytes.len() * 2),
            None => hex(&self.bytes),
        }
    }
}

/// The fields of `table` in `bytes`, as far as there are so many. The last one is the checksum of
/// everything before it.
pub(super) fn read(table: &[Field], bytes: &[u8], flags: fn(u64) -> String) -> Vec<Value> {
    let mut values = Vec::with_capacity(table.len());
    for field in table {
        let Some(found) = bytes.get(field.offset..field.offset + field.len) else { break };
        let mut value = Value { field: *field, bytes: found.to_vec(), meaning: String::new() };
        match field.name {
            "flags" => value.meaning = flags(value.number().unwrap_or(0)),
            "crc" => {
                let computed = crc32c(&bytes[..field.offset]);
                value.meaning = agreement(value.number().unwrap_or(0) as u32, computed);
            }
            _ => {}
        }
        values.push(value);
    }
    values
}

/// Whether a stored checksum is the computed one.
pub(super) fn agreement(stored: u32, computed: u32) -> String {
    if stored == computed { "right".into() } else { format!("WRONG: 0x{computed:08x} computed") }
}

pub(super) fn file_flags(flags: u64) -> String {
    let names = [(1, "recovered"), (2, "recycled"), (4, "in place")];
    let mut found: Vec<&str> =
        names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    if flags & !7 != 0 {
        found.push("unknown bits");
    }
    found.join(", ")
}

pub(super) fn frame_flags(flags: u64) -> String {
    let name = match flags {
        0 => "data",
        1 => "mark",
        3 => "close",
        4 => "void",
        _ => "unknown",
    };
    name.into()
}

pub(super) const fn record_kind(kind: Option<record::Kind>) -> &'static str {
    match kind {
        Some(record::Kind::Data) => "data",
        Some(record::Kind::DataMore) => "data, batch goes on",
        Some(record::Kind::Void) => "void",
        None => "unknown",
    }
}

pub(super) fn file_fault(fault: file_header::Fault) -> String {
    use file_header::Fault;
    match fault {
        Fault::Unused => "all zeros: the file was prepared and not used yet".into(),
        Fault::Short => "the file is shorter than a header".into(),
        Fault::Magic => "it does not begin like a log file".into(),
        Fault::Checksum => "the checksum is wrong".into(),
        Fault::Version(version) => format!("intact, but of format version {version}: newer"),
        Fault::Field(name) => format!("intact, but no writer writes this `{name}`"),
    }
}

pub(super) const fn frame_fault(fault: frame::Fault) -> &'static str {
    use frame::Fault;
    match fault {
        Fault::Short => "the file ends within it",
        Fault::Magic => "there is none, or its first bytes are damaged",
        Fault::Checksum => "the checksum is wrong",
        Fault::Salt => "intact, but written to another file or an earlier life of this one",
        Fault::Lsn => "intact, but written for another position",
        Fault::Flags => "intact, but no writer writes these flags",
        Fault::Length => "intact, but its length cannot be",
        Fault::Durable => "intact, but it claims a watermark behind its own position",
        Fault::Reserved => "intact, but reserved bytes are not zero",
    }
}

pub(super) const fn record_fault(fault: record::Fault) -> &'static str {
    use record::Fault;
    match fault {
        Fault::Length => "its length does not fit",
        Fault::Kind => "its flags form no known kind",
        Fault::Checksum => "the checksum is wrong",
    }
}
