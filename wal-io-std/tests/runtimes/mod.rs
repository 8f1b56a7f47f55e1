//! The runtimes that a log's futures have to work on, behind what they have in common.
#![allow(unreachable_pub, reason = "a module of a test binary")]
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_lite::future::yield_now;
use wal_core::Options;

pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Job = Box<dyn FnOnce() + Send>;

/// What a test needs of a runtime.
pub trait Runtime: Clone + Send + Sync + 'static {
    fn new() -> Self;
    /// The hook of this runtime, as a program would set it.
    fn executor(&self, options: Options) -> Options;
    fn block_on<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T;
    /// Runs a task; the future is its outcome.
    fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Boxed<T>;
    /// Lets time pass for the others: by the timer of the runtime, if it has one.
    fn tick(&self) -> Boxed<()>;
}

/// Tokio, on the thread that calls `block_on` or on `THREADS` of its own.
#[derive(Clone)]
pub struct Tokio<const THREADS: usize>(Arc<tokio::runtime::Runtime>);

impl<const THREADS: usize> Runtime for Tokio<THREADS> {
    fn new() -> Self {
        let mut builder = match THREADS {
            0 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let built = builder.worker_threads(THREADS.max(1)).enable_time().build();
        Self(Arc::new(built.unwrap()))
    }

    fn executor(&self, options: Options) -> Options {
        let runtime = self.0.handle().clone();
        options.executor(move |job| drop(runtime.spawn_blocking(job)))
    }

    fn block_on<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Boxed<T> {
        let task = self.0.spawn(future);
        Box::pin(async { task.await.unwrap() })
    }

    fn tick(&self) -> Boxed<()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(1)))
    }
}

/// The executor of smol, and its pool of threads that may block.
#[derive(Clone)]
pub struct Smol(Arc<async_executor::Executor<'static>>);

impl Runtime for Smol {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn executor(&self, options: Options) -> Options {
        options.executor(|job| blocking::unblock(job).detach())
    }

    fn block_on<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        futures_lite::future::block_on(self.0.run(future))
    }

    fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Boxed<T> {
        Box::pin(self.0.spawn(future))
    }

    fn tick(&self) -> Boxed<()> {
        Box::pin(yield_now())
    }
}

/// An executor of one thread and a thread for jobs, out of the standard library alone.
#[derive(Clone)]
pub struct Own {
    ready: Arc<Ready>,
    jobs: mpsc::Sender<Job>,
}

#[derive(Default)]
struct Ready {
    queue: Mutex<VecDeque<Arc<Task>>>,
    more: Condvar,
}

struct Task {
    /// Gone once it is over.
    future: Mutex<Option<Boxed<()>>>,
    ready: Arc<Ready>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let ready = Arc::clone(&self.ready);
        ready.queue.lock().unwrap().push_back(self);
        ready.more.notify_one();
    }
}

/// What a task leaves to whoever awaits it.
struct Outcome<T>(Mutex<(Option<T>, Option<Waker>)>);

impl Own {
    fn start<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Arc<Outcome<T>> {
        let outcome = Arc::new(Outcome(Mutex::new((None, None))));
        let there = Arc::clone(&outcome);
        let future = async move {
            let value = future.await;
            let mut outcome = there.0.lock().unwrap();
            outcome.0 = Some(value);
            if let Some(waker) = outcome.1.take() {
                waker.wake();
            }
        };
        let ready = Arc::clone(&self.ready);
        Arc::new(Task { future: Mutex::new(Some(Box::pin(future))), ready }).wake();
        outcome
    }
}

impl Runtime for Own {
    fn new() -> Self {
        let (jobs, receive) = mpsc::channel::<Job>();
        thread::spawn(move || receive.into_iter().for_each(|job| job()));
        Self { ready: Arc::default(), jobs }
    }

    fn executor(&self, options: Options) -> Options {
        let jobs = self.jobs.clone();
        options.executor(move |job| jobs.send(job).unwrap())
    }

    fn block_on<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let outcome = self.start(future);
        loop {
            if let Some(value) = outcome.0.lock().unwrap().0.take() {
                return value;
            }
            let mut queue = self.ready.queue.lock().unwrap();
            let task = loop {
                match queue.pop_front() {
                    Some(task) => break task,
                    None => queue = self.ready.more.wait(queue).unwrap(),
                }
            };
            drop(queue);
            let waker = Waker::from(Arc::clone(&task));
            let mut future = task.future.lock().unwrap();
            let polled = future.as_mut().map(|f| f.as_mut().poll(&mut Context::from_waker(&waker)));
            if polled.is_some_and(|poll| poll.is_ready()) {
                *future = None;
            }
        }
    }

    fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Boxed<T> {
        let outcome = self.start(future);
        Box::pin(poll_fn(move |cx| {
            let mut outcome = outcome.0.lock().unwrap();
            match outcome.0.take() {
                Some(value) => Poll::Ready(value),
                None => {
                    outcome.1 = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }

    fn tick(&self) -> Boxed<()> {
        Box::pin(yield_now())
    }
}

/// Runs a test that hangs if it fails, and fails then.
pub fn no_hang(body: impl FnOnce() + Send + 'static) {
    let (send, receive) = mpsc::channel();
    let thread = thread::spawn(move || {
        body();
        send.send(()).unwrap();
    });
    match receive.recv_timeout(Duration::from_secs(30)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("hangs"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}
