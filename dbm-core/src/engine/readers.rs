//! A few reader connections, opened when first needed. A read that begins takes a free one; when there is none it queues.
//! Who waits is told of a reader that is free. It is not kept for them, or one queue would make everybody queue from
//! then on; but for who comes too late for it, the next one is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::connection::{CONTROL, Conn};
use super::open::{Role, SharedOpener};
use super::read_mark::ReadMark;
use super::session::Session;
use crate::error::{Error, Result};
use crate::sharded::thread_number;

/// How long reads are held up when every connection has to be opened anew.
const MOMENT: Duration = Duration::from_millis(100);

pub(crate) struct Readers {
    opener: SharedOpener,
    all: Box<[Arc<Reader>]>,
    queue: Arc<Queue>,
    pub(crate) mark: Arc<ReadMark>,
}

/// Nobody has used it yet.
const NEW: u8 = 0;
const FREE: u8 = 1;
const TAKEN: u8 = 2;

/// One connection and the read that it serves. Reads on several processors share nothing but what they only look at.
#[repr(align(128))]
pub(crate) struct Reader {
    number: usize,
    pub(crate) conn: Arc<Conn>,
    state: AtomicU8,
    serving: Mutex<Serving>,
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Serving {
    read: Option<Read>,
    closed: bool,
}

/// A read that is running, so that it can be evicted and named to those who wait.
#[derive(Clone)]
struct Read {
    session: Arc<Session>,
    since: Instant,
}

/// Those who wait for a reader.
#[derive(Default)]
struct Queue {
    waiters: Mutex<Waiters>,
    /// How many have not been told of a reader; written under the lock.
    length: AtomicUsize,
}

#[derive(Default)]
struct Waiters {
    newcomers: VecDeque<Arc<Waiter>>,
    /// They were told of a reader and came too late for it.
    late: VecDeque<Arc<Waiter>>,
    /// A reader is kept for one of the late. Not more than one: it lies idle until that task comes to run.
    keeps_one: bool,
    /// All who wait, those who have been told of a reader too.
    count: usize,
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
    Kept(Place),
    /// It has looked.
    Old,
}

/// The right to use one reader. Dropped, it is free again.
pub(crate) struct Place(Arc<Reader>);

impl Readers {
    pub(crate) fn new(opener: SharedOpener) -> Arc<Self> {
        let queue = Arc::<Queue>::default();
        let reader = |number| {
            Arc::new(Reader {
                number,
                conn: Conn::new(Role::Reader, Arc::clone(&opener)),
                state: AtomicU8::new(NEW),
                serving: Mutex::default(),
                queue: Arc::clone(&queue),
            })
        };
        let all = (0..opener.config.readers).map(reader).collect();
        let mark = Arc::new(ReadMark::new(Arc::clone(&opener)));
        Arc::new(Self {
            opener,
            all,
            queue,
            mark,
        })
    }

    /// Waits for a reader. A caller that goes away leaves the queue undisturbed.
    pub(crate) async fn acquire(&self, method: &'static str) -> Result<Place> {
        match self.take_free() {
            Some(place) => Ok(place),
            None => Box::pin(self.wait(method)).await,
        }
    }

    /// The reader that this thread had before, if it is free: its caches are warm. One that is open, if there is any.
    fn take_free(&self) -> Option<Place> {
        let (before, from) = self.all.split_at(thread_number() % self.all.len());
        [FREE, NEW].into_iter().find_map(|state| {
            let mut readers = from.iter().chain(before);
            readers.find_map(|reader| Place::take(reader, state))
        })
    }

