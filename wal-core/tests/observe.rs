//! What a subscriber of `tracing` and a recorder of `metrics` are told: names, fields, values.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]
#![cfg(not(any(wal_loom, wal_shuttle)))]

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use support::{Rule, ScriptSink, tiny};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use wal_core::sink::SegmentSink;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Error, Lsn, Options, Wal};

type Fields = BTreeMap<&'static str, String>;

/// A span that is over, or an event.
#[derive(Clone, Debug)]
struct Told {
    name: &'static str,
    level: Level,
    fields: Fields,
    /// The span around it.
    parent: Option<&'static str>,
}

impl Told {
    #[track_caller]
    fn check(&self, name: &str, level: Level, fields: &[(&str, &str)]) {
        assert_eq!((self.name, self.level), (name, level), "{self:?}");
        let mut expected = vec![("log", "orders")];
        expected.extend(fields);
        let expected: BTreeMap<_, _> = expected.into_iter().collect();
        let found: BTreeMap<_, _> = self.fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
        assert_eq!(found, expected, "{name}");
    }
}

/// Keeps every span of the log when it closes, and every event.
#[derive(Clone, Default)]
struct Keep(Arc<Mutex<Vec<Told>>>);

impl Keep {
    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Into<'a>(&'a mut Fields);

impl Visit for Into<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Keep {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Into(&mut fields));
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(&mut Into(span.extensions_mut().get_mut().unwrap()));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Into(&mut fields));
        let (name, level) = (event.metadata().name(), *event.metadata().level());
        let parent = context.event_span(event).map(|span| span.name());
        self.0.lock().unwrap().push(Told { name, level, fields, parent });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let fields = span.extensions_mut().remove().unwrap();
        let (name, level) = (span.name(), *span.metadata().level());
        let parent = span.parent().map(|span| span.name());
        self.0.lock().unwrap().push(Told { name, level, fields, parent });
    }
}

/// One test at a time: whether anybody listens to a span is remembered for all threads.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `body` under a subscriber that keeps everything.
fn traced(body: impl FnOnce(&Keep)) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let keep = Keep::default();
    let subscriber = tracing_subscriber::registry().with(keep.clone());
    tracing::subscriber::with_default(subscriber, || body(&keep));
}

/// Appends and syncs records, a frame each, four frames a file.
fn fill<S: SegmentSink>(wal: &Wal<S>, count: u8) {
    (0..count).for_each(|n| {
        wal.append_and_sync(&[n; 3500]).unwrap();
    });
}

fn options() -> Options {
    tiny().name("orders")
}

#[test]
fn every_operation_has_its_span_with_what_has_come_of_it() {
    traced(|keep| {
        let disk = MemDisk::new();
        let (wal, _) = Wal::open(MemSink::open(&disk).unwrap(), options()).unwrap();
        let told = keep.take();
        let new = [("verdict", "New"), ("start", "0"), ("end", "0"), ("records", "0")];
        told[0].check(
            "wal.recover",
            Level::INFO,
            &[&new[..], &[("frames", "0"), ("files", "0")]].concat(),
        );
        assert_eq!(told[0].parent, Some("wal.open"));
        told[1].check("wal.open", Level::INFO, &[("file", "1"), ("lsn", "0")]);
        assert_eq!(told.len(), 2);

        // An append is told of by nobody.
        let first = wal.append(&[0; 100]).unwrap();
        assert_eq!(keep.take().len(), 0);
        wal.sync().unwrap();
        let told = keep.take();
        told[0].check(
            "wal.sync",
            Level::DEBUG,
            &[("from", "0"), ("to", "4096"), ("bytes", "4096")],
        );
        assert_eq!(told.len(), 1);

        fill(&wal, 4);
        let told = keep.take();
        let rotation = told.iter().find(|told| told.name == "wal.rotate").unwrap();
        rotation.check("wal.rotate", Level::DEBUG, &[("file", "2"), ("lsn", "16384")]);
        assert_eq!(told.len(), 5);

        let hold = wal.hold("reader", first.lsn).unwrap();
        wal.truncate_before(Lsn::MAX).unwrap();
        let max = u64::MAX.to_string();
        let held = [("lsn", &*max), ("start", "0"), ("files", "0"), ("held_by", "reader")];
        keep.take()[0].check("wal.truncate", Level::INFO, &held);
        drop(hold);
        wal.truncate_before(Lsn::MAX).unwrap();
        let freed = [("lsn", &*max), ("start", "16384"), ("files", "1")];
        keep.take()[0].check("wal.truncate", Level::INFO, &freed);

        let cut_at = wal.append(&[9; 100]).unwrap().lsn;
        let next = wal.truncate_after(cut_at).unwrap();
        let told = keep.take();
        let cut = told.last().unwrap();
        let (at, next) = (cut_at.to_string(), next.to_string());
        cut.check("wal.cut", Level::INFO, &[("lsn", &at), ("next", &next)]);
        // What it takes is within.
        assert!(told.iter().any(|told| told.name == "wal.sync" && told.parent == Some("wal.cut")));
    });
}

