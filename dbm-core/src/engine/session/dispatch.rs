//! Work that the worker thread does for a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use super::{HasSession, Session};
use crate::engine::db::Db;
use crate::error::{Error, Result};
use crate::unique_id::next_id;

impl Session {
    /// Sends work to the worker thread and waits for its result. A statement whose caller has gone before it starts is
    /// not run. The library's own work always is.
    pub(super) async fn on_worker<R: Send + 'static>(
        this: &Arc<impl HasSession + ?Sized>,
        kind: JobKind<'_>,
        work: impl FnOnce(&Self, &mut Db) -> R + Send + 'static,
    ) -> Result<R> {
        let (sender, receiver) = oneshot::channel();
        let (session, job) = (this.session(), next_id());
        let is_statement = matches!(kind, JobKind::Statement { .. });
        let mut guard = InterruptOnDrop {
            session,
            job,
            kind,
            abandoned: Arc::new(AtomicBool::new(false)),
            armed: true,
        };
        let abandoned = Arc::clone(&guard.abandoned);
        let shared = Arc::clone(this);
        let run = move || {
            let session = shared.session();
            // SeqCst: the partner is the store in `InterruptOnDrop::drop`. The lock of `Conn::running` already orders
            // them: `as_job` loads under that lock, and `interrupt` takes it after the store.
            let is_wanted =
                || !is_statement || (!abandoned.load(Ordering::SeqCst) && session.check().is_ok());
            let interruptible = is_statement && !session.is_shared();
            let owner = is_statement.then_some(session.id);
            match session.db(&mut session.conn.lock()) {
                Ok(db) => session
                    .conn
                    .as_job(job, owner, interruptible, is_wanted, || {
                        let result = work(session, db);
                        // Also after the library's own work, such as BEGIN: from here on the body can go on.
                        session.set_ready();
                        result
                    })
                    .ok_or_else(|| session.lost_or(Error::HandleEnded)),
                Err(error) => Err(error),
            }
        };
        let posted = session.conn.post(run, |result| drop(sender.send(result)));
        posted.map_err(|error| session.lost_or(error))?;
        let result = receiver.await;
        guard.armed = false;
        result.unwrap_or_else(|_| Err(session.lost_or(Error::HandleEnded)))
    }
}

/// What is sent to the worker thread.
pub(super) enum JobKind<'a> {
    /// A body's statement. `dropped` is called if its future is dropped before the statement has ended.
    Statement { dropped: &'a (dyn Fn() + Sync) },
    /// The library's own work.
    Control,
}

struct InterruptOnDrop<'a> {
    session: &'a Session,
    job: u64,
    kind: JobKind<'a>,
    abandoned: Arc<AtomicBool>,
    armed: bool,
}

impl Drop for InterruptOnDrop<'_> {
    fn drop(&mut self) {
        if let (true, JobKind::Statement { dropped }) = (self.armed, &self.kind) {
            dropped();
            // SeqCst: the partner of the load in `on_worker`, which runs under the lock that `interrupt` takes next.
            self.abandoned.store(true, Ordering::SeqCst);
            self.session.conn.interrupt(self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::Config;
    use crate::engine::session::Access;
    use crate::test_support::{engine_of, run};

    #[test]
    fn a_call_is_not_idle_while_the_library_works_for_it() {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let engine = engine_of(Config::in_memory().max_write_idle(Duration::from_secs(1)));
        let conn = Arc::clone(&engine.writer.conn);
        let session = Session::new(conn, next_id(), Access::Write, "waits", false, &COUNT);
        let session = Arc::new(session);
        session.take(&mut session.conn.lock()).unwrap();
        run(async {
            let begins = Session::control_on_lane(&session, |_, _| Instant::now());
            let begun = begins.await.unwrap();
            assert!(session.idle_since().is_some_and(|since| since >= begun));
        });
    }
}
