//! Timed waits, on a thread of the library's own. They need no timer of a runtime, and a paused clock does not stop them.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::process_thread::start_thread;
use crate::sync::lock;
use crate::waking::contained;

/// The thread ends after this long without a wait.
const IDLE: Duration = Duration::from_millis(500);

static TIMER: Timer = Timer::new(|timer| start_thread("dbm-timer", || timer.run()));

/// One for the whole process.
struct Timer {
    /// No waker is called under it.
    waits: Mutex<Waits>,
    /// Signals a wait that ends before the thread looks.
    earlier: Condvar,
    /// Starts its thread. False if the system cannot.
    start: fn(&'static Self) -> bool,
}

struct Waits {
    by_time: BTreeMap<Key, Waker>,
    last_id: u64,
    thread_runs: bool,
    /// When the thread looks for waits that are over, if it is not woken earlier.
    looks_at: Option<Instant>,
}

/// When a wait ends, and its number: several may end at the same time.
type Key = (Instant, u64);

pub(crate) fn sleep(duration: Duration) -> Sleep {
    TIMER.sleep(duration)
}

/// It costs nothing until it is polled. Dropping it ends the wait.
#[must_use]
pub(crate) struct Sleep {
    timer: &'static Timer,
    /// `None`, and the wait never ends, if the clock does not reach that far.
    end: Option<Instant>,
    key: Option<Key>,
}

impl Sleep {
    /// Has the end of the wait wake something, without a task that polls.
    pub(crate) fn and_wake(mut self, waker: &Waker) -> Self {
        let _ = Pin::new(&mut self).poll(&mut Context::from_waker(waker));
        self
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(end) = self.end else {
            return Poll::Pending;
        };
        if Instant::now() >= end {
            return Poll::Ready(());
        }
        let timer = self.timer;
        let runs = timer.wake_at(end, &mut self.key, context.waker());
        if !runs {
            // The system cannot start a thread, so the task polls.
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.timer.lock().by_time.remove(&key);
            // After unlocking: dropping a waker runs code of others.
            contained(|| drop(waker));
        }
    }
}

impl Timer {
    const fn new(start: fn(&'static Self) -> bool) -> Self {
        Self {
            waits: Mutex::new(Waits {
                by_time: BTreeMap::new(),
                last_id: 0,
                thread_runs: false,
                looks_at: None,
            }),
            earlier: Condvar::new(),
            start,
        }
    }

    fn sleep(&'static self, duration: Duration) -> Sleep {
        Sleep {
            timer: self,
            end: Instant::now().checked_add(duration),
            key: None,
        }
    }

    /// False if there is no thread that would wake the task.
    fn wake_at(&'static self, end: Instant, key: &mut Option<Key>, waker: &Waker) -> bool {
        if let Some(key) = key {
            let waits = self.lock();
            let known = waits.by_time.get(key);
            if waits.thread_runs && known.is_some_and(|known| known.will_wake(waker)) {
                return true;
            }
        }
        // Before locking: cloning a waker runs code of others.
        let waker = waker.clone();
        let mut waits = self.lock();
        let key = *key.get_or_insert_with(|| {
            waits.last_id += 1;
            (end, waits.last_id)
        });
        let replaced = waits.by_time.insert(key, waker);
        let mut runs = true;
        if !waits.thread_runs {
            runs = (self.start)(self);
            waits.thread_runs = runs;
        } else if waits.looks_at.is_some_and(|look| key.0 < look) {
            self.earlier.notify_one();
        }
        drop(waits);
        contained(|| drop(replaced));
        runs
    }

    fn run(&self) {
        let mut waits = self.lock();
        loop {
            let now = Instant::now();
            let later = waits.by_time.split_off(&(now, u64::MAX));
            let over = std::mem::replace(&mut waits.by_time, later);
            if !over.is_empty() {
                drop(waits);
                for waker in over.into_values() {
                    contained(|| waker.wake());
                }
                waits = self.lock();
                continue;
            }
            let first = waits.by_time.first_key_value();
            // Not longer than that: the first wait may be dropped meanwhile.
            let pause = first.map_or(IDLE, |((end, _), _)| {
                end.saturating_duration_since(now).min(IDLE)
            });
            waits.looks_at = now.checked_add(pause);
            let (woken, paused) = self
                .earlier
                .wait_timeout(waits, pause)
                .unwrap_or_else(PoisonError::into_inner);
            waits = woken;
            if paused.timed_out() && waits.by_time.is_empty() {
                waits.thread_runs = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        lock(&self.waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A runtime without a timer.
    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread();
        { runtime }.build().unwrap().block_on(test)
    }

    #[test]
    fn a_wait_ends_not_before_its_time() {
        run(async {
            let began = Instant::now();
            let limit = Duration::from_millis(30);
            sleep(limit).await;
            assert!(began.elapsed() >= limit);
        });
    }

    #[test]
    fn waits_end_in_the_order_of_their_times_whatever_the_order_of_their_polls() {
        let order = Mutex::new(Vec::new());
        run(async {
            let wait = async |number: u64| {
                sleep(Duration::from_millis(40 * number)).await;
                order.lock().unwrap().push(number);
            };
            tokio::join!(wait(3), wait(1), wait(2), wait(0));
        });
        assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_wait_ends_without_a_thread() {
        static WITHOUT_THREAD: Timer = Timer::new(|_| false);
        run(async {
            let began = Instant::now();
            let limit = Duration::from_millis(30);
            WITHOUT_THREAD.sleep(limit).await;
            assert!(began.elapsed() >= limit);
        });
        assert!(WITHOUT_THREAD.lock().by_time.is_empty());
    }

    /// Also if the wait that it slept for was dropped.
    #[test]
    fn the_thread_ends_when_nobody_waits() {
        static OWN: Timer = Timer::new(|timer| start_thread("test-timer", || timer.run()));
        let far = Duration::from_secs(3_600);
        let mut sleep = Box::pin(OWN.sleep(far));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert!(OWN.lock().thread_runs);
        drop(sleep);
        let began = Instant::now();
        while OWN.lock().thread_runs {
            assert!(began.elapsed() < Duration::from_secs(20), "it still runs");
            std::thread::yield_now();
        }
        run(async { OWN.sleep(Duration::from_millis(10)).await });
    }

    /// It wakes a thread, as a task that nobody polls.
    #[test]
    fn a_wait_wakes_what_it_was_given_unless_it_was_dropped() {
        let (sender, woken) = std::sync::mpsc::channel();
        struct Told(&'static str, std::sync::mpsc::Sender<&'static str>);
        impl std::task::Wake for Told {
            fn wake(self: std::sync::Arc<Self>) {
                let _ = self.1.send(self.0);
            }
        }
        let waker = |name| std::sync::Arc::new(Told(name, sender.clone())).into();
        let dropped = sleep(Duration::from_millis(10)).and_wake(&waker("dropped"));
        // The thread looks at both of them in the order of their ends, whichever came first.
        let _late = sleep(Duration::from_millis(60)).and_wake(&waker("late"));
        let _early = sleep(Duration::from_millis(30)).and_wake(&waker("early"));
        drop(dropped);
        let next = || woken.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!([next(), next()], ["early", "late"]);
    }

    #[test]
    fn a_wait_that_is_dropped_leaves_nothing_behind() {
        let far = Duration::from_secs(3_600);
        let mut sleep = Box::pin(sleep(far));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        let key = sleep.key.unwrap();
        assert!(TIMER.lock().by_time.contains_key(&key));
        drop(sleep);
        assert!(!TIMER.lock().by_time.contains_key(&key));
    }

    #[test]
    fn a_wait_that_is_longer_than_the_clock_reaches_does_not_end() {
        run(async {
            let (forever, other) = (sleep(Duration::MAX), sleep(Duration::from_millis(10)));
            tokio::select! {
                () = forever => panic!("it ends"),
                () = other => {}
            }
        });
    }
}
