//! Things that one has at a time, and those who wait for one. They are told of one that is free; it is not kept for them,
//! or one queue would make everybody queue from then on. But for who comes too late for it, the next one is.
//!
//! Lock order: `waiters`, then `news`. Nobody is woken and nothing is given back under either.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::waking::Bell;

pub(super) struct Pool<T> {
    pub(super) all: Box<[Arc<Member<T>>]>,
    pub(super) queue: Arc<Queue<T>>,
}

/// Nobody has used it yet, or not for long.
pub(super) const NEW: u8 = 0;
pub(super) const FREE: u8 = 1;
pub(super) const TAKEN: u8 = 2;
/// It is taken, and new when it is given back.
const RESTS: u8 = 3;

/// Those who use different ones share nothing but what they only look at.
#[repr(align(128))]
pub(super) struct Member<T> {
    number: usize,
    /// Who gives it back writes this and then looks at `length`; who queues writes `length` and then looks at this. Both
    /// are `SeqCst`: one of the two sees the other.
    pub(super) state: AtomicU8,
    queue: Arc<Queue<T>>,
    pub(super) value: T,
}

/// The right to use one. Dropped, it is free again.
pub(super) struct ReaderPermit<T>(Arc<Member<T>>);

pub(super) struct Queue<T> {
    pub(super) waiters: Mutex<Waiters<T>>,
    /// How many have not been told of one; written under the lock.
    pub(super) length: AtomicUsize,
}

pub(super) struct Waiters<T> {
    /// By when they came.
    newcomers: BTreeMap<u64, Arc<Waiter<T>>>,
    /// They were told of one and came too late for it.
    late: BTreeMap<u64, Arc<Waiter<T>>>,
    /// Numbers given to those who queue.
    numbers: u64,
    /// One is kept for one of the late. Not more than one: it lies idle until that task comes to run.
    pub(super) keeps_one: bool,
    /// All who wait, those who have been told of one too.
    pub(super) count: usize,
    closed: bool,
}

struct Waiter<T> {
    news: Mutex<News<T>>,
    bell: Bell,
}

enum News<T> {
    /// It is in the queue, under this number.
    Nothing(u64),
    /// The one with this number is free.
    Free(usize),
    Kept(ReaderPermit<T>),
    /// It has looked.
    Old,
}

impl<T> Pool<T> {
    pub(super) fn new(values: impl Iterator<Item = T>) -> Self {
        let queue = Arc::<Queue<T>>::default();
        let member = |(number, value)| {
            Arc::new(Member {
                number,
                state: AtomicU8::new(NEW),
                queue: Arc::clone(&queue),
                value,
            })
        };
        let all = values.enumerate().map(member).collect();
        Self { all, queue }
    }

    /// Those that `thread` had before come first, and those that were used before all others.
    pub(super) fn take_free(&self, thread: usize) -> Option<ReaderPermit<T>> {
        let (before, from) = self.all.split_at(thread % self.all.len());
        [FREE, NEW].into_iter().find_map(|state| {
            let mut members = from.iter().chain(before);
            members.find_map(|member| ReaderPermit::take(member, state))
        })
    }

    /// Waits for one; `None` when it is closed.
    pub(super) async fn wait(&self, thread: impl Fn() -> usize) -> Option<ReaderPermit<T>> {
        let in_queue = InQueue::enter(self);
        loop {
            let permit = match in_queue.take_news() {
                News::Kept(permit) => {
                    self.queue.lock().keeps_one = false;
                    return Some(permit);
                }
                // This one first: nobody else has to know of it.
                News::Free(number) => ReaderPermit::take_any(&self.all[number]),
                News::Nothing(_) | News::Old => None,
            };
            if self.queue.lock().closed {
                return None;
            }
            if let Some(permit) = permit.or_else(|| self.take_free(thread())) {
                return Some(permit);
            }
            if !in_queue.queues_again() {
                in_queue.waiter.bell.heard().await;
            }
        }
    }

    /// Has those rest that are free. One that does is as good as new: those that are in use are taken before it. False
    /// when there is one that does not.
    pub(super) fn rest(&self, rests: impl Fn(&T) -> bool) -> bool {
        let mut all_rest = true;
        for member in &self.all {
            if let Some(permit) = ReaderPermit::take(member, FREE)
                && rests(permit.value())
            {
                member.state.store(RESTS, Ordering::SeqCst);
            }
            all_rest &= member.state.load(Ordering::SeqCst) == NEW;
        }
        all_rest
    }