#[test]
fn what_fails_says_why() {
    traced(|keep| {
        let disk = MemDisk::new();
        assert!(Wal::open(MemSink::open(&disk).unwrap(), options().segments(1)).is_err());
        let told = keep.take();
        let error = "option `segments` is 1, but must be 2 to 1024 segments";
        told[0].check("wal.open", Level::INFO, &[("error", error)]);

        let (sink, control) = ScriptSink::open(&disk);
        let wal = Wal::open(sink, options()).unwrap().0;
        fill(&wal, 4);
        keep.take();
        control.on_create(Rule::Fail(ErrorKind::StorageFull));
        assert!(wal.append_and_sync(&[4; 3500]).unwrap_err().is_no_space());
        let full = "creating a log file failed: no storage space";
        let rotation = [("file", "2"), ("lsn", "16384"), ("error", full)];
        keep.take()[0].check("wal.rotate", Level::DEBUG, &rotation);
        control.on_create(Rule::Pass);
        wal.sync().unwrap();

        keep.take();
        control.on_remove(Rule::Fail(ErrorKind::Other));
        assert!(wal.truncate_before(Lsn::MAX).is_err());
        let max = u64::MAX.to_string();
        let refused = [("lsn", &*max), ("error", "removing a log file failed: other error")];
        keep.take()[0].check("wal.truncate", Level::INFO, &refused);

        control.on_sync(Rule::Fail(ErrorKind::TimedOut));
        assert!(matches!(wal.append_and_sync(b"x"), Err(Error::Poisoned { .. })));
        let told = keep.take();
        assert_eq!(told[0].name, "wal.sync");
        let message = "the log is poisoned: it accepts and acknowledges nothing more until it is opened again";
        let cause = "syncing failed: timed out";
        let fields = [("cause", cause), ("op", "syncing"), ("message", message)];
        told[1].check("wal.poisoned", Level::ERROR, &fields);
        // Once, whoever comes after.
        assert!(wal.append(b"y").is_err() && wal.sync().is_err());
        assert_eq!((told.len(), keep.take().len()), (2, 0));
    });
}

/// The value of every metric by its name, all of them of one log.
fn values(snapshotter: &Snapshotter) -> BTreeMap<String, DebugValue> {
    let all = snapshotter.snapshot().into_vec().into_iter();
    all.map(|(key, _, description, value)| {
        let key = key.key();
        let labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
        assert_eq!(labels, [("log", "orders")]);
        assert!(description.is_some(), "{} is not described", key.name());
        (key.name().to_owned(), value)
    })
    .collect()
}

fn counter(values: &BTreeMap<String, DebugValue>, name: &str) -> u64 {
    match values.get(name) {
        Some(DebugValue::Counter(value)) => *value,
        other => panic!("{name}: {other:?}"),
    }
}

fn gauge(values: &BTreeMap<String, DebugValue>, name: &str) -> f64 {
    match values.get(name) {
        Some(DebugValue::Gauge(value)) => value.into_inner(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn every_number_has_its_metric() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let (sink, control) = ScriptSink::open(&MemDisk::new());
    let ticks = AtomicU64::new(0);
    let clock = move || Duration::from_millis(ticks.fetch_add(3, Ordering::Relaxed));
    let wal = metrics::with_local_recorder(&recorder, || {
        Wal::open(sink, options().clock(clock)).unwrap().0
    });
    let names: Vec<_> = values(&snapshotter).into_keys().collect();
    // As the README lists them.
    let readme = include_str!("../README.md");
    let listed = readme.lines().filter_map(|line| line.strip_prefix("| `wal_")?.split('`').next());
    let mut listed: Vec<_> = listed.map(|name| format!("wal_{name}")).collect();
    listed.sort();
    assert_eq!(names, listed);

    fill(&wal, 18);
    let now = values(&snapshotter);
    for (name, expected) in [
        ("wal_records_total", 18),
        ("wal_frames_total", 18),
        ("wal_syncs_total", 18),
        ("wal_rotations_total", 4),
        ("wal_truncated_files_total", 0),
        ("wal_cuts_total", 0),
        ("wal_stalls_total", 0),
        ("wal_stalled_appends_total", 0),
    ] {
        assert_eq!(counter(&now, name), expected, "{name}");
    }
    assert_eq!(counter(&now, "wal_bytes_total"), wal.stats().bytes);
    match &now["wal_sync_seconds"] {
        DebugValue::Histogram(times) => {
            let times: Vec<_> = times.iter().map(|time| time.into_inner()).collect();
            assert_eq!(times, [0.003; 18]);
        }
        other => panic!("{other:?}"),
    }

    let lsn = wal.read_at(wal.next_lsn()).err().and_then(|error| error.lsn()).unwrap();
    let _hold = wal.hold("reader", Lsn::new(20_000)).unwrap();
    wal.truncate_before(Lsn::MAX).unwrap();
    wal.append(&[1; 100]).unwrap();
    let stats = wal.stats();
    let now = values(&snapshotter);
    for (name, expected) in [
        ("wal_lag_bytes", stats.lag() as f64),
        ("wal_ring_segments", 2.0),
        ("wal_ring_free_segments", 1.0),
        ("wal_files", 4.0),
        ("wal_file_bytes", 4.0 * 5.0 * 4096.0),
        ("wal_spare_files", 0.0),
        ("wal_holds", 1.0),
        ("wal_held_bytes", stats.next.get() as f64 - 20_000.0),
        ("wal_poisoned", 0.0),
    ] {
        assert_eq!(gauge(&now, name), expected, "{name}");
    }
    assert_eq!(counter(&now, "wal_truncated_files_total"), 1);
    wal.truncate_after(lsn).unwrap();
    assert_eq!(counter(&values(&snapshotter), "wal_cuts_total"), 1);

    control.on_sync(Rule::Fail(ErrorKind::Other));
    assert!(wal.append_and_sync(b"x").is_err());
    assert_eq!(gauge(&values(&snapshotter), "wal_poisoned"), 1.0);
}
