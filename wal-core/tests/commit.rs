//! Group commit, futures, and completions out of order.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use support::{Recorder, Rule, ScriptSink, open, payloads, tiny};
use wal_core::probe::Event;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Durability, Error, Lsn, Wal};

/// All who wait while one sync is under way are served by the next one: two syncs for N commits.
#[test]
fn one_sync_serves_everyone_who_waited_for_the_last() {
    let disk = MemDisk::new();
    let probe = Recorder::default();
    let (sink, control) = ScriptSink::open(&disk);
    let options = tiny().segment_size(64 << 10).file_size(1 << 20);
    let (wal, _) = Wal::open_with_probe(sink, options, probe.clone()).unwrap();
    let before = control.syncs();
    control.on_sync(Rule::Block);
    let appended = Barrier::new(21);
    thread::scope(|scope| {
        scope.spawn(|| wal.append_and_sync(b"leader").unwrap());
        control.await_blocked();
        for _ in 0..20 {
            scope.spawn(|| {
                let lsn = wal.append(b"follower").unwrap().lsn;
                appended.wait();
                wal.wait_durable(lsn).unwrap();
            });
        }
        appended.wait();
        control.on_sync(Rule::Pass);
    });
    assert_eq!(control.syncs() - before, 2);
    assert_eq!(wal.stats().syncs, 2);
    // The first leader wakes one of the others to lead next, and that one all the rest. (One or
    // two may have come too late to sleep.)
    let wakes = probe.events().into_iter().filter_map(|event| match event {
        Event::Wake { waiters } => Some(waiters),
        _ => None,
    });
    let wakes: Vec<_> = wakes.collect();
    assert!(wakes.len() <= 2 && wakes.iter().sum::<usize>() <= 20, "{wakes:?}");
    assert!(wakes.first().is_none_or(|&first| first == 1), "{wakes:?}");
}

/// A group that spans segments is written segment by segment and synced once.
#[test]
fn one_sync_covers_all_segments_of_a_group() {
    for depth in [1, 3] {
        let disk = MemDisk::new();
        let (sink, control) = ScriptSink::open(&disk);
        let (wal, _) = Wal::open(sink, tiny().segments(8).depth(depth)).unwrap();
        control.hold(if depth > 1 { depth } else { 0 });
        let (writes, syncs) = (control.writes(), control.syncs());
        for _ in 0..4 * 38 {
            wal.try_append(&[1; 92]).unwrap();
        }
        wal.sync().unwrap();
        assert_eq!((control.writes() - writes, control.syncs() - syncs), (4, 1), "{depth}");
    }
}

/// The durable watermark covers a contiguous prefix only, however the sink completes writes.
#[test]
fn writes_completing_out_of_order_never_leave_a_hole_behind_the_watermark() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let options = tiny().segments(6).depth(4);
    let (wal, _) = Wal::open(sink, options).unwrap();
    control.hold(4);
    thread::scope(|scope| {
        for t in 0..3u8 {
            let wal = &wal;
            scope.spawn(move || {
                for i in 0..200u8 {
                    let a = wal.append(&[t; 500]).unwrap();
                    if i % 20 == 0 {
                        wal.wait_durable(a.lsn).unwrap();
                        // Readable at once: everything before the watermark has been written.
                        assert_eq!(wal.read_at(a.lsn).unwrap(), [t; 500]);
                    }
                    if i % 50 == 0 {
                        wal.append(&[t; 9000]).unwrap();
                    }
                }
            });
        }
    });
    wal.sync().unwrap();
    assert_eq!(payloads(&wal).len(), 3 * 204);
    control.hold(0);
}

