//! The connections of a manager.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dbm_core::Result;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::connect::{Connector, Identity};
use crate::connection::Conn;
use crate::fault::is_disconnected;

/// How long closing waits for transactions that are being rolled back.
const LAST_ROLLBACKS: Duration = Duration::from_secs(10);

/// How long until it is tried again to connect.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Pool {
    pub(crate) connector: Connector,
    permits: Arc<Semaphore>,
    idle: Mutex<Idle>,
    runtime: Handle,
}

#[derive(Default)]
struct Idle {
    connections: Vec<(Conn, Arc<Identity>)>,
    is_closed: bool,
}

impl Pool {
    /// Called in a runtime.
    pub(crate) fn new(connector: Connector) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(connector.settings.connections)),
            connector,
            idle: Mutex::default(),
            runtime: Handle::current(),
        })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to use a connection, in the order of those who ask; `None` if it does not come in time.
    pub(crate) async fn permit(&self, deadline: Instant) -> Option<Permit> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        timeout_at(deadline, permit).await.ok()?.ok().map(Permit)
    }

    /// Keeps a connection for whoever comes.
    pub(crate) fn add(&self, conn: Conn, identity: Arc<Identity>) {
        self.idle().connections.push((conn, identity));
    }

    /// A connection: the one that was used last, or a new one.
    pub(crate) async fn connection(
        self: &Arc<Self>,
        permit: Permit,
        deadline: Instant,
    ) -> Result<Lent> {
        let (conn, identity) = self.open(deadline).await?;
        Ok(Lent {
            conn: Some(conn),
            identity,
            permit: Some(permit),
            pool: Arc::clone(self),
        })
    }

    async fn open(&self, deadline: Instant) -> Result<(Conn, Arc<Identity>)> {
        if let Some(known) = self.take_idle() {
            return Ok(known);
        }
        loop {
            match self.connector.connect(deadline).await {
                // Perhaps another server takes over.
                Err(error) if is_disconnected(&error) && Instant::now() + PAUSE < deadline => {
                    sleep(PAUSE).await;
                }
                connected => return connected,
            }
        }
    }

    fn take_idle(&self) -> Option<(Conn, Arc<Identity>)> {
        let mut idle = self.idle();
        let mut newest_first = std::iter::from_fn(|| idle.connections.pop());
        newest_first.find(|(conn, _)| conn.is_reusable())
    }

    /// Runs something to its end, also if nobody waits for it.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime.spawn(task)
    }

    /// Closes what is idle, and waits a while for the others.
    pub(crate) async fn close(&self) {
        let connections = {
            let mut idle = self.idle();
            idle.is_closed = true;
            std::mem::take(&mut idle.connections)
        };
        for (conn, _) in connections {
            conn.throw_away().await;
        }
        let all = u32::try_from(self.connector.settings.connections).unwrap_or(u32::MAX);
        let _ = timeout(LAST_ROLLBACKS, self.permits.acquire_many(all)).await;
    }
}

pub(crate) struct Permit(
    #[expect(dead_code, reason = "given back when it is dropped")] OwnedSemaphorePermit,
);

/// A connection that is lent to one transaction. Dropped, it is given back: rolled back if it is idle, and otherwise stopped
/// and thrown away, so that what comes too late meets nobody else.
pub(crate) struct Lent {
    conn: Option<Conn>,
    pub(crate) identity: Arc<Identity>,
    permit: Option<Permit>,
    pool: Arc<Pool>,
}

impl Lent {
    /// Another connection in the place of one that was lost.
    pub(crate) async fn renew(&mut self, deadline: Instant) -> Result<()> {
        let (conn, identity) = self.pool.open(deadline).await?;
        if let Some(lost) = self.conn.replace(conn) {
            self.pool.spawn(lost.throw_away());
        }
        self.identity = identity;
        Ok(())
    }
}

impl Deref for Lent {
    type Target = Conn;

    #[expect(clippy::expect_used, reason = "only its drop takes the connection")]
    fn deref(&self) -> &Conn {
        self.conn.as_ref().expect("a lent connection")
    }
}

impl DerefMut for Lent {
    #[expect(clippy::expect_used, reason = "only its drop takes the connection")]
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("a lent connection")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else {
            return;
        };
        if conn.is_reusable() {
            conn.roll_back_behind();
            let mut idle = self.pool.idle();
            if !idle.is_closed {
                idle.connections.push((conn, Arc::clone(&self.identity)));
                return;
            }
        }
        let permit = self.permit.take();
        self.pool.spawn(async move {
            conn.throw_away().await;
            drop(permit);
        });
    }
}
