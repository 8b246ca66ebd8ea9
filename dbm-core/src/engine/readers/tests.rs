use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::oneshot;

use super::pool::{Member, Queue, TAKEN};
use super::*;
use crate::config::Config;
use crate::engine::open::Opener;
use crate::engine::session::Access;
use crate::engine::statement::Work;
use crate::temporary::TemporaryDirectory;
use crate::test_support::{hold_up, run};
use crate::unique_id::next_id;

/// A pool with one reader, which is taken.
fn busy() -> (Arc<Readers>, ReaderPermit<'static>) {
    let readers = several(1);
    let permit = readers.take_free().unwrap().into_owned();
    (readers, permit)
}

fn several(count: usize) -> Arc<Readers> {
    let config = Config::in_memory().readers(count);
    Readers::new(Opener::new(":memory:".into(), config))
}

fn both_are_free(readers: &Readers) -> bool {
    let permits = [(); 2].map(|()| readers.take_free());
    permits.iter().all(Option::is_some)
}

type Waits<'a> = Pin<Box<dyn Future<Output = Result<ReaderPermit<'a>>> + 'a>>;

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
        let (readers, permit) = busy();
        let mut waits = newcomer(&readers, "waits").await;
        drop(permit);
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
        let (readers, permit) = busy();
        let mut leaves = newcomer(&readers, "leaves").await;
        let waits = newcomer(&readers, "waits").await;
        drop(permit);
        let quicker = readers.take_free().unwrap();
        assert!(poll(leaves.as_mut()).is_pending());
        drop(quicker);
        drop(leaves);
        assert_eq!(readers.pool.queue.length.load(Ordering::SeqCst), 0);
        assert!(waits.await.is_ok());
    });
}

/// The first call's task is busy with something else.
#[test]
fn who_does_not_look_at_its_reader_keeps_nobody_from_another_one() {
    run(async {
        let readers = several(2);
        let permits = [(); 2].map(|()| readers.take_free().unwrap());
        let does_not_look = newcomer(&readers, "does not look").await;
        let waits = newcomer(&readers, "waits").await;
        drop(permits);
        drop((waits.await.unwrap(), does_not_look));
        assert!(both_are_free(&readers));
    });
}

