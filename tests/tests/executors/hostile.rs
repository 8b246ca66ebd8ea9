//! An executor that does as a test wants when it wakes a task, or when it drops a waker.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use dbm_core::prelude::*;
use dbm_tests::within;

use super::Store;

type Boxed = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What the executor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Drops the task that is woken.
    DropsIt,
    /// Drops another one that waits for the same.
    DropsAnother,
    Panics,
    /// Asks, and makes calls.
    CallsBack,
}

impl Deed {
    pub(super) const ALL: [Self; 4] = [
        Self::DropsIt,
        Self::DropsAnother,
        Self::Panics,
        Self::CallsBack,
    ];
}

/// When it does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Woken,
    /// The last clone of the waker is dropped, after it was used or because another one has taken its place.
    Dropped,
}

/// A future, and the executor that it is in.
pub(super) struct Task {
    future: Mutex<Option<Boxed>>,
    woken: AtomicBool,
}

struct TaskWaker {
    task: Arc<Task>,
    deed: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    when: When,
}

impl TaskWaker {
    fn act(&self) {
        let deed = self.deed.lock().unwrap().take();
        if let Some(deed) = deed {
            deed();
        }
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.task.woken.store(true, Ordering::SeqCst);
        if self.when == When::Woken {
            self.act();
        }
    }
}

impl Drop for TaskWaker {
    fn drop(&mut self) {
        if self.when == When::Dropped {
            self.act();
        }
    }
}