    /// Refuses those who wait.
    pub(super) fn close(&self) {
        let mut waiters = self.queue.lock();
        waiters.closed = true;
        let untold = waiters.newcomers.values().chain(waiters.late.values());
        let untold: Vec<_> = untold.cloned().collect();
        drop(waiters);
        for waiter in untold {
            waiter.bell.ring();
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.lock().count
    }
}

impl<T> ReaderPermit<T> {
    pub(super) fn take(member: &Arc<Member<T>>, state: u8) -> Option<Self> {
        let order = Ordering::SeqCst;
        let is_so = member.state.load(order) == state;
        let exchanged = || member.state.compare_exchange(state, TAKEN, order, order);
        (is_so && exchanged().is_ok()).then(|| Self(Arc::clone(member)))
    }

    /// Whether it was in use or not.
    fn take_any(member: &Arc<Member<T>>) -> Option<Self> {
        Self::take(member, FREE).or_else(|| Self::take(member, NEW))
    }

    pub(super) fn value(&self) -> &T {
        &self.0.value
    }
}

impl<T> Drop for ReaderPermit<T> {
    fn drop(&mut self) {
        let member = &self.0;
        let rests = member.state.load(Ordering::SeqCst) == RESTS;
        let afterwards = if rests { NEW } else { FREE };
        member.state.store(afterwards, Ordering::SeqCst);
        member.queue.tell(member);
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            waiters: Mutex::new(Waiters {
                newcomers: BTreeMap::new(),
                late: BTreeMap::new(),
                numbers: 0,
                keeps_one: false,
                count: 0,
                closed: false,
            }),
            length: AtomicUsize::new(0),
        }
    }
}

impl<T> Queue<T> {
    pub(super) fn lock(&self) -> MutexGuard<'_, Waiters<T>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one that has become free for who came too late for another one, or tells somebody of it.
    #[inline]
    fn tell(&self, member: &Arc<Member<T>>) {
        if self.length.load(Ordering::SeqCst) > 0 {
            self.tell_first(member);
        }
    }

    fn tell_first(&self, member: &Arc<Member<T>>) {
        let mut waiters = self.lock();
        let keeps_it = !waiters.keeps_one && !waiters.late.is_empty();
        let news = if keeps_it {
            // If somebody is quicker again, they will tell of it in turn.
            let Some(permit) = ReaderPermit::take_any(member) else {
                return;
            };
            News::Kept(permit)
        } else {
            News::Free(member.number)
        };
        let late = waiters.late.pop_first();
        let Some((_, waiter)) = late.or_else(|| waiters.newcomers.pop_first()) else {
            return;
        };
        waiters.keeps_one |= keeps_it;
        *waiter.news() = news;
        self.set_length(&waiters);
        drop(waiters);
        waiter.bell.ring();
    }

    fn set_length(&self, waiters: &Waiters<T>) {
        let length = waiters.newcomers.len() + waiters.late.len();
        self.length.store(length, Ordering::SeqCst);
    }
}

impl<T> Waiters<T> {
    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

impl<T> Waiter<T> {
    fn news(&self) -> MutexGuard<'_, News<T>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue. Dropped, it is left.
struct InQueue<'a, T> {
    pool: &'a Pool<T>,
    waiter: Arc<Waiter<T>>,
}

impl<'a, T> InQueue<'a, T> {
    fn enter(pool: &'a Pool<T>) -> Self {
        let mut waiters = pool.queue.lock();
        let number = waiters.next_number();
        let waiter = Arc::new(Waiter {
            news: Mutex::new(News::Nothing(number)),
            bell: Bell::default(),
        });
        waiters.count += 1;
        waiters.newcomers.insert(number, Arc::clone(&waiter));
        // From here on whoever gives one back looks into the queue.
        pool.queue.set_length(&waiters);
        Self { pool, waiter }
    }

    fn take_news(&self) -> News<T> {
        let mut news = self.waiter.news();
        match *news {
            News::Nothing(number) => News::Nothing(number),
            _ => std::mem::replace(&mut *news, News::Old),
        }
    }

    /// Queues among the late when its news is old; false when it is in the queue.
    fn queues_again(&self) -> bool {
        let queue = &self.pool.queue;
        let mut waiters = queue.lock();
        let mut news = self.waiter.news();
        let late = matches!(*news, News::Old);
        if late {
            let number = waiters.next_number();
            *news = News::Nothing(number);
            waiters.late.insert(number, Arc::clone(&self.waiter));
            queue.set_length(&waiters);
        }
        late
    }
}

impl<T> Drop for InQueue<'_, T> {
    fn drop(&mut self) {
        let queue = &self.pool.queue;
        let unread = {
            let mut waiters = queue.lock();
            waiters.count -= 1;
            let news = std::mem::replace(&mut *self.waiter.news(), News::Old);
            if let News::Nothing(number) = news {
                waiters.newcomers.remove(&number);
                waiters.late.remove(&number);
                queue.set_length(&waiters);
            }
            news
        };
        match unread {
            News::Nothing(_) | News::Old => {}
            News::Free(number) => queue.tell(&self.pool.all[number]),
            News::Kept(permit) => {
                queue.lock().keeps_one = false;
                drop(permit);
            }
        }
    }
}
