//! How records are printed.

use serde_json::{Value, json};
use wal_core::Lsn;

use crate::failure::Outcome;
use crate::output::{Output, hex};

/// What the commands that print records have in common.
#[derive(clap::Args)]
pub(crate) struct Shape {
    /// Print each record as its length (4 bytes, little-endian) and its bytes, instead of as a
    /// line.
    #[arg(long, conflicts_with = "json")]
    framed: bool,
    /// Print each record as a JSON object in a line: `lsn`, `end` (the position behind the
    /// record), and the payload as `text`, or as `hex` if it is not UTF-8.
    #[arg(long)]
    json: bool,
}

impl Shape {
    pub(crate) fn print(
        &self,
        output: &mut Output,
        lsn: Lsn,
        end: Lsn,
        payload: &[u8],
    ) -> Outcome<()> {
        if self.framed {
            // A record has less than 2^30 bytes.
            output.write(&(payload.len() as u32).to_le_bytes())?;
            return output.write(payload);
        }
        if self.json {
            let mut object = payload_json(payload);
            object["lsn"] = json!(lsn.get());
            object["end"] = json!(end.get());
            return output.line(&object.to_string());
        }
        output.write(payload)?;
        output.write(b"\n")
    }
}

/// A payload as `text`, or as `hex` if it is not UTF-8.
pub(crate) fn payload_json(payload: &[u8]) -> Value {
    match std::str::from_utf8(payload) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "hex": hex(payload) }),
    }
}