/// The call was told of one reader. Its thread prefers another one, which another call was told of.
#[test]
fn who_is_told_of_a_reader_does_not_leave_it_free_unknown_to_the_others() {
    run(async {
        let readers = several(3);
        let [kept, preferred, other] = [(); 3].map(|()| readers.take_free().unwrap());
        let mut waits = Vec::new();
        for _ in 0..4 {
            waits.push(newcomer(&readers, "waits").await);
        }
        let mut permit = Some(kept);
        for _ in &waits {
            drop(permit.take());
            permit = readers.take_free();
        }
        for late in &mut waits {
            assert!(poll(late.as_mut()).is_pending());
        }
        drop((permit, other, preferred));
        let mut waits = waits.into_iter();
        let [first, second, leaves] = [(); 3].map(|()| waits.next().unwrap());
        let _places = (second.await.unwrap(), first.await.unwrap());
        assert_eq!(readers.pool.queue.length.load(Ordering::SeqCst), 1);
        drop(leaves);
        assert_eq!(readers.pool.queue.length.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn no_read_begins_while_every_connection_is_closed() {
    run(async {
        let readers = several(2);
        let permit = readers.take_free().unwrap();
        let mut quiet = Box::pin(readers.quiesce());
        assert!(poll(quiet.as_mut()).is_pending());
        drop(permit);
        let permits = quiet.await.unwrap();
        assert!(readers.take_free().is_none());
        drop(permits);
        assert!(both_are_free(&readers));
    });
}

#[test]
fn who_gives_up_waiting_for_quiet_leaves_every_reader_free() {
    run(async {
        let readers = several(2);
        let permit = readers.take_free().unwrap();
        let mut quiet = Box::pin(readers.quiesce());
        assert!(poll(quiet.as_mut()).is_pending());
        drop((quiet, permit));
        assert!(both_are_free(&readers));
        assert_eq!(readers.pool.queue.length.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_read_that_has_a_reader_when_all_are_closed_is_refused() {
    run(async {
        let (readers, mut permit) = busy();
        readers.shut();
        let read = reads(permit.conn(), "read");
        let refused = permit.serve(&read).err();
        assert!(matches!(refused, Some(Error::Closed { method: "read" })));
    });
}

/// The call has not locked its connection yet.
#[test]
fn a_read_that_is_served_when_it_is_ended_learns_of_it() {
    run(async {
        let (readers, mut permit) = busy();
        permit.conn().take_over(readers.opener.in_memory().unwrap());
        let read = reads(permit.conn(), "read");
        permit.serve(&read).unwrap();
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
        let permits = ["older", "newer"].map(|method| {
            let mut permit = readers.take_free().unwrap();
            let read = reads(permit.conn(), method);
            permit.serve(&read).unwrap();
            permit
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
        drop(permits);
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

/// Every connection is reopened, which cannot wait for a read that has begun.
#[test]
fn a_connection_that_is_closed_before_its_read_comes_to_it_is_opened_again() {
    run(async {
        let directory = TemporaryDirectory::new().unwrap();
        let opener = Opener::new(directory.path().join("file"), Config::new(directory.path()));
        let _file = opener.create().unwrap();
        let readers = Readers::new(opener);
        let permit = readers.take_free().unwrap();
        let read = reads(permit.conn(), "read");
        let go_on = hold_up(permit.conn());
        let mut takes = pin!(read.take_connection());
        assert!(poll(takes.as_mut()).is_pending());
        let (sender, opened) = oneshot::channel();
        permit
            .conn()
            .post(|| (), |()| sender.send(()).unwrap())
            .unwrap();
        go_on.send(()).unwrap();
        opened.await.unwrap();
        readers.discard_idle();
        takes.await.unwrap();
        assert!(permit.conn().lock().owned_by(read.id).is_ok());
    });
}

fn reads(conn: &Arc<Conn>, method: &'static str) -> Arc<Session> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    Arc::new(Session::new(
        Arc::clone(conn),
        next_id(),
        Access::Read,
        method,
        false,
        &COUNT,
    ))
}

/// The read to be evicted has just ended by itself.
#[test]
fn ending_a_read_does_not_interrupt_the_next_one_on_its_connection() {
    let opener = Opener::new(":memory:".into(), Config::in_memory());
    let conn = Conn::new(Role::Reader, Arc::clone(&opener));
    conn.take_over(opener.in_memory().unwrap());
    let (old, new) = (reads(&conn, "old"), reads(&conn, "new"));
    conn.lock().give_to(new.id).unwrap();
    let (begins, begun) = oneshot::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let counts: Work<'_, i64> = Work::Closure(Some(Box::new(move |c| {
        begins.send(()).unwrap();
        may_go_on.recv_timeout(Duration::from_secs(10)).unwrap();
        let numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 10000)";
        let sql = format!("{numbers} SELECT count(*) FROM n");
        Ok(c.query_row(&sql, (), |row| row.get(0))?)
    })));
    let ends_the_old = async {
        begun.await.unwrap();
        evict_read(&old, Error::HandleEnded);
        go_on.send(()).unwrap();
    };
    run(async {
        let (counted, ()) = tokio::join!(Session::run(&new, counts, true, &|| {}), ends_the_old);
        assert_eq!(counted.unwrap(), 10_000);
    });
}

/// A waker may drop the task that it wakes, and that task then leaves the queue.
#[test]
fn who_waits_is_woken_when_the_queue_can_be_left() {
    struct Looks(Arc<Queue<Reader>>, AtomicU8);
    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            let can_be_left = self.0.waiters.try_lock().is_ok();
            self.1.fetch_add(can_be_left.into(), Ordering::SeqCst);
        }
    }
    run(async {
        let (readers, permit) = busy();
        let looks = Arc::new(Looks(Arc::clone(&readers.pool.queue), AtomicU8::new(0)));
        let waker = Waker::from(Arc::clone(&looks));
        let mut waits = [(); 2].map(|()| Box::pin(readers.acquire("waits")));
        for waits in &mut waits {
            let polled = waits.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        drop(permit);
        readers.shut();
        assert_eq!(looks.1.load(Ordering::SeqCst), 2);
    });
}

/// A waiting call, and whether it has been woken.
struct Sleeper<'a>(Waits<'a>, Arc<Woken>);

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Calls poll, leave, and miss their grant, in thousands of orders.
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
        let (mut permits, mut waits) = (Vec::new(), Vec::new());
        let look = |waits: &mut Vec<Sleeper<'_>>, permits: &mut Vec<_>, index: usize| {
            let Sleeper(waiting, woken) = &mut waits[index];
            woken.0.store(false, Ordering::SeqCst);
            let waker = Waker::from(Arc::clone(woken));
            if let Poll::Ready(permit) = waiting.as_mut().poll(&mut Context::from_waker(&waker)) {
                permits.push(permit.unwrap().into_owned());
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
                    look(&mut waits, &mut permits, newest);
                } else if step < 3 && !waits.is_empty() {
                    let index = below(waits.len());
                    look(&mut waits, &mut permits, index);
                } else if step == 3 && !waits.is_empty() {
                    drop(waits.remove(below(waits.len())));
                } else if step > 3 && !permits.is_empty() {
                    drop(permits.remove(below(permits.len())));
                    if step == 5 {
                        permits.extend(readers.take_free());
                    }
                }
            }
            let is_taken =
                |reader: &&Arc<Member<Reader>>| reader.state.load(Ordering::SeqCst) == TAKEN;
            let taken = readers.pool.all.iter().filter(is_taken).count();
            assert!(taken - permits.len() <= 1, "more than one is kept");
        }
        let woken = |Sleeper(_, woken): &Sleeper<'_>| woken.0.load(Ordering::SeqCst);
        while let Some(index) = waits.iter().position(woken) {
            look(&mut waits, &mut permits, index);
        }
        let length = readers.pool.queue.length.load(Ordering::SeqCst);
        let waiters = readers.pool.queue.lock();
        assert_eq!((length, waiters.count), (waits.len(), waits.len()));
        assert!(!waiters.keeps_one);
        assert!(waits.is_empty() || permits.len() == readers.pool.all.len());
        drop(waiters);
    }
}
