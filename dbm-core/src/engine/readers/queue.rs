//! Those who wait for a reader. They are told of one that is free; it is not kept for them, or one queue would make
//! everybody queue from then on. But for who comes too late for it, the next one is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{FREE, Reader, ReaderPermit, Readers};
use crate::engine::timer;
use crate::error::{Error, Result};

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiters: Mutex<Waiters>,
    /// How many have not been told of a reader; written under the lock.
    pub(super) length: AtomicUsize,
}

#[derive(Default)]
pub(super) struct Waiters {
    newcomers: VecDeque<Arc<Waiter>>,
    /// They were told of a reader and came too late for it.
    late: VecDeque<Arc<Waiter>>,
    /// A reader is kept for one of the late. Not more than one: it lies idle until that task comes to run.
    pub(super) keeps_one: bool,
    /// All who wait, those who have been told of a reader too.
    pub(super) count: usize,
    closed: bool,
}

struct Waiter {
    news: Mutex<News>,
    told: Notify,
}

enum News {
    /// It is in the queue.
    Nothing,
    /// The reader with this number is free.
    Free(usize),
    Kept(ReaderPermit),
    /// It has looked.
    Old,
}

impl Readers {
    pub(super) async fn wait(&self, method: &'static str) -> Result<ReaderPermit> {
        let limit = self.opener.config.acquire_timeout;
        let in_queue = InQueue::enter(self);
        let permit = async {
            loop {
                let permit = match in_queue.take_news() {
                    News::Kept(permit) => {
                        self.queue.lock().keeps_one = false;
                        return Ok(permit);
                    }
                    // This one first: nobody else has to know of it.
                    News::Free(number) => ReaderPermit::take(&self.all[number], FREE),
                    News::Nothing | News::Old => None,
                };
                if self.queue.lock().closed {
                    return Err(Error::Closed { method });
                }
                if let Some(permit) = permit.or_else(|| self.take_free()) {
                    return Ok(permit);
                }
                if in_queue.queues_again() {
                    continue;
                }
                in_queue.waiter.told.notified().await;
            }
        };
        match timer::timeout(limit, permit).await {
            Ok(permit) => permit,
            Err(_) => Err(self.acquire_timeout(method, limit)),
        }
    }

    fn acquire_timeout(&self, method: &'static str, waited: Duration) -> Error {
        let (holder, held) = match self.oldest() {
            Some((session, since)) => (session.method, since.elapsed()),
            None => ("nobody", Duration::ZERO),
        };
        Error::AcquireTimeout {
            method,
            waited,
            holder,
            held,
            queued: self.queue.lock().count,
        }
    }
}

impl Queue {
    pub(super) fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a reader that has become free for who came too late for another one, or tells somebody of it.
    pub(super) fn tell(&self, reader: &Arc<Reader>) {
        if self.length.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut waiters = self.lock();
        let keeps_it = !waiters.keeps_one && !waiters.late.is_empty();
        let news = if keeps_it {
            // If somebody is quicker again, they will tell of it in turn.
            let Some(permit) = ReaderPermit::take(reader, FREE) else {
                return;
            };
            News::Kept(permit)
        } else {
            News::Free(reader.number)
        };
        let late = waiters.late.pop_front();
        let Some(waiter) = late.or_else(|| waiters.newcomers.pop_front()) else {
            return;
        };
        waiters.keeps_one |= keeps_it;
        *waiter.news() = news;
        self.set_length(&waiters);
        // A waker may drop its task, which leaves the queue then.
        drop(waiters);
        waiter.told.notify_one();
    }

    fn set_length(&self, waiters: &Waiters) {
        let length = waiters.newcomers.len() + waiters.late.len();
        self.length.store(length, Ordering::SeqCst);
    }

    pub(super) fn close(&self) {
        let mut waiters = self.lock();
        waiters.closed = true;
        let untold = waiters.newcomers.iter().chain(&waiters.late);
        let untold: Vec<_> = untold.cloned().collect();
        drop(waiters);
        for waiter in untold {
            waiter.told.notify_one();
        }
    }
}

impl Waiter {
    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue. Dropped, it is left.
struct InQueue<'a> {
    readers: &'a Readers,
    waiter: Arc<Waiter>,
}

impl<'a> InQueue<'a> {
    fn enter(readers: &'a Readers) -> Self {
        let waiter = Arc::new(Waiter {
            news: Mutex::new(News::Nothing),
            told: Notify::new(),
        });
        let mut waiters = readers.queue.lock();
        waiters.count += 1;
        waiters.newcomers.push_back(Arc::clone(&waiter));
        // From here on whoever gives a reader back looks into the queue.
        readers.queue.set_length(&waiters);
        Self { readers, waiter }
    }

    fn take_news(&self) -> News {
        let mut news = self.waiter.news();
        match *news {
            News::Nothing => News::Nothing,
            _ => std::mem::replace(&mut *news, News::Old),
        }
    }

    /// Queues among the late when its news is old; false when it is in the queue.
    fn queues_again(&self) -> bool {
        let queue = &self.readers.queue;
        let mut waiters = queue.lock();
        let mut news = self.waiter.news();
        let late = matches!(*news, News::Old);
        if late {
            *news = News::Nothing;
            waiters.late.push_back(Arc::clone(&self.waiter));
            queue.set_length(&waiters);
        }
        late
    }
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        let queue = &self.readers.queue;
        let unread = {
            let mut waiters = queue.lock();
            waiters.count -= 1;
            let news = std::mem::replace(&mut *self.waiter.news(), News::Old);
            if matches!(news, News::Nothing) {
                let is_other = |waiter: &Arc<Waiter>| !Arc::ptr_eq(waiter, &self.waiter);
                waiters.newcomers.retain(is_other);
                waiters.late.retain(is_other);
                queue.set_length(&waiters);
            }
            news
        };
        match unread {
            News::Nothing | News::Old => {}
            News::Free(number) => queue.tell(&self.readers.all[number]),
            News::Kept(permit) => {
                queue.lock().keeps_one = false;
                drop(permit);
            }
        }
    }
}
