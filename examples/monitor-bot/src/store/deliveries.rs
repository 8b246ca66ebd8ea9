//! Telling people who do not sit at the machine what happened: each of them in order, also across restarts.

use std::pin::Pin;
use std::time::Duration;

use dbm_core::DeadJob;
use dbm_core::prelude::*;
use tokio::sync::Mutex;

use super::Store;
use crate::error::Result;
use crate::rules::{Event, EventKind};

/// How long a receiver may take to answer. Who sends gives up then, and nobody does so earlier: what is given up while it is
/// still being sent would arrive twice.
pub const PATIENCE: Duration = Duration::from_secs(10);

type Telling = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Someone who is told what happens: a channel on Discord, a webhook.
pub struct Receiver {
    /// What it is known by, also across restarts.
    pub name: String,
    tell: Box<dyn Fn(Event) -> Telling + Send + Sync>,
    /// Keeps the order: only one job at a time sends.
    turn: Mutex<()>,
}

impl Receiver {
    /// A receiver with a name of its own, and what sends it a message, within [`PATIENCE`].
    pub fn new<T>(name: &str, tell: impl Fn(Event) -> T + Send + Sync + 'static) -> Self
    where
        T: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            name: name.to_owned(),
            tell: Box::new(move |event| Box::pin(tell(event))),
            turn: Mutex::new(()),
        }
    }
}

/// An event that is not stored yet, and the receivers that were told of it all the same.
pub struct Unstored {
    /// The event.
    pub event: Event,
    /// The names of the receivers.
    pub told: Vec<String>,
}

impl Unstored {
    /// An event that nobody was told of.
    pub fn new(event: Event) -> Self {
        let told = Vec::new();
        Self { event, told }
    }
}

impl Store {
    /// Tells a receiver of an event, and before that of those it was not told yet. What has failed for good is passed over.
    /// Of several machines that share a database any may get the job; one that does not know the receiver leaves it to others.
    #[job(attempts = 30, backoff = "5s", timeout = "60s")]
    pub async fn deliver(&self, receiver: String, event: i64) -> Result<()> {
        let Some(known) = self.receivers.iter().find(|known| known.name == receiver) else {
            if self.is_shared() {
                refuse!("this machine has no receiver {receiver}");
            }
            // It was taken out of the configuration.
            return self.told(&receiver, event).await;
        };
        let _turn = known.turn.lock().await;
        let dead = self.undelivered().await?;
        for (id, event) in self.untold(&receiver, event).await? {
            let arguments = serde_json::json!([receiver, id]).to_string();
            if dead.iter().any(|job| job.arguments == arguments) {
                continue;
            }
            (known.tell)(event).await?;
            self.told(&receiver, id).await?;
        }
        Ok(())
    }

    /// The messages that could not be sent, the newest first.
    pub async fn undelivered(&self) -> Result<Vec<DeadJob>> {
        let mut dead = self.jobs().dead(usize::MAX).await?;
        dead.retain(|job| job.kind == "deliver");
        Ok(dead)
    }

    /// Tells of events that cannot be stored, so there can be no job for them: at once, in order, as far as it goes.
    pub async fn tell_unstored(&self, events: &mut [Unstored]) {
        for Receiver { name, tell, .. } in &self.receivers {
            for unstored in events.iter_mut().filter(|event| !event.told.contains(name)) {
                if let Err(error) = tell(unstored.event.clone()).await {
                    tracing::warn!(receiver = name, %error, "a message waits");
                    break;
                }
                unstored.told.push(name.clone());
            }
        }
    }

    /// For every receiver that was not told of an event: its message, and the job that sends it.
    pub(super) async fn enqueue_messages(
        &self,
        db: &mut WriteTransaction,
        event: i64,
        told: &[String],
    ) -> Result<()> {
        for Receiver { name, .. } in &self.receivers {
            if !told.contains(name) {
                db.execute(sql!("INSERT INTO message VALUES (?1, ?2)"), (event, name))
                    .await?;
                db.enqueue(Store::deliver_job(name.clone(), event)).await?;
            }
        }
        Ok(())
    }

