"""Makes a TLA+ module of a trace: what each thread of a real log told its probe.

The trace is a file of JSON objects, one a line. The first says how the log was opened:

    {"event": "Open", "segments": 2, "segment_size": 4096, "record": 2016}

where `record` is the stored length of every record in bytes. Every other is one event of the probe
with its fields under the names of the code, and with the number of its `thread`. The threads only
append and sync; the sink blocks.

The specification counts records, not bytes, and gives headers and padding no room. So positions
are squeezed: a position of the stream becomes the number of records that end at or before it, as
the trace itself says where they lie. Everything else is compared as it is.
"""
import bisect
import json

import tlc

HEADER = 64  # bytes of a frame's header
WINDOW = 16  # events


def write(path, directory):
    """Writes the module and its configuration to `directory`; returns the configuration's path
    and where the module is."""
    opened, *events = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    record, capacity = opened["record"], (opened["segment_size"] - HEADER) // opened["record"]
    records = {event["lsn"] for event in events if event["event"] == "Reserve"}
    frames = {event["lsn"] for event in events if event["event"] == "Write"}
    # A frame that does not begin with a record of the ring was written directly, and is one.
    direct = {lsn for lsn in frames if lsn + HEADER not in records}
    ends = sorted({lsn + record for lsn in records} | {lsn + HEADER + 1 for lsn in direct})

    def squeeze(lsn):
        return bisect.bisect_right(ends, lsn)

    def numbers(event):
        match event["event"]:
            case "Reserve" | "Commit":
                return event["sequence"], squeeze(event["lsn"]), event["len"] // record
            case "Seal":
                return event["sequence"], (event["len"] - HEADER) // record
            case "Activate":
                return event["sequence"], squeeze(event["base"])
            case "HandOver" | "Recycle":
                return (event["sequence"],)
            case "Write" | "Sync":
                return (squeeze(event["lsn"]),)
            case "Publish":
                return squeeze(event["written"]), squeeze(event["durable"])
            case "Wake":
                return (event["waiters"],)
            case "Poison":
                return ()
        raise ValueError(f"{path}: {event}")

    threads = {}
    for line, event in enumerate(events, 2):
        told = ", ".join(map(str, (line, f'"{event["event"]}"', *numbers(event))))
        threads.setdefault(f'"t{event["thread"]}"', []).append(f"<<{told}>>")
    recorded = " @@\n    ".join(
        f"({thread} :> << {', '.join(told)} >>)" for thread, told in sorted(threads.items()))
    (directory / "TraceData.tla").write_text(
        "---- MODULE TraceData ----\nEXTENDS TraceWal\n"
        f"Recorded ==\n    {recorded}\n====\n")
    constants = {
        "Window": str(WINDOW), "Writers": f"{{{', '.join(sorted(threads))}}}",
        "NSeg": str(opened["segments"]), "Cap": str(capacity), "MaxOps": str(len(events)),
        "DirectLens": "{1}" if direct else "{}", "MaxDirect": str(len(direct)),
        "MaxErrors": str(sum(event["event"] == "Poison" for event in events)),
    }
    return tlc.configure("TraceWal", f"TraceWal-{path.stem}", constants), directory
