//! Waits as futures and a tail as a stream, on the runtimes that programs use: over real files whose
//! syncs and writes are held up, so that what must not wait for them is seen not to.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod runtimes;
mod support;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use futures_lite::StreamExt;
use futures_lite::future::{or, poll_once};
use runtimes::{Own, Runtime, Smol, Tokio, no_hang};
use support::{Call, Fault, Faulty, Gate, inline};
use wal_core::{Error, Options, Wal};
use wal_io_std::FileSink;

type Log = Wal<FileSink<Faulty>>;

/// 2 segments of 4 KiB in files of 64 KiB: appends wait for room, and logs go on in other files.
fn tiny() -> Options {
    Options::default().segment_size(4096).segments(2).file_size(64 << 10)
}

/// A log whose futures work on `runtime`, and what holds its calls up.
fn open<R: Runtime>(runtime: &R) -> (tempfile::TempDir, Faulty, Log) {
    let (dir, layer, sink) = inline();
    let (wal, _) = Wal::open(sink, runtime.executor(tiny())).unwrap();
    (dir, layer, wal)
}

/// Has the next `call` on a log file wait at a gate.
fn hold(layer: &Faulty, call: Call) -> Arc<Gate> {
    let gate = Arc::new(Gate::default());
    layer.inject(call, ".wal", 0, 1, Fault::Gate(Arc::clone(&gate)));
    gate
}

fn payloads(wal: &Log) -> Vec<Vec<u8>> {
    wal.iter_from(wal.start_lsn()).unwrap().map(|record| record.unwrap().payload).collect()
}

/// While one sync goes on, which ends only after others had so many turns on the same thread.
async fn turns_during_a_sync<R: Runtime>(runtime: R) {
    const TURNS: usize = 20;
    let (_dir, layer, wal) = open(&runtime);
    let gate = hold(&layer, Call::SyncData);
    let over = Arc::new(AtomicBool::new(false));
    let waiter = runtime.spawn({
        let (wal, over) = (wal.clone(), Arc::clone(&over));
        async move {
            let appended = wal.append_async(b"slow").await?;
            wal.durable(appended.lsn).await?;
            over.store(true, Ordering::SeqCst);
            Ok::<_, Error>(appended)
        }
    });
    let ticker = runtime.spawn({
        let (runtime, gate, over) = (runtime.clone(), Arc::clone(&gate), Arc::clone(&over));
        async move {
            let mut during = 0;
            while during < TURNS {
                runtime.tick().await;
                during += usize::from(gate.is_reached());
            }
            let waits = !over.load(Ordering::SeqCst);
            gate.open();
            waits
        }
    });
    assert!(ticker.await, "durable before the sync was over");
    let appended = waiter.await.unwrap();
    assert!(wal.durable_lsn() > appended.lsn);
    assert_eq!(wal.read_at(appended.lsn).unwrap(), b"slow");
}

