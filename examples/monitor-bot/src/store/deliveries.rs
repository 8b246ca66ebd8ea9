//! Telling people who do not sit at the machine what happened: in order, each event once, also across restarts.

use std::pin::Pin;

use dbm_core::prelude::*;
use tokio::sync::Mutex;

use super::Store;
use super::alerts::{Event, events_after};
use crate::error::Result;

/// Sends a message about an event.
pub type Tell =
    Box<dyn Fn(Event) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

impl Store {
    /// Tells what was not told yet. Each event enqueues this; one that fails for good is told with the next.
    #[job(attempts = 30, backoff = "5s", timeout = "60s")]
    pub async fn deliver(&self) -> Result<()> {
        /// Keeps the order: only one of these jobs sends at a time.
        static TURN: Mutex<()> = Mutex::const_new(());
        let Some(tell) = &self.tell else {
            return Ok(());
        };
        let _turn = TURN.lock().await;
        for event in self.untold().await? {
            let id = event.id;
            tell(event).await?;
            self.told(id).await?;
        }
        Ok(())
    }

    /// What was not told yet; what happened a day before the newest reading is no news.
    #[database_safe]
    pub async fn untold(&self, db: &mut ReadTransaction) -> Result<Vec<Event>> {
        let since = self.last_sample().await?.unwrap_or(0) - 86_400;
        let told = db
            .query_optional(
                "SELECT event_id FROM delivery WHERE front_end = 'discord'",
                (),
            )
            .await?;
        events_after(db, told.unwrap_or(0), since).await
    }

    #[database_safe]
    async fn told(&self, db: &mut WriteTransaction, event: i64) -> Result<()> {
        db.execute(
            "INSERT INTO delivery VALUES ('discord', ?1) ON CONFLICT DO UPDATE SET event_id = excluded.event_id",
            (event,),
        )
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, SystemTime};

    use dbm_core::testing::{run_due_jobs, set_clock};

    use super::*;
    use crate::error::Error;
    use crate::sampler::Reading;

    #[tokio::test]
    async fn what_could_not_be_told_is_told_later_once_and_in_order() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let (heard, reached) = (Arc::clone(&told), AtomicBool::new(false));
        let tell: Tell = Box::new(move |event| {
            let reached = reached.swap(true, Ordering::Relaxed);
            if reached {
                heard.lock().unwrap().push(event.id);
            }
            let sent = reached.then_some(()).ok_or(Error::refused("no network"));
            Box::pin(async { sent })
        });
        let config = Config::in_memory().job_workers(0);
        let store = Store::open(config, crate::settings::Retention::default(), Some(tell));
        let reading = Reading::of(10, [("memory", 97.0), ("swap", 97.0)]);
        store.record(&reading).await.unwrap();
        run_due_jobs(&store).await.unwrap();
        set_clock(&store, SystemTime::now() + Duration::from_secs(60)).unwrap();
        run_due_jobs(&store).await.unwrap();
        assert_eq!(*told.lock().unwrap(), [1, 2]);
    }
}