    async fn wait(&self, method: &'static str) -> Result<Place> {
        let limit = self.opener.config.acquire_timeout;
        let in_queue = InQueue::enter(self);
        let place = async {
            loop {
                let place = match in_queue.take_news() {
                    News::Kept(place) => {
                        self.queue.lock().keeps_one = false;
                        return Ok(place);
                    }
                    // This one first: nobody else has to know of it.
                    News::Free(number) => Place::take(&self.all[number], FREE),
                    News::Nothing | News::Old => None,
                };
                if self.queue.lock().closed {
                    return Err(Error::Closed { method });
                }
                if let Some(place) = place.or_else(|| self.take_free()) {
                    return Ok(place);
                }
                if in_queue.is_late() {
                    continue;
                }
                in_queue.waiter.told.notified().await;
            }
        };
        match tokio::time::timeout(limit, place).await {
            Ok(place) => place,
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

    fn running(&self) -> impl Iterator<Item = Read> {
        self.all
            .iter()
            .filter_map(|reader| reader.serving().read.clone())
    }

    /// The read that has been running for the longest time.
    pub(crate) fn oldest(&self) -> Option<(Arc<Session>, Instant)> {
        self.running()
            .min_by_key(|read| read.since)
            .map(|read| (read.session, read.since))
    }

    /// The connection of the first reader, for start-up, which opens it.
    pub(crate) fn first(&self) -> Arc<Conn> {
        let reader = &self.all[0];
        let _ = Place::take(reader, NEW);
        Arc::clone(&reader.conn)
    }

    /// Refuses new reads and ends those that run; their bodies get an error from then on.
    pub(crate) fn shut(&self) {
        self.queue.close();
        for reader in &self.all {
            let read = {
                let mut serving = reader.serving();
                serving.closed = true;
                serving.read.clone()
            };
            if let Some(Read { session, .. }) = read {
                let reason = Error::Closed {
                    method: session.method,
                };
                evict(session, reason);
            }
        }
    }

    /// Ends reads that are older than `age`.
    pub(crate) fn evict_older_than(&self, age: Duration) {
        for Read { session, since } in self.running() {
            if since.elapsed() > age {
                evict(
                    session,
                    Error::TransactionLost {
                        cause: Error::other("the read was older than max_read_age").cause(),
                    },
                );
            }
        }
    }

    /// Waits until nobody reads, for a moment at most; no read begins while the places are held.
    pub(crate) async fn quiesce(&self) -> Option<Vec<Place>> {
        let everybody = async {
            let mut places = Vec::new();
            for _ in &self.all {
                places.push(self.acquire("quiesce").await?);
            }
            Ok::<_, Error>(places)
        };
        tokio::time::timeout(MOMENT, everybody).await.ok()?.ok()
    }

    /// Closes the connections that nobody uses; they are opened anew when they are needed.
    pub(crate) fn discard_idle(&self) {
        for reader in &self.all {
            if let Some(mut slot) = reader.conn.try_lock()
                && slot.is_idle()
            {
                slot.discard();
            }
        }
        self.mark.discard();
    }

    /// Closes every connection; blocks until the statements that run have ended.
    pub(crate) fn close(&self) {
        self.mark.close();
        for reader in &self.all {
            reader.conn.close();
        }
    }
}

impl Reader {
    fn serving(&self) -> MutexGuard<'_, Serving> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a free reader for who came too late for another one, or tells somebody of it.
    fn tell(&self, reader: &Arc<Reader>) {
        let mut waiters = self.lock();
        let keeps_it = !waiters.keeps_one && !waiters.late.is_empty();
        let news = if keeps_it {
            // If somebody is quicker again, they will tell of it in turn.
            let Some(place) = Place::take(reader, FREE) else {
                return;
            };
            News::Kept(place)
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

    fn close(&self) {
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

    /// Queues again when the news is old; true when it was not in the queue.
    fn is_late(&self) -> bool {
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
            News::Kept(place) => {
                queue.lock().keeps_one = false;
                drop(place);
            }
        }
    }
}

impl Place {
    fn take(reader: &Arc<Reader>, state: u8) -> Option<Self> {
        let order = Ordering::SeqCst;
        let is_so = reader.state.load(order) == state;
        let exchanged = || reader.state.compare_exchange(state, TAKEN, order, order);
        (is_so && exchanged().is_ok()).then(|| Self(Arc::clone(reader)))
    }

    pub(crate) fn conn(&self) -> &Arc<Conn> {
        &self.0.conn
    }

    /// Tells whose session the reader serves. Too late once all are closed.
    pub(crate) fn serve(&self, session: &Arc<Session>) -> Result<()> {
        let mut serving = self.0.serving();
        if serving.closed {
            return Err(Error::Closed {
                method: session.method,
            });
        }
        serving.read = Some(Read {
            session: Arc::clone(session),
            since: Instant::now(),
        });
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let reader = &self.0;
        let served = reader.serving().read.take();
        drop(served);
        reader.state.store(FREE, Ordering::SeqCst);
        if reader.queue.length.load(Ordering::SeqCst) > 0 {
            reader.queue.tell(reader);
        }
    }
}

fn evict(session: Arc<Session>, reason: Error) {
    session.lose(reason);
    session.conn.interrupt_owner(session.id);
    let conn = Arc::clone(&session.conn);
    conn.post_or_run(
        move || {
            let mut slot = session.conn.lock();
            if let Ok(db) = slot.owned_by(session.id) {
                db.roll_back();
                if session.is_unclean(db) {
                    slot.discard();
                }
                slot.take_back();
            }
        },
        drop,
    );
}

/// Ends a read: its snapshot is let go.
pub(crate) fn end_read(conn: &Conn, session: &Session) {
    let mut slot = conn.lock();
    let Ok(db) = slot.owned_by(session.id) else {
        return;
    };
    let clean = if db.connection.is_autocommit() {
        true
    } else {
        db.control(&CONTROL.commit).is_ok() || db.roll_back()
    };
    if !clean || session.is_unclean(db) || session.check().is_err() {
        slot.discard();
    }
    slot.take_back();
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::sync::mpsc;
    use std::task::{Context, Poll, Wake, Waker};

    use tokio::sync::oneshot;

    use super::super::{Kind, Opener, TemporaryDirectory, Work, next_id};
    use super::*;
    use crate::config::{Config, Execution};

    /// One reader, which is taken.
    fn busy() -> (Arc<Readers>, Place) {
        let readers = several(1);
        let place = readers.take_free().unwrap();
        (readers, place)
    }

    fn several(count: usize) -> Arc<Readers> {
        let config = Config::in_memory().readers(count);
        Readers::new(Opener::new(":memory:".into(), config))
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let limit = Duration::from_secs(20);
        let test = async { tokio::time::timeout(limit, test).await.unwrap() };
        runtime.block_on(test);
    }

    type Waits<'a> = Pin<Box<dyn Future<Output = Result<Place>> + 'a>>;

    /// A place in the queue.
    async fn newcomer<'a>(readers: &'a Readers, method: &'static str) -> Waits<'a> {
        let mut waits: Waits<'a> = Box::pin(readers.acquire(method));
        std::future::poll_fn(|context| {
            assert!(waits.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        waits
    }

    fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_came_too_late_for_a_reader_is_served_before_newcomers() {
        run(async {
            let (readers, place) = busy();
            let mut waits = newcomer(&readers, "waits").await;
            drop(place);
            let quicker = readers.take_free().unwrap();
            assert!(poll(waits.as_mut()).is_pending());
            drop(quicker);
            assert!(readers.take_free().is_none());
            assert!(waits.await.is_ok());
            assert!(readers.take_free().is_some());
        });
    }

    #[test]
    fn who_leaves_the_queue_with_a_reader_leaves_it_to_the_next() {
        run(async {
            let (readers, place) = busy();
            let mut leaves = newcomer(&readers, "leaves").await;
            let waits = newcomer(&readers, "waits").await;
            drop(place);
            let quicker = readers.take_free().unwrap();
            assert!(poll(leaves.as_mut()).is_pending());
            drop(quicker);
            drop(leaves);
            assert_eq!(readers.queue.length.load(Ordering::SeqCst), 0);
            assert!(waits.await.is_ok());
        });
    }

    /// The first one's task does something else for now.
    #[test]
    fn who_does_not_look_at_its_reader_keeps_nobody_from_another_one() {
        run(async {
            let readers = several(2);
            let places = [(); 2].map(|()| readers.take_free().unwrap());
            let does_not_look = newcomer(&readers, "does not look").await;
            let waits = newcomer(&readers, "waits").await;
            drop(places);
            drop((waits.await.unwrap(), does_not_look));
            let places = [(); 2].map(|()| readers.take_free());
            assert!(places.iter().all(Option::is_some));
        });
    }

    /// It was told of one reader, and its thread prefers another one that somebody else was told of.
    #[test]
    fn who_is_told_of_a_reader_does_not_leave_it_free_unknown_to_the_others() {
        run(async {
            let readers = several(3);
            let [kept, preferred, other] = [(); 3].map(|()| readers.take_free().unwrap());
            let mut waits = Vec::new();
            for _ in 0..4 {
                waits.push(newcomer(&readers, "waits").await);
            }
            let mut place = Some(kept);
            for _ in &waits {
                drop(place.take());
                place = readers.take_free();
            }
            for late in &mut waits {
                assert!(poll(late.as_mut()).is_pending());
            }
            drop((place, other, preferred));
            let mut waits = waits.into_iter();
            let [first, second, leaves] = [(); 3].map(|()| waits.next().unwrap());
            let _places = (second.await.unwrap(), first.await.unwrap());
            assert_eq!(readers.queue.length.load(Ordering::SeqCst), 1);
            drop(leaves);
            assert_eq!(readers.queue.length.load(Ordering::SeqCst), 0);
        });
    }

    #[test]
    fn no_read_begins_while_every_connection_is_closed() {
        run(async {
            let readers = several(2);
            let place = readers.take_free().unwrap();
            let mut quiet = Box::pin(readers.quiesce());
            assert!(poll(quiet.as_mut()).is_pending());
            drop(place);
            let places = quiet.await.unwrap();
            assert!(readers.take_free().is_none());
            drop(places);
            assert!(
                [(); 2]
                    .map(|()| readers.take_free())
                    .iter()
                    .all(Option::is_some)
            );
        });
    }

    #[test]
    fn who_gives_up_waiting_for_quiet_leaves_every_reader_free() {
        run(async {
            let readers = several(2);
            let place = readers.take_free().unwrap();
            let mut quiet = Box::pin(readers.quiesce());
            assert!(poll(quiet.as_mut()).is_pending());
            drop((quiet, place));
            assert!(
                [(); 2]
                    .map(|()| readers.take_free())
                    .iter()
                    .all(Option::is_some)
            );
            assert_eq!(readers.queue.length.load(Ordering::SeqCst), 0);
        });
    }

    #[test]
    fn a_read_that_has_a_reader_when_all_are_closed_is_refused() {
        run(async {
            let (readers, place) = busy();
            readers.shut();
            let read = reads(place.conn(), "read");
            let refused = place.serve(&read).err();
            assert!(matches!(refused, Some(Error::Closed { method: "read" })));
        });
    }

    /// It has not come to its connection yet.
    #[test]
    fn a_read_that_is_served_when_it_is_ended_learns_of_it() {
        run(async {
            let (readers, place) = busy();
            place.conn().adopt(readers.opener.in_memory().unwrap());
            let read = reads(place.conn(), "read");
            place.serve(&read).unwrap();
            readers.evict_older_than(Duration::ZERO);
            let ended = read.take_connection().await.err();
            assert!(matches!(ended, Some(Error::TransactionLost { .. })));
        });
    }

    #[test]
    fn who_waits_in_vain_is_told_of_the_oldest_read() {
        run(async {
            let config = Config::in_memory().readers(2);
            let config = config.acquire_timeout(Duration::from_millis(1));
            let readers = Readers::new(Opener::new(":memory:".into(), config));
            let places = ["older", "newer"].map(|method| {
                let place = readers.take_free().unwrap();
                place.serve(&reads(place.conn(), method)).unwrap();
                place
            });
            let error = readers.acquire("waits").await.err();
            assert!(matches!(
                error,
                Some(Error::AcquireTimeout {
                    method: "waits",
                    holder: "older",
                    queued: 1,
                    ..
                })
            ));
            drop(places);
        });
    }

    #[test]
    fn who_waits_for_a_reader_when_all_are_closed_is_refused() {
        run(async {
            let (readers, _place) = busy();
            let waits = newcomer(&readers, "waits").await;
            readers.shut();
            let refused = waits.await.err();
            assert!(matches!(refused, Some(Error::Closed { method: "waits" })));
        });
    }

    /// What is posted waits until the sender is used.
    fn hold_up(conn: &Arc<Conn>) -> mpsc::Sender<()> {
        let (go_on, may_go_on) = mpsc::channel();
        let wait = move || may_go_on.recv_timeout(Duration::from_secs(10)).unwrap();
        conn.post(wait, drop).unwrap();
        go_on
    }

    /// Every connection is opened anew, and a read that has begun could not be waited for.
    #[test]
    fn a_connection_that_is_closed_before_its_read_comes_to_it_is_opened_again() {
        run(async {
            let directory = TemporaryDirectory::new().unwrap();
            let opener = Opener::new(directory.path().join("file"), Config::new(directory.path()));
            let _file = opener.create().unwrap();
            let readers = Readers::new(opener);
            let place = readers.take_free().unwrap();
            let read = reads(place.conn(), "read");
            let go_on = hold_up(place.conn());
            let mut takes = pin!(read.take_connection());
            let mut context = Context::from_waker(Waker::noop());
            assert!(takes.as_mut().poll(&mut context).is_pending());
            let (sender, opened) = oneshot::channel();
            place
                .conn()
                .post(|| (), |()| sender.send(()).unwrap())
                .unwrap();
            go_on.send(()).unwrap();
            opened.await.unwrap();
            readers.discard_idle();
            takes.await.unwrap();
            assert!(place.conn().lock().owned_by(read.id).is_ok());
        });
    }

    fn reads(conn: &Arc<Conn>, method: &'static str) -> Arc<Session> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (conn, offload) = (Arc::clone(conn), Execution::Offload);
        let none = Duration::ZERO;
        Session::new(conn, next_id(), Kind::Read, method, offload, none, &COUNT)
    }

    /// The read that was to be ended has ended by itself in this moment.
    #[test]
    fn ending_a_read_does_not_interrupt_the_next_one_on_its_connection() {
        let opener = Opener::new(":memory:".into(), Config::in_memory());
        let conn = Conn::new(Role::Reader, Arc::clone(&opener));
        conn.adopt(opener.in_memory().unwrap());
        let (old, new) = (reads(&conn, "old"), reads(&conn, "new"));
        conn.lock().give_to(new.id).unwrap();
        let (begins, begun) = oneshot::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let counts: Work<'_, i64> = Work::Closure(Some(Box::new(move |c| {
            begins.send(()).unwrap();
            may_go_on.recv_timeout(Duration::from_secs(10)).unwrap();
            let numbers =
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 10000)";
            let sql = format!("{numbers} SELECT count(*) FROM n");
            Ok(c.query_row(&sql, (), |row| row.get(0))?)
        })));
        let ends_the_old = async {
            begun.await.unwrap();
            evict(old, Error::HandleEnded);
            go_on.send(()).unwrap();
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let counted = runtime.block_on(async {
            let both = async { tokio::join!(new.run(counts, true, &|| {}), ends_the_old) };
            tokio::time::timeout(Duration::from_secs(20), both).await
        });
        assert_eq!(counted.unwrap().0.unwrap(), 10_000);
    }

    /// A waker may drop the task that it wakes, which leaves the queue then.
    #[test]
    fn who_waits_is_woken_when_the_queue_can_be_left() {
        struct Looks(Arc<Queue>, AtomicU8);
        impl Wake for Looks {
            fn wake(self: Arc<Self>) {
                let can_be_left = self.0.waiters.try_lock().is_ok();
                self.1.fetch_add(can_be_left.into(), Ordering::SeqCst);
            }
        }
        run(async {
            let (readers, place) = busy();
            let looks = Arc::new(Looks(Arc::clone(&readers.queue), AtomicU8::new(0)));
            let waker = Waker::from(Arc::clone(&looks));
            let mut waits = [(); 2].map(|()| Box::pin(readers.acquire("waits")));
            for waits in &mut waits {
                let polled = waits.as_mut().poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
            }
            drop(place);
            readers.shut();
            assert_eq!(looks.1.load(Ordering::SeqCst), 2);
        });
    }

    /// One who waits, and whether it has been woken.
    struct Sleeper<'a>(Waits<'a>, Arc<Woken>);

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Those who wait look, leave, and come too late, in thousands of orders.
    #[test]
    fn no_reader_is_free_while_everybody_who_waits_sleeps() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let mut random = 1_u64;
        let mut below = |limit: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random >> 33).unwrap() % limit
        };
        for _ in 0..10_000 {
            let readers = several(3);
            let (mut places, mut waits) = (Vec::new(), Vec::new());
            let look = |waits: &mut Vec<Sleeper<'_>>, places: &mut Vec<_>, index: usize| {
                let Sleeper(waiting, woken) = &mut waits[index];
                woken.0.store(false, Ordering::SeqCst);
                let waker = Waker::from(Arc::clone(woken));
                if let Poll::Ready(place) = waiting.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    places.push(place.unwrap());
                    drop(waits.remove(index));
                }
            };
            for _ in 0..30 {
                let step = below(6);
                for _ in 0..=below(4) {
                    if step == 0 {
                        let woken = Arc::new(Woken(AtomicBool::new(false)));
                        waits.push(Sleeper(Box::pin(readers.acquire("waits")), woken));
                        let newest = waits.len() - 1;
                        look(&mut waits, &mut places, newest);
                    } else if step < 3 && !waits.is_empty() {
                        let index = below(waits.len());
                        look(&mut waits, &mut places, index);
                    } else if step == 3 && !waits.is_empty() {
                        drop(waits.remove(below(waits.len())));
                    } else if step > 3 && !places.is_empty() {
                        drop(places.remove(below(places.len())));
                        if step == 5 {
                            places.extend(readers.take_free());
                        }
                    }
                }
                let is_taken = |reader: &&Arc<Reader>| reader.state.load(Ordering::SeqCst) == TAKEN;
                let taken = readers.all.iter().filter(is_taken).count();
                assert!(taken - places.len() <= 1, "more than one is kept");
            }
            let woken = |Sleeper(_, woken): &Sleeper<'_>| woken.0.load(Ordering::SeqCst);
            while let Some(index) = waits.iter().position(woken) {
                look(&mut waits, &mut places, index);
            }
            let length = readers.queue.length.load(Ordering::SeqCst);
            let waiters = readers.queue.lock();
            assert_eq!((length, waiters.count), (waits.len(), waits.len()));
            assert!(!waiters.keeps_one);
            assert!(waits.is_empty() || places.len() == readers.all.len());
            drop(waiters);
        }
    }
}