/// While somebody waits for durability, a segment's memory is kept until its bytes are durable and
/// not just written.
#[test]
fn a_segment_somebody_wants_durable_is_not_recycled_before() {
    let probe = Recorder::default();
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let options = tiny().segments(6).depth(4);
    let (wal, _) = Wal::open_with_probe(sink, options, probe.clone()).unwrap();
    control.hold(4);
    control.oldest_first();
    let mut last = None;
    for _ in 0..5 * 38 {
        last = Some(wal.try_append(&[1; 92]).unwrap());
    }
    wal.wait_durable(last.unwrap().lsn).unwrap();
    let (mut durable, mut recycled) = (Lsn::ZERO, 0);
    for event in probe.events() {
        match event {
            Event::Publish { durable: d, .. } => durable = d,
            Event::Recycle { sequence } => {
                recycled += 1;
                assert!(durable.get() >= (sequence + 1) * 4096, "{sequence} at {durable}");
            }
            _ => {}
        }
    }
    assert!(recycled >= 4, "{recycled}");
}

#[test]
fn levels_of_durability_cost_what_they_say() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let (wal, _) = Wal::open(sink, tiny()).unwrap();
    let (writes, syncs) = (control.writes(), control.syncs());
    let a = wal.append_with(b"memory", Durability::Memory).unwrap();
    assert_eq!((control.writes(), control.syncs()), (writes, syncs));
    assert!(wal.written_lsn() < a.end);
    let b = wal.append_with(b"process", Durability::ProcessCrash).unwrap();
    assert_eq!((control.writes(), control.syncs()), (writes + 1, syncs));
    assert!(wal.written_lsn() >= b.end && wal.durable_lsn() <= a.lsn);
    let c = wal.append_with(b"power", Durability::PowerLoss).unwrap();
    assert_eq!((control.writes(), control.syncs()), (writes + 2, syncs + 1));
    assert!(wal.durable_lsn() >= c.end);
}

struct CountingWaker(AtomicUsize, thread::Thread);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.unpark();
    }
}

/// A hand-written executor: polls on this thread, parks in between.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Arc::new(CountingWaker(AtomicUsize::new(0), thread::current()));
    let waker = Waker::from(waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// An executor of one thread that counts its jobs.
fn worker() -> (impl Fn(Job) + Send + Sync + 'static, thread::JoinHandle<usize>) {
    let (send, receive) = mpsc::channel::<Job>();
    let handle = thread::spawn(move || {
        let mut jobs = 0;
        for job in receive {
            job();
            jobs += 1;
        }
        jobs
    });
    (move |job| send.send(job).unwrap(), handle)
}

/// A poll never runs the sink: it returns while the sink is blocked, and the task that has polled last
/// is woken later.
#[test]
fn a_pending_commit_does_not_block_the_polling_thread() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let (executor, handle) = worker();
    let (wal, _) = Wal::open(sink, tiny().executor(executor)).unwrap();
    control.on_sync(Rule::Block);
    let a = wal.append(b"a").unwrap();
    let wakers = [(); 2].map(|()| Arc::new(CountingWaker(AtomicUsize::new(0), thread::current())));
    let woken = || [0, 1].map(|task: usize| wakers[task].0.load(Ordering::SeqCst));
    {
        let mut future = pin!(wal.durable(a.lsn));
        let [first, task] = [0, 1].map(|task: usize| Waker::from(Arc::clone(&wakers[task])));
        assert!(future.as_mut().poll(&mut Context::from_waker(&first)).is_pending());
        control.await_blocked();
        assert!(future.as_mut().poll(&mut Context::from_waker(&task)).is_pending());
        control.on_sync(Rule::Pass);
        while woken() == [0, 0] {
            thread::park();
        }
        assert_eq!(woken(), [0, 1]);
        assert!(future.as_mut().poll(&mut Context::from_waker(&task)).is_ready());
    }
    assert_eq!(wal.read_at(a.lsn).unwrap(), b"a");
    // More than the ring holds, by futures alone.
    block_on(async {
        for _ in 0..300 {
            wal.append_async(&[7; 300]).await.unwrap();
        }
        let last = wal.append_async(b"last").await.unwrap();
        wal.durable(last.lsn).await.unwrap();
    });
    assert_eq!(payloads(&wal).len(), 302);
    drop(wal);
    assert!(handle.join().unwrap() > 0);
}