impl Task {
    pub(super) fn new(future: impl Future<Output = Result<()>> + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            future: Mutex::new(Some(Box::pin(future))),
            woken: AtomicBool::new(false),
        })
    }

    fn poll_with(
        self: &Arc<Self>,
        when: When,
        deed: Option<Box<dyn FnOnce() + Send>>,
    ) -> Option<Poll<Result<()>>> {
        let waker = Waker::from(Arc::new(TaskWaker {
            task: Arc::clone(self),
            deed: Mutex::new(deed),
            when,
        }));
        let mut future = self.future.lock().unwrap().take()?;
        // An executor loses the task in whose poll one of its wakers panics.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            if polled.is_pending() {
                *self.future.lock().unwrap() = Some(future);
            }
            polled
        }));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
        polled.ok()
    }

    /// Polls it in a harmless executor; `None` when it was dropped.
    pub(super) fn poll(self: &Arc<Self>) -> Option<Poll<Result<()>>> {
        self.poll_with(When::Woken, None)
    }

    /// Begins to wait in an executor that does this when it is woken.
    pub(super) fn begins_with(self: &Arc<Self>, act: impl FnOnce() + Send + 'static) {
        let polled = self.poll_with(When::Woken, Some(Box::new(act)));
        assert!(matches!(polled, Some(Poll::Pending)));
    }

    pub(super) fn begins(self: &Arc<Self>) {
        assert!(matches!(self.poll(), Some(Poll::Pending)));
    }

    /// Polls it in an executor that does `deed` once. Whether that was done is told.
    pub(super) fn poll_hostile(
        self: &Arc<Self>,
        store: &Arc<Store>,
        deed: Deed,
        when: When,
        another: &Arc<Task>,
    ) -> (Option<Poll<Result<()>>>, Arc<AtomicBool>) {
        let (task, another, store) = (Arc::clone(self), Arc::clone(another), Arc::clone(store));
        let done = Arc::<AtomicBool>::default();
        let tell = Arc::clone(&done);
        let act = move || {
            tell.store(true, Ordering::SeqCst);
            match deed {
                Deed::DropsIt => task.cancel(),
                Deed::DropsAnother => another.cancel(),
                Deed::Panics => panic!("the executor is broken"),
                Deed::CallsBack => call_back(&store),
            }
        };
        (self.poll_with(when, Some(Box::new(act))), done)
    }

    pub(super) fn cancel(&self) {
        let future = self.future.lock().unwrap().take();
        drop(future);
    }

    /// Another waker takes the place of its own, or it goes away.
    pub(super) fn disturb(self: &Arc<Self>, by_drop: bool) {
        if by_drop {
            // A waker that panics when it is dropped does so in its own executor.
            let _ = catch_unwind(AssertUnwindSafe(|| self.cancel()));
        } else {
            let _ = self.poll();
        }
    }

    /// Polls it whenever it has been woken; `None` when it was dropped.
    pub(super) async fn finish(self: &Arc<Self>) -> Option<Result<()>> {
        within(async {
            loop {
                if self.future.lock().unwrap().is_none() {
                    return None;
                }
                if self.woken.swap(false, Ordering::SeqCst)
                    && let Some(Poll::Ready(result)) = self.poll()
                {
                    return Some(result);
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// As `finish`, of one whose executor may have lost what it was woken for.
    pub(super) async fn finish_anyhow(self: &Arc<Self>) -> Option<Result<()>> {
        self.woken.store(true, Ordering::SeqCst);
        self.finish().await
    }
}

/// Polls a task whenever it has been woken, the `at`-th time in an executor that does `deed`. Gives its result, `None`
/// when it was dropped, and whether the executor came to it.
pub(super) async fn run_to_the_end(
    task: &Arc<Task>,
    at: usize,
    store: &Arc<Store>,
    (deed, when): (Deed, When),
    another: &Arc<Task>,
) -> (Option<Result<()>>, bool) {
    let mut done = Arc::<AtomicBool>::default();
    within(async {
        for number in 1.. {
            let polled = if number == at {
                let (polled, tell) = task.poll_hostile(store, deed, when, another);
                done = tell;
                polled
            } else {
                task.poll()
            };
            match polled {
                None => return (None, true),
                Some(Poll::Ready(result)) => return (Some(result), done.load(Ordering::SeqCst)),
                Some(Poll::Pending) => {}
            }
            loop {
                // At least once: this task's budget may be used up, and then each poll wakes the task that it polls.
                tokio::task::yield_now().await;
                if task.woken.swap(false, Ordering::SeqCst) || task.future.lock().unwrap().is_none()
                {
                    break;
                }
            }
        }
        unreachable!()
    })
    .await
}

fn call_back(store: &Arc<Store>) {
    let _ = (store.status(), store.path(), store.watch_status());
    let (reader, writer) = (Arc::clone(store), Arc::clone(store));
    let reads = Task::new(async move { reader.count().await.map(drop) });
    let writes = Task::new(async move { writer.add(None).await });
    let _ = (reads.poll(), writes.poll());
    // Each is owned by its waker, which it owns.
    reads.cancel();
    writes.cancel();
}

/// Three that wait for the same: one in a hostile executor, one that it may drop, and one more behind them.
pub(super) struct Three {
    hostile: Arc<Task>,
    another: Arc<Task>,
    behind: Arc<Task>,
    how: (Deed, When),
    done: Arc<AtomicBool>,
}

impl Three {
    pub(super) fn wait<F: Future<Output = Result<()>> + Send + 'static>(
        store: &Arc<Store>,
        how: (Deed, When),
        wait: impl Fn() -> F,
    ) -> Self {
        let [hostile, another, behind] = [(); 3].map(|()| Task::new(wait()));
        let (polled, done) = hostile.poll_hostile(store, how.0, how.1, &another);
        assert!(matches!(polled, Some(Poll::Pending)));
        another.begins();
        behind.begins();
        Self {
            hostile,
            another,
            behind,
            how,
            done,
        }
    }

    /// After what they wait for has come.
    pub(super) async fn end(self) {
        let done = || self.done.load(Ordering::SeqCst);
        within(async {
            while self.how.1 == When::Woken && !done() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let hostile = self.hostile.finish_anyhow().await;
        assert!(done(), "the executor was not asked for anything");
        let lost = [(Deed::DropsIt, When::Woken), (Deed::DropsIt, When::Dropped)];
        match hostile {
            Some(result) => result.unwrap(),
            None => assert!(lost.contains(&self.how) || self.how == (Deed::Panics, When::Dropped)),
        }
        match self.another.finish().await {
            Some(result) => result.unwrap(),
            None => assert_eq!(self.how.0, Deed::DropsAnother),
        }
        self.behind.finish().await.unwrap().unwrap();
    }

    /// Another waker takes the place of the hostile one, or the one who waits goes away.
    pub(super) fn disturb(&self, by_drop: bool) {
        self.hostile.disturb(by_drop);
        assert!(
            self.done.load(Ordering::SeqCst),
            "the executor was not asked for anything"
        );
    }

    /// As `end`, whatever has become of the hostile one.
    pub(super) async fn end_disturbed(self) {
        let _ = self.hostile.finish_anyhow().await;
        if let Some(result) = self.another.finish().await {
            result.unwrap();
        }
        self.behind.finish().await.unwrap().unwrap();
    }
}

/// A test for each thing that an executor may do while one waits.
macro_rules! whatever_the_executor_does {
    ($wait:ident) => {
        mod $wait {
            use super::super::hostile::{Deed, When};
            use dbm_tests::run;

            #[test]
            fn its_waker_drops_it() {
                run(super::$wait(Deed::DropsIt, When::Woken));
            }

            #[test]
            fn its_waker_drops_another() {
                run(super::$wait(Deed::DropsAnother, When::Woken));
            }

            #[test]
            fn its_waker_panics() {
                run(super::$wait(Deed::Panics, When::Woken));
            }

            #[test]
            fn its_waker_calls_back() {
                run(super::$wait(Deed::CallsBack, When::Woken));
            }

            #[test]
            fn the_drop_of_its_waker_drops_it() {
                run(super::$wait(Deed::DropsIt, When::Dropped));
            }

            #[test]
            fn the_drop_of_its_waker_drops_another() {
                run(super::$wait(Deed::DropsAnother, When::Dropped));
            }

            #[test]
            fn the_drop_of_its_waker_panics() {
                run(super::$wait(Deed::Panics, When::Dropped));
            }

            #[test]
            fn the_drop_of_its_waker_calls_back() {
                run(super::$wait(Deed::CallsBack, When::Dropped));
            }
        }
    };
}
pub(super) use whatever_the_executor_does;
