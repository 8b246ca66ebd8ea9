//! A pool of readers, and the calls that wait for one. A waiting call is told which reader is free. The reader is not
//! reserved for it, because a reservation would force every later call to queue as well. If another call takes the
//! reader first, the waiting call is *late*, and a later reader is kept for it.
//!
//! Lock order: `waiters`, then `news`. Under neither is a task woken or a reader given back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::waking::Bell;

pub(super) struct Pool<T: 'static> {
    pub(super) all: Box<[Arc<Member<T>>]>,
    pub(super) queue: Arc<Queue<T>>,
}

/// Not used yet, or not for a long time.
pub(super) const NEW: u8 = 0;
pub(super) const FREE: u8 = 1;
pub(super) const TAKEN: u8 = 2;
/// Taken, and new once its permit is dropped.
const RESTS: u8 = 3;

/// On cache lines of its own: calls that use different readers write to no common line.
#[repr(align(128))]
pub(super) struct Member<T: 'static> {
    number: usize,
    /// Dropping a permit stores this and then loads `Queue::length`. A call that queues stores `length` and then loads
    /// this in `ReaderPermit::take`. All of them are `SeqCst`: one of the two threads sees the other's store. A weaker
    /// ordering would allow both to miss it, and the call would sleep beside a free reader.
    pub(super) state: AtomicU8,
    queue: Arc<Queue<T>>,
    pub(super) value: T,
}

/// The right to use one reader. Dropping it frees the reader.
pub(super) struct ReaderPermit<'a, T: 'static> {
    member: SharedMember<'a, T>,
    armed: bool,
}

/// Borrowed by a call, so that parallel reads do not contend for reference counts.
pub(super) type SharedMember<'a, T> = Cow<'a, Arc<Member<T>>>;

pub(super) struct Queue<T: 'static> {
    pub(super) waiters: Mutex<Waiters<T>>,
    /// How many calls wait and have not been told of a reader. Written under the lock. `SeqCst`: see `Member::state`.
    pub(super) length: AtomicUsize,
}

pub(super) struct Waiters<T: 'static> {
    /// Calls that have not been told of a reader, by order of arrival.
    newcomers: BTreeMap<u64, Arc<Waiter<T>>>,
    /// Calls that were told of a reader which another call took first.
    late: BTreeMap<u64, Arc<Waiter<T>>>,
    /// The last number given to a queued call.
    numbers: u64,
    /// Whether a reader is kept for one of `late`. Only one at a time is kept, because it lies idle until that call's
    /// task runs.
    pub(super) keeps_one: bool,
    /// All waiting calls, including those that have been told of a reader.
    pub(super) count: usize,
    closed: bool,
}

struct Waiter<T: 'static> {
    news: Mutex<News<T>>,
    bell: Bell,
}

enum News<T: 'static> {
    /// Not told yet: the call is in the queue, under this number.
    Nothing(u64),
    /// The reader with this number is free.
    Free(usize),
    Kept(ReaderPermit<'static, T>),
    /// The call has read its news.
    Old,
}

impl<T: 'static> Pool<T> {
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

    /// Takes a free reader. Used readers come first, and among them the one that `thread` had before.
    pub(super) fn take_free(&self, thread: usize) -> Option<ReaderPermit<'_, T>> {
        let (before, from) = self.all.split_at(thread % self.all.len());
        [FREE, NEW].into_iter().find_map(|state| {
            let mut members = from.iter().chain(before);
            members.find_map(|member| ReaderPermit::take(member, state))
        })
    }

    /// Waits for a reader; `None` if the pool is closed.
    pub(super) async fn wait(&self, thread: impl Fn() -> usize) -> Option<ReaderPermit<'_, T>> {
        let in_queue = InQueue::enter(self);
        loop {
            let permit = match in_queue.take_news() {
                News::Kept(permit) => {
                    self.queue.lock().keeps_one = false;
                    return Some(permit);
                }
                // Tries this reader first, so that no other call has to be told of it.
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

    /// Lets the readers rest that are free. A resting reader is as good as new: those in use are taken before it. False if
    /// one of them does not rest.
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

    /// Refuses every call that waits.
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

    /// Calls that wait and have not been told of a reader. Takes no lock.
    pub(super) fn untold(&self) -> usize {
        self.queue.length.load(Ordering::Relaxed)
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.lock().count
    }
}

impl<'a, T: 'static> ReaderPermit<'a, T> {
    pub(super) fn take(member: &'a Arc<Member<T>>, state: u8) -> Option<Self> {
        let order = Ordering::SeqCst;
        let is_so = member.state.load(order) == state;
        let exchanged = || member.state.compare_exchange(state, TAKEN, order, order);
        (is_so && exchanged().is_ok()).then(|| Self {
            member: Cow::Borrowed(member),
            armed: true,
        })
    }

    /// Whether it was in use or not.
    fn take_any(member: &'a Arc<Member<T>>) -> Option<Self> {
        Self::take(member, FREE).or_else(|| Self::take(member, NEW))
    }

    pub(super) fn value(&self) -> &T {
        &self.member.value
    }

    pub(super) fn member(&self) -> SharedMember<'a, T> {
        self.member.clone()
    }

    pub(super) fn into_owned(mut self) -> ReaderPermit<'static, T> {
        self.armed = false;
        ReaderPermit {
            member: Cow::Owned(Arc::clone(&self.member)),
            armed: true,
        }
    }
}

impl<T: 'static> Drop for ReaderPermit<'_, T> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let member = &self.member;
        let rests = member.state.load(Ordering::SeqCst) == RESTS;
        let afterwards = if rests { NEW } else { FREE };
        member.state.store(afterwards, Ordering::SeqCst);
        member.queue.tell(member);
    }
}

impl<T: 'static> Default for Queue<T> {
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

impl<T: 'static> Queue<T> {
    pub(super) fn lock(&self) -> MutexGuard<'_, Waiters<T>> {
        lock(&self.waiters)
    }

    /// Keeps a freed reader for a late call, or tells a waiting call of it.
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
            // If another call took it first, that call passes it on in turn.
            let Some(permit) = ReaderPermit::take_any(member) else {
                return;
            };
            News::Kept(permit.into_owned())
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

impl<T: 'static> Waiters<T> {
    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

impl<T: 'static> Waiter<T> {
    fn news(&self) -> MutexGuard<'_, News<T>> {
        lock(&self.news)
    }
}

/// A place in the queue. Dropping it leaves the queue.
struct InQueue<'a, T: 'static> {
    pool: &'a Pool<T>,
    waiter: Arc<Waiter<T>>,
}

impl<'a, T: 'static> InQueue<'a, T> {
    fn enter(pool: &'a Pool<T>) -> Self {
        let mut waiters = pool.queue.lock();
        let number = waiters.next_number();
        let waiter = Arc::new(Waiter {
            news: Mutex::new(News::Nothing(number)),
            bell: Bell::default(),
        });
        waiters.count += 1;
        waiters.newcomers.insert(number, Arc::clone(&waiter));
        // From this store on, a dropped permit looks into the queue.
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

    /// Queues the call as late if it has read its news; false if it is still in the queue.
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

impl<T: 'static> Drop for InQueue<'_, T> {
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
