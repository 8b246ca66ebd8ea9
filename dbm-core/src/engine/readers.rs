//! A few reader connections, opened when first needed and handed out first come first served.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::connection::{CONTROL, Conn, Holder};
use super::open::{Role, SharedOpener};
use super::read_mark::ReadMark;
use super::session::Session;
use crate::error::{Error, Result};

/// How long reads are held up when every connection has to be opened anew.
const MOMENT: Duration = Duration::from_millis(100);

pub(crate) struct Readers {
    opener: SharedOpener,
    places: Arc<Semaphore>,
    connections: Mutex<Connections>,
    pub(crate) mark: Arc<ReadMark>,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Connections {
    all: Vec<Reader>,
    /// Last in, first out: its caches are warm.
    idle: Vec<Arc<Conn>>,
    closed: bool,
}

struct Reader {
    conn: Arc<Conn>,
    session: Option<Arc<Session>>,
}

/// The right to use one reader. Dropped, it is free for the next.
pub(crate) struct Place {
    readers: Arc<Readers>,
    pub(crate) conn: Arc<Conn>,
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    pub(crate) fn new(opener: SharedOpener) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(
            opener.config.readers.min(Semaphore::MAX_PERMITS),
        ));
        let mark = Arc::new(ReadMark::new(Arc::clone(&opener)));
        Arc::new(Self {
            opener,
            places,
            connections: Mutex::default(),
            mark,
            waiting: AtomicUsize::new(0),
        })
    }

    /// Waits for a reader. A caller that goes away leaves the queue undisturbed.
    pub(crate) async fn acquire(self: &Arc<Self>, method: &'static str) -> Result<Place> {
        let permit = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => Box::pin(self.wait(method)).await?,
        };
        let conn = {
            let mut connections = self.lock();
            if connections.closed {
                return Err(Error::Closed { method });
            }
            match connections.idle.pop() {
                Some(conn) => conn,
                None => {
                    let conn = Conn::new(Role::Reader, Arc::clone(&self.opener));
                    connections.all.push(Reader {
                        conn: Arc::clone(&conn),
                        session: None,
                    });
                    conn
                }
            }
        };
        let place = Place {
            readers: Arc::clone(self),
            conn,
            _permit: permit,
        };
        place.conn.set_holder(Some(Holder {
            method,
            since: Instant::now(),
        }));
        open_on_lane(&place.conn).await?;
        self.mark.count_read();
        Ok(place)
    }

    async fn wait(&self, method: &'static str) -> Result<OwnedSemaphorePermit> {
        let limit = self.opener.config.acquire_timeout;
        let _waiting = Waiting::new(&self.waiting);
        match tokio::time::timeout(limit, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(Error::Closed { method }),
            Err(_) => Err(self.acquire_timeout(method, limit)),
        }
    }

    fn acquire_timeout(&self, method: &'static str, waited: Duration) -> Error {
        let oldest = self.oldest();
        let (holder, held) = oldest.map_or(("nobody", Duration::ZERO), |holder| {
            (holder.method, holder.since.elapsed())
        });
        Error::AcquireTimeout {
            method,
            waited,
            holder,
            held,
            queued: self.waiting.load(Ordering::Relaxed),
        }
    }

    /// The read that has been running for the longest time.
    pub(crate) fn oldest(&self) -> Option<Holder> {
        self.lock()
            .all
            .iter()
            .filter_map(|reader| reader.conn.holder())
            .min_by_key(|holder| holder.since)
    }

    /// A connection that is open already.
    pub(crate) fn adopt(&self, conn: Arc<Conn>) {
        let mut connections = self.lock();
        connections.all.push(Reader {
            conn: Arc::clone(&conn),
            session: None,
        });
        connections.idle.push(conn);
    }

    /// Tells whose session a reader serves, so that it can be evicted. Too late once all are.
    pub(crate) fn attach(&self, session: &Arc<Session>) -> Result<()> {
        let mut connections = self.lock();
        if connections.closed {
            return Err(Error::Closed {
                method: session.method,
            });
        }
        if let Some(reader) = connections
            .all
            .iter_mut()
            .find(|reader| Arc::ptr_eq(&reader.conn, &session.conn))
        {
            reader.session = Some(Arc::clone(session));
        }
        Ok(())
    }

    /// Refuses new reads and ends those that run; their bodies get an error from then on.
    pub(crate) fn shut(&self) {
        self.places.close();
        let sessions: Vec<_> = {
            let mut connections = self.lock();
            connections.closed = true;
            connections
                .all
                .iter()
                .filter_map(|reader| reader.session.clone())
                .collect()
        };
        for session in sessions {
            let reason = Error::Closed {
                method: session.method,
            };
            evict(session, reason);
        }
    }

    /// Ends reads that are older than `age`.
    pub(crate) fn evict_older_than(&self, age: Duration) {
        let old: Vec<_> = {
            let connections = self.lock();
            let is_old = |conn: &Conn| {
                conn.holder()
                    .is_some_and(|holder| holder.since.elapsed() > age)
            };
            connections
                .all
                .iter()
                .filter(|reader| is_old(&reader.conn))
                .filter_map(|reader| reader.session.clone())
                .collect()
        };
        for session in old {
            evict(
                session,
                Error::TransactionLost {
                    cause: Error::other("the read was older than max_read_age").cause(),
                },
            );
        }
    }

    /// Waits until nobody reads, for a moment at most; no read begins meanwhile, nor while the permit is held.
    pub(crate) async fn quiesce(&self) -> Option<OwnedSemaphorePermit> {
        let all = u32::try_from(self.opener.config.readers).ok()?;
        let nobody = Arc::clone(&self.places).acquire_many_owned(all);
        tokio::time::timeout(MOMENT, nobody).await.ok()?.ok()
    }

    /// Closes the connections that nobody uses; they are opened anew when they are needed.
    pub(crate) fn discard_idle(&self) {
        for conn in &self.lock().idle {
            if let Some(mut slot) = conn.try_lock() {
                slot.discard();
            }
        }
        self.mark.discard();
    }

    /// Closes every connection; blocks until the statements that run have ended.
    pub(crate) fn close(&self) {
        self.mark.close();
        let all = {
            let mut connections = self.lock();
            connections.closed = true;
            connections.idle.clear();
            std::mem::take(&mut connections.all)
        };
        for reader in all {
            reader.conn.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a connection without holding up the task's worker.
pub(crate) async fn open_on_lane(conn: &Arc<Conn>) -> Result<()> {
    // While the lane has work the lock may be held for as long as an open takes.
    if !conn.has_pending() && conn.is_open() {
        return Ok(());
    }
    Box::pin(open_slowly(conn)).await
}

async fn open_slowly(conn: &Arc<Conn>) -> Result<()> {
    let (sender, receiver) = oneshot::channel();
    let opening = Arc::clone(conn);
    conn.post(move || opening.open(), |result| drop(sender.send(result)))?;
    receiver.await.unwrap_or(Err(Error::HandleEnded))
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

impl Drop for Place {
    fn drop(&mut self) {
        self.conn.set_holder(None);
        let mut connections = self.readers.lock();
        if let Some(reader) = connections
            .all
            .iter_mut()
            .find(|reader| Arc::ptr_eq(&reader.conn, &self.conn))
        {
            reader.session = None;
        }
        if !connections.closed {
            connections.idle.push(Arc::clone(&self.conn));
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::sync::mpsc;

    use super::super::{Kind, Opener, Work, next_id};
    use super::*;
    use crate::config::{Config, Execution};

    /// The read that was to be ended has ended by itself in this moment.
    #[test]
    fn ending_a_read_does_not_interrupt_the_next_one_on_its_connection() {
        let opener = Opener::new(":memory:".into(), Config::in_memory());
        let conn = Conn::new(Role::Reader, Arc::clone(&opener));
        conn.adopt(opener.in_memory().unwrap());
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let session = |method| {
            let conn = Arc::clone(&conn);
            let (offload, none) = (Execution::Offload, Duration::ZERO);
            Session::new(conn, next_id(), Kind::Read, method, offload, none, &COUNT)
        };
        let (old, new) = (session("old"), session("new"));
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
}