    /// What a receiver was not told, up to an event. Dbm forgets after 30 days that a message was given up: so what is that
    /// much older than the event is left out.
    #[database_safe]
    pub async fn untold(
        &self,
        db: &mut ReadTransaction,
        receiver: &str,
        up_to: i64,
    ) -> Result<Vec<(i64, Event)>> {
        let sql = "SELECT event.id, at, what, value, host, alert_id FROM message JOIN event ON event.id = event_id
                   WHERE receiver = ?1 AND event_id <= ?2
                     AND NOT EXISTS (SELECT 1 FROM event AS last WHERE last.id = ?2 AND event.at <= last.at - 2592000)
                   ORDER BY event_id";
        let rows: Vec<(i64, i64, EventKind, f64, String, i64)> =
            db.query(sql, (receiver, up_to)).await?;
        let mut events = Vec::new();
        for (id, at, what, value, host, alert) in rows {
            let sql = "SELECT * FROM alert WHERE host = ?1 AND id = ?2";
            let alert = db.query_one(sql, (host, alert)).await?;
            let event = Event {
                id: Some(id),
                at,
                what,
                value,
                alert,
            };
            events.push((id, event));
        }
        Ok(events)
    }

    #[database_safe]
    async fn told(&self, db: &mut WriteTransaction, receiver: &str, event: i64) -> Result<()> {
        let sql = "DELETE FROM message WHERE receiver = ?1 AND event_id = ?2";
        db.execute(sql, (receiver, event)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};
    use std::time::SystemTime;

    use dbm_core::testing::{run_due_jobs, set_clock};
    use tokio::time::timeout;

    use super::*;
    use crate::sampler::Reading;

    /// What was told to whom, in order, and whom the network does not reach.
    #[derive(Clone, Default)]
    struct Network {
        told: Arc<Mutex<Vec<(&'static str, String)>>>,
        away: Arc<Mutex<BTreeSet<&'static str>>>,
    }

    impl Network {
        fn receiver(&self, name: &'static str) -> Receiver {
            let network = self.clone();
            let tell = move |event: Event| {
                let is_away = network.away.lock().unwrap().contains(name);
                if is_away {
                    refuse!("no network");
                }
                network
                    .told
                    .lock()
                    .unwrap()
                    .push((name, event.alert.metric));
                Ok(())
            };
            Receiver::new(name, move |event| std::future::ready(tell(event)))
        }

        /// A store with two receivers.
        fn store(&self) -> Arc<Store> {
            let receivers = ["one", "other"].map(|name| self.receiver(name));
            let config = Config::in_memory().job_workers(0);
            Store::open(
                config,
                crate::settings::Retention::default(),
                receivers.into(),
                None,
            )
        }

        fn is_away(&self, name: &'static str, is_away: bool) {
            let mut away = self.away.lock().unwrap();
            if is_away {
                away.insert(name)
            } else {
                away.remove(name)
            };
        }

        /// What a receiver was told since it was last asked.
        fn told_to(&self, receiver: &str) -> String {
            let mut told = self.told.lock().unwrap();
            let of_it = told.extract_if(.., |(name, _)| *name == receiver);
            of_it
                .map(|(_, metric)| metric)
                .collect::<Vec<_>>()
                .join(" ")
        }
    }

    fn bad(at: i64, metric: &str) -> Reading {
        Reading::of(at, [("memory", 97.0), ("swap", 97.0), (metric, 97.0)])
    }

    async fn later(store: &Arc<Store>, hours: u64) {
        let later = SystemTime::now() + Duration::from_secs(3_600 * hours);
        set_clock(store, later).unwrap();
        run_due_jobs(store).await.unwrap();
    }

    #[tokio::test]
    async fn what_could_not_be_told_is_told_later_once_and_in_order() {
        let network = Network::default();
        let store = network.store();
        network.is_away("one", true);
        store.weigh(&bad(10, "load")).await;
        run_due_jobs(&store).await.unwrap();
        assert_eq!(
            network.told_to("other"),
            "memory swap",
            "others do not wait"
        );
        network.is_away("one", false);
        store.weigh(&bad(20, "temperature")).await;
        later(&store, 1).await;
        assert_eq!(network.told_to("one"), "memory swap temperature");
        assert_eq!(network.told_to("other"), "temperature");
    }

    #[tokio::test]
    async fn what_fails_for_good_is_kept_and_holds_up_nobody() {
        let network = Network::default();
        let store = network.store();
        network.is_away("one", true);
        store.weigh(&bad(10, "load")).await;
        for hours in 1..60 {
            later(&store, hours).await;
        }
        let dead = store.undelivered().await.unwrap();
        assert_eq!(dead.len(), 2);
        assert_eq!(dead[0].cause, "no network");
        network.is_away("one", false);
        store.weigh(&bad(20, "temperature")).await;
        later(&store, 60).await;
        assert_eq!(network.told_to("one"), "temperature");
        // It can be sent all the same.
        for job in dead.iter().rev() {
            store.jobs().retry(job.id).await.unwrap();
        }
        later(&store, 60).await;
        assert_eq!(network.told_to("one"), "memory swap");
    }

    #[tokio::test]
    async fn what_was_given_up_stays_given_up_when_dbm_has_forgotten_it() {
        const DAY: i64 = 86_400;
        let network = Network::default();
        let store = network.store();
        network.is_away("one", true);
        store.weigh(&bad(10, "load")).await;
        for hours in 1..60 {
            later(&store, hours).await;
        }
        // As dbm does after 30 days.
        for job in store.undelivered().await.unwrap() {
            assert!(store.jobs().discard(job.id).await.unwrap());
        }
        network.is_away("one", false);
        store.weigh(&bad(31 * DAY, "temperature")).await;
        later(&store, 60).await;
        assert_eq!(network.told_to("one"), "temperature");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_receiver_gets_what_cannot_be_stored_once() {
        let (send, mut got) = tokio::sync::mpsc::unbounded_channel();
        // What sends cannot be called back, as a request of a webhook.
        let tell = move |event: Event| {
            let send = send.clone();
            let sending = tokio::spawn(async move {
                tokio::time::sleep(PATIENCE - Duration::from_secs(1)).await;
                send.send(event.alert.metric).unwrap();
            });
            async move { sending.await.map_err(|_| refused!("lost")) }
        };
        let config = Config::in_memory().job_workers(0);
        let keep = crate::settings::Retention::default();
        let store = Store::open(config, keep, vec![Receiver::new("slow", tell)], None);
        let event = crate::rules::Alert::default().event(EventKind::Raised, 0, 0.0);
        let mut unstored = [Unstored::new(event)];
        for _ in 0..2 {
            store.tell_unstored(&mut unstored).await;
        }
        store.close().await.unwrap();
        drop(store);
        let mut count = 0;
        let counting = async {
            while got.recv().await.is_some() {
                count += 1;
            }
        };
        // Nobody is left who could send.
        timeout(10 * PATIENCE, counting).await.unwrap();
        assert_eq!(count, 1);
    }

    #[tokio::test]
    async fn what_was_told_before_it_could_be_stored_is_not_told_again() {
        let network = Network::default();
        let store = network.store();
        let reading = bad(10, "load");
        let mut state = store.rule_state().await.unwrap();
        let events = state.weigh(&reading).into_iter();
        let mut unstored: Vec<_> = events.map(Unstored::new).collect();
        network.is_away("one", true);
        store.tell_unstored(&mut unstored).await;
        store.tell_unstored(&mut unstored).await;
        assert_eq!(network.told_to("other"), "memory swap");
        network.is_away("one", false);
        // A commit that was reported as failed may have been made.
        for _ in 0..2 {
            store.record(&reading, &state, &unstored).await.unwrap();
            run_due_jobs(&store).await.unwrap();
        }
        assert_eq!(network.told_to("one"), "memory swap");
        assert_eq!(network.told_to("other"), "");
    }

    #[tokio::test]
    async fn a_receiver_that_was_taken_out_is_forgotten() {
        let network = Network::default();
        let directory = dbm_core::testing::TestDirectory::new().unwrap();
        let keep = crate::settings::Retention::default();
        let config = || directory.config().job_workers(0);
        let store = Store::open(config(), keep, vec![network.receiver("one")], None);
        store.weigh(&bad(10, "load")).await;
        store.close().await.unwrap();
        let store = Store::open(config(), keep, Vec::new(), None);
        run_due_jobs(&store).await.unwrap();
        assert!(store.untold("one", i64::MAX).await.unwrap().is_empty());
    }
}
