//! What `wal inspect` shows, as JSON.

use std::path::Path;

use serde_json::{Value, json};
use wal_core::format::layout::{FILE_HEADER, FRAME_HEADER};

use super::fields::{self, file_fault, frame_fault, record_fault, record_kind};
use super::{Frame, Seen, Sight};
use crate::output::{corruption_json, hex, path_text};

pub(super) fn object(dir: &Path, sight: &Sight<'_>) -> Value {
    json!({
        "dir": path_text(dir),
        "lsn": sight.lsn.get(),
        "damage": sight.corruption.as_ref().map(corruption_json),
        "file": {
            "sequence": sight.file.sequence,
            "path": path_text(&sight.file.path),
            "bytes": sight.file.len,
            "base": sight.map.base.get(),
            "base_guessed": sight.map.guessed,
        },
        "header": {
            "offset": 0,
            "fields": field_list(&fields::read(FILE_HEADER, &sight.block, fields::file_flags)),
            "fault": sight.fault.map(file_fault),
        },
        "frame": sight.frame.as_ref().map(frame_object),
        "records": sight.records.iter().map(record_object).collect::<Vec<_>>(),
        "dump": { "offset": sight.dump_at, "hex": hex(&sight.dump) },
    })
}

fn frame_object(frame: &Frame) -> Value {
    json!({
        "lsn": frame.lsn.get(),
        "offset": frame.offset,
        "fields": field_list(&fields::read(FRAME_HEADER, &frame.bytes, fields::frame_flags)),
        "fault": frame.fault.map(frame_fault),
    })
}

fn field_list(values: &[fields::Value]) -> Vec<Value> {
    let object = |value: &fields::Value| {
        let number = value.number().map_or_else(|| json!(value.text()), |number| json!(number));
        let mut object =
            json!({ "name": value.field.name, "offset": value.field.offset, "value": number });
        if !value.meaning.is_empty() {
            object["meaning"] = json!(value.meaning);
        }
        object
    };
    values.iter().map(object).collect()
}

fn record_object(record: &Seen) -> Value {
    json!({
        "lsn": record.lsn.get(),
        "offset": record.offset,
        "length": record.len,
        "kind": record_kind(record.kind),
        "crc_stored": record.stored,
        "crc_computed": record.computed,
        "fault": record.fault.map(record_fault),
    })
}
