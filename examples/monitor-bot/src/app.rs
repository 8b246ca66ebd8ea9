//! The running bot: what every command and every front end works with.

mod sampling;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use dbm_core::prelude::*;
use tokio::sync::{self, broadcast, watch};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::sampler::{Reading, Sampler};
use crate::settings::Settings;
use crate::store::{Alert, Event, Store};

/// How many events a front end may be behind before it misses some.
const UNHEARD: usize = 100;

/// What a bot does with the readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It stores what it measures, and weighs it.
    Keeper,
    /// Another bot does; this one only asks and answers.
    Guest,
}

/// The running bot.
pub struct App {
    /// What is remembered.
    pub store: Arc<Store>,
    /// What time it is.
    pub clock: Clock,
    /// How it was configured.
    pub settings: Settings,
    /// Where the data are; none when they are gone at the end.
    pub data_dir: Option<PathBuf>,
    role: Role,
    /// Where the status page is, if there is one.
    pub page: OnceLock<SocketAddr>,
    /// None if it asks about another machine, and shows what that one has stored.
    sampler: Option<Arc<Mutex<Box<dyn Sampler>>>>,
    watching: sync::Mutex<sampling::Watching>,
    outage: watch::Sender<Option<Vec<Alert>>>,
    reading: watch::Sender<Arc<Reading>>,
    events: broadcast::Sender<Event>,
    stored: AtomicI64,
    stored_at: AtomicI64,
}

impl App {
    /// Puts the parts together and makes the first reading.
    pub async fn start(
        store: Arc<Store>,
        sampler: Option<Box<dyn Sampler>>,
        clock: Clock,
        settings: Settings,
        data_dir: Option<PathBuf>,
        role: Role,
    ) -> Result<Arc<Self>> {
        let app = Arc::new(Self {
            store,
            clock,
            settings,
            data_dir,
            role,
            page: OnceLock::new(),
            sampler: sampler.map(|sampler| Arc::new(Mutex::new(sampler))),
            watching: sync::Mutex::default(),
            outage: watch::Sender::default(),
            reading: watch::Sender::default(),
            events: broadcast::Sender::new(UNHEARD),
            stored: AtomicI64::new(0),
            stored_at: AtomicI64::new(0),
        });
        match app.sample().await {
            // A full disk is no reason not to watch.
            Err(Error::Database(error)) => tracing::error!(%error, "the first reading failed"),
            sampled => sampled?,
        }
        Ok(app)
    }

    /// Holds a made-up value from the next reading on; false where values are real.
    pub fn hold(&self, metric: Metric, value: Option<f64>) -> bool {
        self.sampler.as_ref().is_some_and(|sampler| {
            let mut sampler = sampler.lock().unwrap_or_else(PoisonError::into_inner);
            sampler.hold(metric, value)
        })
    }

    /// The open alerts, the newest first; those in memory while nothing can be stored. If the database does not say, there
    /// are none to show, and why.
    pub async fn open_alerts(&self) -> (Vec<Alert>, Option<Error>) {
        let stored = self.store.open_alerts().await;
        let in_memory = self.outage.borrow().clone();
        in_memory.map_or(stored, |alerts| (alerts, None))
    }

    /// Changes with every reading that cannot be stored, and when the first one is stored again.
    #[cfg(any(feature = "web", feature = "discord"))]
    pub fn outages(&self) -> watch::Receiver<Option<Vec<Alert>>> {
        self.outage.subscribe()
    }

    /// Whether the database takes calls and the newest readings are stored.
    pub fn is_well(&self) -> bool {
        self.store.status() == Status::Running && self.is_fresh()
    }

    /// A reading that is three periods old is not fresh, and neither is one from the future.
    fn is_fresh(&self) -> bool {
        let age = self.clock.now() - self.stored_at();
        (0..=3 * self.settings.collect.every.as_secs()).contains(&age)
    }

    /// The newest reading.
    pub fn reading(&self) -> Arc<Reading> {
        self.reading.borrow().clone()
    }

    /// Learns of every alert that is raised, gets worse or is over.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// How many readings were stored in this run.
    pub fn stored(&self) -> i64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// When a reading was stored last.
    pub fn stored_at(&self) -> i64 {
        self.stored_at.load(Ordering::Relaxed)
    }

    /// Waits until the database is closed or being closed: every part ends with it.
    pub async fn stopping(&self) {
        let mut status = self.store.watch_status();
        // The sender lives as long as the store, so this cannot fail.
        let _ = status
            .wait_for(|status| !matches!(status, Status::Starting | Status::Running))
            .await;
    }
}

#[cfg(test)]
impl App {
    /// The bot on a made-up machine, with a database of its own; a test may pause the time.
    pub async fn fake() -> Arc<Self> {
        Self::telling(Vec::new()).await
    }

    /// The same, with somebody to tell.
    pub async fn telling(receivers: Vec<crate::store::Receiver>) -> Arc<Self> {
        use dbm_core::{Config, Execution};
        let config = Config::in_memory()
            .execution(Execution::Inline)
            .job_workers(0);
        let settings = Settings::default();
        let store = Store::open(config, settings.keep, receivers, None);
        let clock = Clock::virtual_after(None);
        let fake = Box::new(crate::sampler::Fake::new(1));
        let app = Self::start(store, Some(fake), clock, settings, None, Role::Keeper);
        app.await.unwrap()
    }
}