/// A future that is dropped after it was woken passes the wake-up on.
#[test]
fn dropped_futures_lose_no_wake_up() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let (executor, handle) = worker();
    let (wal, _) = Wal::open(sink, tiny().executor(executor)).unwrap();
    for round in 0..200 {
        let straggler = wal.reserve(10).unwrap();
        let a = wal.append(b"a").unwrap();
        let noop = Waker::noop();
        let mut dropped: Vec<_> = (0..4).map(|_| Box::pin(wal.durable(a.lsn))).collect();
        for future in &mut dropped {
            let _ = future.as_mut().poll(&mut Context::from_waker(noop));
        }
        thread::scope(|scope| {
            let waiting = scope.spawn(|| wal.wait_durable(a.lsn));
            if round % 2 == 0 {
                drop(straggler);
                drop(dropped);
            } else {
                drop(dropped);
                drop(straggler);
            }
            waiting.join().unwrap().unwrap();
        });
    }
    drop(control);
    drop(wal);
    handle.join().unwrap();
}

/// A writer that leaves its segment just when the leader gives up waiting for it, over and over:
/// either the leader sees it or it sees the leader.
#[test]
fn a_straggler_and_a_leader_never_miss_each_other() {
    let wal = open(&MemDisk::new(), tiny());
    let (to_straggler, turns) = mpsc::channel::<u32>();
    let (ready, to_leader) = mpsc::channel();
    thread::scope(|scope| {
        let wal = &wal;
        scope.spawn(move || {
            for delay in turns {
                let reservation = wal.reserve(8).unwrap();
                ready.send(()).unwrap();
                for _ in 0..delay {
                    std::hint::spin_loop();
                }
                reservation.commit().unwrap();
            }
        });
        for round in 0..5_000 {
            to_straggler.send(round % 60).unwrap();
            to_leader.recv().unwrap();
            let a = wal.append(b"a").unwrap();
            wal.wait_durable(a.lsn).unwrap();
        }
        drop(to_straggler);
    });
}

/// Tasks that begin to wait just when the executor's job runs out of work, over and over.
#[test]
fn a_job_that_ends_and_a_task_that_begins_to_wait_never_miss_each_other() {
    let (executor, handle) = worker();
    let wal = open(&MemDisk::new(), tiny().segments(4).executor(executor));
    // One task alone: nobody else's wait would save it.
    for _ in 0..3_000 {
        let a = wal.append(b"a").unwrap();
        block_on(wal.durable(a.lsn)).unwrap();
    }
    drop(wal);
    handle.join().unwrap();
}

#[test]
fn a_blocking_sink_without_an_executor_is_an_error_that_says_what_to_set() {
    let disk = MemDisk::new();
    let (sink, _control) = ScriptSink::open(&disk);
    let (wal, _) = Wal::open(sink, tiny()).unwrap();
    let a = wal.append(b"a").unwrap();
    let error = block_on(wal.durable(a.lsn)).unwrap_err();
    assert!(matches!(error, Error::NoExecutor));
    assert!(error.to_string().contains("Options::executor"));
    wal.sync().unwrap();
    block_on(wal.durable(a.lsn)).unwrap();
}

/// An executor that drops its jobs (a runtime shutting down) ends the waits instead of hanging them.
#[test]
fn an_executor_that_drops_its_jobs_ends_the_wait() {
    let disk = MemDisk::new();
    let (sink, _control) = ScriptSink::open(&disk);
    let (wal, _) = Wal::open(sink, tiny().executor(|job: Job| drop(job))).unwrap();
    let a = wal.append(b"a").unwrap();
    assert!(matches!(block_on(wal.durable(a.lsn)), Err(Error::NoExecutor)));
    wal.wait_durable(a.lsn).unwrap();
}

