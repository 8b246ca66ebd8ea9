//! A few reader connections, opened when first needed. A read takes a free one; if there is none, it queues.

mod pool;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use self::pool::{NEW, Pool};
use super::checkpoint::StillRead;
use super::connection::Conn;
use super::db::CONTROL;
use super::inside::{unless_inside, waits_for_itself};
use super::open::{Role, SharedOpener};
use super::read_mark::ReadMark;
use super::session::{HasSession, Session, SharedSession};
use crate::error::{Error, Result};
use crate::limited::limited;
use crate::metrics::Metrics;
use crate::sharded::thread_number;
use crate::sync::lock;

/// How long new reads are held back when every connection must be reopened.
const QUIESCE_WAIT: Duration = Duration::from_millis(100);

pub(crate) struct Readers {
    opener: SharedOpener,
    pool: Pool<Reader>,
    pub(crate) mark: Arc<ReadMark>,
}

/// One connection and the read that it serves.
struct Reader {
    conn: Arc<Conn>,
    serving: Mutex<Serving>,
}

#[derive(Default)]
struct Serving {
    read: Option<Read>,
    closed: bool,
}

/// A running read, so that it can be evicted, and named to waiting calls.
#[derive(Clone)]
struct Read {
    session: SharedSession,
    since: Instant,
}

/// The right to use one reader. When it is dropped, the reader is free again.
pub(crate) struct ReaderPermit<'a> {
    /// Dropped first.
    shown: Option<Shown<'a>>,
    permit: pool::ReaderPermit<'a, Reader>,
}

/// A read that others can see, and end. Dropping it hides the read.
struct Shown<'a> {
    reader: pool::SharedMember<'a, Reader>,
    armed: bool,
}

impl Readers {
    pub(crate) fn new(opener: SharedOpener) -> Arc<Self> {
        let reader = |_| Reader {
            conn: Conn::new(Role::Reader, Arc::clone(&opener)),
            serving: Mutex::default(),
        };
        let pool = Pool::new((0..opener.config.readers).map(reader));
        let mark = Arc::new(ReadMark::new(Arc::clone(&opener)));
        Arc::new(Self { opener, pool, mark })
    }

    /// Waits for a reader. Dropping the future leaves the queue undisturbed.
    pub(crate) async fn acquire(&self, method: &'static str) -> Result<ReaderPermit<'_>> {
        match self.take_free() {
            Some(permit) => Ok(permit),
            None => Box::pin(self.wait(method)).await,
        }
    }

    /// The reader that this thread had before, if it is free: its caches are warm. Otherwise one that is open, if there
    /// is any.
    pub(crate) fn take_free(&self) -> Option<ReaderPermit<'_>> {
        self.pool.take_free(thread_number()).map(ReaderPermit::new)
    }