/// Many tasks append more than the ring holds and wait, while one follows the log as a stream.
async fn tasks_and_a_stream<R: Runtime>(runtime: R) {
    const TASKS: usize = 32;
    const EACH: usize = 16;
    let (_dir, _, wal) = open(&runtime);
    let mut tail = wal.tail_from(wal.start_lsn()).unwrap();
    let reader = runtime.spawn(async move {
        let mut seen = Vec::new();
        while let Some(record) = StreamExt::next(&mut tail).await {
            seen.push(record.unwrap());
        }
        seen
    });
    let writers: Vec<_> = (0..TASKS)
        .map(|task| {
            let wal = wal.clone();
            runtime.spawn(async move {
                for n in 0..EACH {
                    let payload = [task as u8, n as u8].repeat(150);
                    let appended = wal.append_async(&payload).await.unwrap();
                    wal.durable(appended.lsn).await.unwrap();
                    assert!(wal.durable_lsn() > appended.lsn);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await;
    }
    let stats = wal.stats();
    assert!(stats.syncs > 0 && stats.syncs < (TASKS * EACH) as u64, "one commit for many");
    let there: Vec<_> = wal.iter_from(wal.start_lsn()).unwrap().map(Result::unwrap).collect();
    // Ends the stream. It blocks, which a task must leave to others.
    thread::spawn(move || wal.close().unwrap()).join().unwrap();
    let seen = reader.await;
    assert_eq!(seen.len(), TASKS * EACH);
    assert!(seen == there, "the stream is the log");
    for task in 0..TASKS as u8 {
        let own = seen.iter().filter(|record| record.payload[0] == task);
        assert!(own.map(|record| record.payload[1]).eq(0..EACH as u8), "order of task {task}");
    }
}

/// Waits that are given up, the first one among them, which has asked for the work: the others end.
async fn given_up<R: Runtime>(runtime: R) {
    const TASKS: usize = 8;
    let (_dir, layer, wal) = open(&runtime);
    let mut tail = wal.tail_from(wal.start_lsn()).unwrap();
    assert!(poll_once(StreamExt::next(&mut tail)).await.is_none(), "nothing is there");
    let gate = hold(&layer, Call::SyncData);
    let gone = Arc::new(AtomicUsize::new(0));
    let appended = wal.append_async(b"waited for").await.unwrap();
    let waiters: Vec<_> = (0..TASKS)
        .map(|task| {
            let (wal, gone, runtime) = (wal.clone(), Arc::clone(&gone), runtime.clone());
            runtime.clone().spawn(async move {
                let durable = async { Some(wal.durable(appended.lsn).await) };
                if task % 2 == 1 {
                    return durable.await;
                }
                // A timeout, or what else is selected from.
                let given_up = async {
                    runtime.tick().await;
                    None
                };
                let result = or(durable, given_up).await;
                gone.fetch_add(1, Ordering::SeqCst);
                result
            })
        })
        .collect();
    while !gate.is_reached() || gone.load(Ordering::SeqCst) < TASKS / 2 {
        runtime.tick().await;
    }
    // Tails that are dropped while they wait take nobody's wake-up along.
    let mut dropped = wal.tail_from(wal.start_lsn()).unwrap();
    assert!(
        poll_once(StreamExt::next(&mut dropped)).await.is_none()
            && poll_once(StreamExt::next(&mut tail)).await.is_none()
    );
    drop(dropped);
    gate.open();
    for (task, waiter) in waiters.into_iter().enumerate() {
        match waiter.await {
            None => assert_eq!(task % 2, 0),
            Some(result) => {
                result.unwrap();
                assert_eq!(task % 2, 1);
            }
        }
    }
    assert_eq!(StreamExt::next(&mut tail).await.unwrap().unwrap().payload, b"waited for");

    // The same for appends that wait for room: who gives up has appended nothing.
    let gate = hold(&layer, Call::Write);
    let mut expected = payloads(&wal);
    loop {
        let payload = vec![7; 1000];
        match poll_once(wal.append_async(&payload)).await {
            Some(appended) => expected.push(appended.map(|_| payload).unwrap()),
            None => break,
        }
    }
    let patient: Vec<_> = (0..4_u8)
        .map(|n| {
            let wal = wal.clone();
            runtime.spawn(async move { wal.append_async(&[n; 1000]).await })
        })
        .collect();
    let given_up = wal.append_async(b"given up");
    let none = or(async { Some(given_up.await) }, async {
        while !gate.is_reached() {
            runtime.tick().await;
        }
        None
    });
    assert!(none.await.is_none());
    gate.open();
    for task in patient {
        task.await.unwrap();
    }
    let last = wal.append_async(b"last").await.unwrap();
    wal.durable(last.lsn).await.unwrap();
    let mut there = payloads(&wal);
    let rest = there.split_off(expected.len());
    assert!(there == expected);
    assert_eq!(rest.len(), 5, "four that waited, and the last");
    assert_eq!(rest[4], b"last");
}

/// A thread that is none of the runtime's appends and waits on the same log.
async fn with_a_thread<R: Runtime>(runtime: R) {
    let (_dir, _, wal) = open(&runtime);
    let thread = thread::spawn({
        let wal = wal.clone();
        move || {
            for n in 0..50_u8 {
                let appended = wal.append(&[n; 1000]).unwrap();
                if n % 8 == 0 {
                    wal.wait_durable(appended.lsn).unwrap();
                }
            }
        }
    });
    for n in 0..50_u8 {
        let appended = wal.append_async(&[n; 1000]).await.unwrap();
        wal.durable(appended.lsn).await.unwrap();
    }
    while !thread.is_finished() {
        runtime.tick().await;
    }
    thread.join().unwrap();
    assert!(payloads(&wal).len() >= 50);
}

macro_rules! on {
    ($($name:ident: $runtime:ty,)+) => { $(
        mod $name {
            use super::*;

            fn run<F: Future<Output = ()> + Send + 'static>(test: fn($runtime) -> F) {
                no_hang(move || {
                    let runtime = <$runtime>::new();
                    runtime.block_on(test(runtime.clone()));
                });
            }

            #[test]
            fn a_slow_sync_leaves_the_thread_to_others() {
                run(turns_during_a_sync);
            }

            #[test]
            fn many_tasks_append_and_one_follows() {
                run(tasks_and_a_stream);
            }

            #[test]
            fn waits_that_are_given_up_leave_the_others_alone() {
                run(given_up);
            }

            #[test]
            fn tasks_and_threads_share_a_log() {
                run(with_a_thread);
            }
        }
    )+ };
}

on! {
    tokio_current_thread: Tokio<0>,
    tokio_multi_thread: Tokio<2>,
    smol: Smol,
    standard_library: Own,
}

/// The runtime that was to do the work is gone: a wait ends with an error, a thread can still do it.
#[test]
fn a_runtime_that_was_shut_down_is_an_error_and_no_hang() {
    no_hang(|| {
        let runtime = Tokio::<1>::new();
        let (_dir, _, wal) = open(&runtime);
        let appended = wal.append(b"left behind").unwrap();
        drop(runtime);
        let error = Own::new().block_on(wal.durable(appended.lsn)).unwrap_err();
        assert!(matches!(error, Error::NoExecutor), "{error}");
        wal.wait_durable(appended.lsn).unwrap();
    });
}

/// What has to compile: the futures can be given to any runtime as they are.
#[test]
fn futures_can_be_spawned() {
    fn spawnable<F: Future + Send + 'static>(future: F) -> F {
        future
    }
    fn send<F: Future + Send>(future: F) -> F {
        future
    }
    no_hang(|| {
        let runtime = Tokio::<2>::new();
        let (_dir, _, wal) = open(&runtime);
        runtime.clone().block_on(async move {
            let appended = send(wal.append_async(b"spawned")).await.unwrap();
            tokio::task::spawn(spawnable(wal.durable(appended.lsn))).await.unwrap().unwrap();
            let reached = wal.reached(appended.lsn, wal_core::Durability::ProcessCrash);
            tokio::task::spawn(spawnable(reached)).await.unwrap().unwrap();
            // What borrows its payload is spawned with it.
            let more = wal.clone();
            let task = async move { more.append_async(&[1; 100]).await };
            tokio::task::spawn(spawnable(task)).await.unwrap().unwrap();
            let mut tail = wal.tail_from(wal.start_lsn()).unwrap();
            let first =
                tokio::task::spawn(spawnable(async move { StreamExt::next(&mut tail).await }))
                    .await;
            assert_eq!(first.unwrap().unwrap().unwrap().payload, b"spawned");
        });
    });
}