/// A job that the executor has not come to does not keep a closed log open.
#[test]
fn a_job_in_the_queue_keeps_no_log_open() {
    let queue = Arc::new(Mutex::new(Vec::<Job>::new()));
    let later = Arc::clone(&queue);
    let disk = MemDisk::new();
    let executor = move |job: Job| later.lock().unwrap().push(job);
    let wal = open(&disk, tiny().executor(executor));
    let a = wal.append(b"a").unwrap();
    let mut future = Box::pin(wal.durable(a.lsn));
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(future);
    wal.close().unwrap();
    let wal = open(&disk, tiny());
    assert_eq!(payloads(&wal), [b"a"]);
    let jobs = std::mem::take(&mut *queue.lock().unwrap());
    assert_eq!(jobs.len(), 1);
    jobs.into_iter().for_each(|job| job());
}

/// A thread of the executor's own, the only one, may wait: it does the work that it waits for.
#[test]
fn waiting_on_the_executors_only_thread_is_no_deadlock() {
    let (send, receive) = mpsc::channel::<Job>();
    let (jobs, done) = (send.clone(), mpsc::channel());
    let wal = open(&MemDisk::new(), tiny().executor(move |job: Job| send.send(job).unwrap()));
    let straggler = wal.reserve(8).unwrap();
    let waiting = wal.clone();
    let (sent, done) = done;
    jobs.send(Box::new(move || {
        let a = waiting.append(b"a").unwrap();
        sent.send(waiting.wait_durable(a.lsn)).unwrap();
    }))
    .unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // Ends with the first job: the pool is busy with it until then.
            let job = receive.recv().unwrap();
            job();
        });
        thread::sleep(std::time::Duration::from_millis(30));
        straggler.commit().unwrap();
        done.recv_timeout(std::time::Duration::from_secs(20)).expect("deadlock").unwrap();
    });
}

/// Closing lets in-flight reservations finish, refuses the rest, and is durable to the end.
#[test]
fn close_waits_for_reservations_and_refuses_everyone_after() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let mut reservation = wal.reserve(3).unwrap();
    reservation.copy_from_slice(b"abc");
    let other = wal.clone();
    thread::scope(|scope| {
        let closing = scope.spawn(|| other.close());
        while wal.append(b"x").is_ok() {}
        assert!(matches!(wal.append(b"y"), Err(Error::Closed)));
        assert!(!closing.is_finished());
        reservation.commit().unwrap();
        closing.join().unwrap().unwrap();
    });
    assert!(matches!(wal.clone().close(), Err(Error::Closed)));
    let records = payloads(&wal);
    assert_eq!(records[0], b"abc");
    drop(wal);
    assert!(payloads(&open(&disk.crash(), tiny())) == records);
}

/// Nothing can be reserved any more once the last segment is sealed.
#[test]
fn no_segment_is_activated_behind_a_close_mark() {
    let probe = Recorder::default();
    let sink = MemSink::open(&MemDisk::new()).unwrap();
    let (wal, _) = Wal::open_with_probe(sink, tiny(), probe.clone()).unwrap();
    wal.append(b"last").unwrap();
    wal.close().unwrap();
    let events = probe.events();
    let last = |wanted: fn(&Event) -> bool| events.iter().rposition(wanted).unwrap();
    assert!(
        last(|e| matches!(e, Event::Activate { .. })) < last(|e| matches!(e, Event::Seal { .. }))
    );
}

/// Closing a log whose ring is full, with writers asleep.
#[test]
fn close_works_on_a_full_ring_and_ends_the_sleep_of_writers() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let (wal, _) = Wal::open(sink, tiny()).unwrap();
    while wal.try_append(&[1; 500]).is_ok() {}
    control.on_write(Rule::Block);
    thread::scope(|scope| {
        let sleepers: Vec<_> = (0..3).map(|_| scope.spawn(|| wal.append(b"late"))).collect();
        control.await_blocked();
        let other = wal.clone();
        let closing = scope.spawn(move || other.close());
        control.on_write(Rule::Pass);
        closing.join().unwrap().unwrap();
        for sleeper in sleepers {
            let result = sleeper.join().unwrap();
            assert!(matches!(result, Ok(_) | Err(Error::Closed)), "{result:?}");
        }
    });
}