    async fn wait(&self, method: &'static str) -> Result<ReaderPermit<'_>> {
        let limit = self.opener.config.acquire_timeout;
        let wait = pin!(async {
            match limited(limit, self.pool.wait(thread_number)).await {
                Some(Some(permit)) => Ok(ReaderPermit::new(permit)),
                Some(None) => Err(Error::Closed { method }),
                None => Err(self.acquire_timeout(method, limit)),
            }
        });
        let statement = || self.all().find_map(|reader| reader.conn.is_run_here());
        unless_inside(statement, wait, |holder| waits_for_itself(method, holder)).await
    }

    fn acquire_timeout(&self, method: &'static str, waited: Duration) -> Error {
        let (holder, held) = match self.oldest() {
            Some((read, since)) => (read.session().method, since.elapsed()),
            None => ("nobody", Duration::ZERO),
        };
        Error::AcquireTimeout {
            method,
            waited,
            holder,
            held,
            // This caller has left already.
            queued: self.pool.waiting() + 1,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Reader> {
        self.pool.all.iter().map(|member| &member.value)
    }

    fn running(&self) -> impl Iterator<Item = Read> {
        self.all()
            .filter_map(|reader| reader.serving().read.clone())
    }

    /// The read that has been running for the longest time.
    pub(crate) fn oldest(&self) -> Option<(SharedSession, Instant)> {
        self.running()
            .min_by_key(|read| read.since)
            .map(|read| (read.session, read.since))
    }

    /// Fills in what the readers know.
    pub(crate) fn add_to(&self, metrics: &mut Metrics) {
        metrics.waiting_reads = self.pool.untold() as u64;
        let threads = self.all().map(|reader| reader.conn.thread());
        let threads = threads.chain([self.mark.thread()]);
        metrics.threads += threads.filter(|thread| thread.exists()).count() as u64;
    }

    /// The connection of the first reader, for start-up, which opens it.
    pub(crate) fn first(&self) -> Arc<Conn> {
        let first = &self.pool.all[0];
        let _ = pool::ReaderPermit::take(first, NEW);
        Arc::clone(&first.value.conn)
    }

    /// Refuses new reads and ends the running ones. Their bodies get an error from then on.
    pub(crate) fn shut(&self) {
        self.pool.close();
        for reader in self.all() {
            let read = {
                let mut serving = reader.serving();
                serving.closed = true;
                serving.read.clone()
            };
            if let Some(Read { session, .. }) = read {
                let reason = Error::Closed {
                    method: session.session().method,
                };
                evict_read(&session, reason);
            }
        }
    }

    /// Lets a log shrink that reads still need: reports the oldest read, and ends the reads that are past the age limit.
    pub(crate) fn make_way_for(&self, log: &StillRead) {
        if let Some((oldest, since)) = self.oldest() {
            log.warn(oldest.session().method, since);
        }
        if let Some(age) = self.opener.config.max_read_age {
            self.evict_older_than(age);
        }
    }

    /// Ends reads that are older than `age`.
    pub(crate) fn evict_older_than(&self, age: Duration) {
        for Read { session, since } in self.running() {
            if since.elapsed() > age {
                evict_read(
                    &session,
                    Error::TransactionLost {
                        cause: Error::other("the read was older than max_read_age").cause(),
                    },
                );
            }
        }
    }

    /// Waits briefly until no read runs. No read begins while the permits are held.
    pub(crate) async fn quiesce(&self) -> Option<Vec<ReaderPermit<'static>>> {
        let everybody = async {
            let mut permits = Vec::new();
            for _ in self.all() {
                permits.push(self.acquire("quiesce").await?.into_owned());
            }
            Ok::<_, Error>(permits)
        };
        limited(QUIESCE_WAIT, everybody).await?.ok()
    }

    /// Closes connections that were not used since the last call of this. False if something is left for the next one.
    pub(crate) fn rest(&self) -> bool {
        let mark = self.mark.rest();
        self.pool.rest(|reader| reader.conn.rest()) && mark
    }

    /// Closes the connections that are not in use. They are reopened when they are needed.
    pub(crate) fn discard_idle(&self) {
        for reader in self.all() {
            if let Some(mut slot) = reader.conn.try_lock_idle() {
                slot.discard();
            }
        }
        self.mark.discard();
    }

    /// Whether nothing runs on any reader, and the read mark is not held.
    pub(crate) fn are_idle(&self) -> bool {
        !self.mark.is_running() && self.all().all(|reader| reader.conn.is_idle())
    }

    /// Closes every connection. Blocks until the running statements have ended.
    pub(crate) fn close(&self) {
        self.mark.close();
        for reader in self.all() {
            reader.conn.close();
        }
    }
}

impl Reader {
    fn serving(&self) -> MutexGuard<'_, Serving> {
        lock(&self.serving)
    }
}

impl<'a> ReaderPermit<'a> {
    fn new(permit: pool::ReaderPermit<'a, Reader>) -> Self {
        Self {
            shown: None,
            permit,
        }
    }

    pub(crate) fn into_owned(self) -> ReaderPermit<'static> {
        let Self { shown, permit } = self;
        ReaderPermit {
            shown: shown.map(Shown::into_owned),
            permit: permit.into_owned(),
        }
    }

    pub(crate) fn conn(&self) -> &Arc<Conn> {
        &self.permit.value().conn
    }

    /// Shows the session that the reader serves to those who wait for it, or end it. Fails once all readers are closed.
    pub(crate) fn serve(&mut self, shared: &Arc<impl HasSession>) -> Result<()> {
        if self.shown.is_some() {
            return Ok(());
        }
        let mut serving = self.permit.value().serving();
        if serving.closed {
            return Err(Error::Closed {
                method: shared.session().method,
            });
        }
        serving.read = Some(Read {
            session: Arc::clone(shared) as SharedSession,
            since: Instant::now(),
        });
        drop(serving);
        self.shown = Some(Shown {
            reader: self.permit.member(),
            armed: true,
        });
        Ok(())
    }
}

impl Shown<'_> {
    fn into_owned(mut self) -> Shown<'static> {
        self.armed = false;
        Shown {
            reader: Cow::Owned(Arc::clone(&self.reader)),
            armed: true,
        }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if self.armed {
            let read = self.reader.value.serving().read.take();
            drop(read);
        }
    }
}

/// Takes the reader from a read. Its body gets an error from then on.
pub(crate) fn evict_read(shared: &Arc<impl HasSession + ?Sized>, reason: Error) {
    let session = shared.session();
    session.lose(reason);
    session.conn.interrupt_owner(session.id);
    let (conn, shared) = (Arc::clone(&session.conn), Arc::clone(shared));
    conn.post_or_run(
        move || {
            let session = shared.session();
            let mut slot = session.conn.lock();
            if let Ok(db) = slot.taken_from(session.id) {
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

/// Ends a read: its snapshot is released.
pub(crate) fn end_read(session: &Session) {
    if session.give_back_unused() {
        return;
    }
    let mut slot = session.conn.lock();
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
    let has_served = slot.has_served();
    drop(slot);
    if has_served {
        session.conn.replace_beside();
    }
}
