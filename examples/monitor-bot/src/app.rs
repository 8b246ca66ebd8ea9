//! The running bot: what every command and every front end works with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use dbm_core::prelude::*;
use tokio::sync::{broadcast, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::sampler::{Reading, Sampler};
use crate::settings::Settings;
use crate::span::Span;
use crate::store::{Event, Store};

/// How many events a front end may be behind before it misses some.
const UNHEARD: usize = 100;

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
    /// Whether another bot stores the readings, and weighs them; this one only asks and answers.
    is_guest: bool,
    /// Where the status page is, if there is one.
    pub page: OnceLock<SocketAddr>,
    sampler: Arc<Mutex<Sampler>>,
    reading: watch::Sender<Arc<Reading>>,
    events: broadcast::Sender<Event>,
    stored: AtomicI64,
    stored_at: AtomicI64,
}

impl App {
    /// Puts the parts together and makes the first reading.
    pub async fn start(
        store: Arc<Store>,
        sampler: Sampler,
        clock: Clock,
        settings: Settings,
        data_dir: Option<PathBuf>,
        is_guest: bool,
    ) -> Result<Arc<Self>> {
        let app = Arc::new(Self {
            store,
            clock,
            settings,
            data_dir,
            is_guest,
            page: OnceLock::new(),
            sampler: Arc::new(Mutex::new(sampler)),
            reading: watch::Sender::default(),
            events: broadcast::Sender::new(UNHEARD),
            stored: AtomicI64::new(0),
            stored_at: AtomicI64::new(0),
        });
        app.sample().await?;
        Ok(app)
    }

    /// Measures everything and stores it.
    pub async fn sample(&self) -> Result<()> {
        let watched = self
            .store
            .watches()
            .await?
            .into_iter()
            .map(|watch| watch.name)
            .collect::<Vec<_>>();
        let (sampler, at) = (Arc::clone(&self.sampler), self.clock.now());
        let measured = tokio::task::spawn_blocking(move || {
            sampler
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .read(at, &watched)
        });
        let reading = measured
            .await
            .map_err(|error| Error::refused(format!("Measuring failed: {error}.")))?;
        let reading = Arc::new(reading);
        // It is shown even if it cannot be stored; and who learns of the commit finds it here.
        self.reading.send_replace(Arc::clone(&reading));
        if self.is_guest {
            return Ok(());
        }
        let events = self.store.record(&reading).await?;
        self.stored.fetch_add(1, Ordering::Relaxed);
        self.stored_at.store(at, Ordering::Relaxed);
        for event in events {
            // Nobody may be listening.
            let _ = self.events.send(event);
        }
        Ok(())
    }

    /// Goes on sampling until the bot stops. A reading that fails is reported, and the next one tried.
    pub async fn collect(self: Arc<Self>) {
        let every = self.settings.collect.every;
        let mut ticks = interval(every.as_duration());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                () = self.stopping() => return,
                _ = ticks.tick() => {}
            }
            self.clock.advance(every);
            match self.sample().await {
                Err(Error::Database(dbm_core::Error::Closed { .. })) => return,
                Err(error) => tracing::error!(%error, "a reading failed"),
                Ok(()) => {}
            }
        }
    }

    /// Lets time pass: a made-up machine is sampled all the while at once, a real one is waited for.
    pub async fn wait(&self, span: Span) -> Result<()> {
        /// A long wait makes coarser steps, so that it ends soon.
        const MOST_STEPS: i64 = 720;
        let step = self
            .settings
            .collect
            .every
            .as_secs()
            .max(span.as_secs() / MOST_STEPS);
        let mut left = span.as_secs();
        while left > 0 {
            let next = Span::seconds(u32::try_from(step.min(left)).unwrap_or(1));
            if !self.clock.advance(next) {
                tokio::time::sleep(span.as_duration()).await;
                return Ok(());
            }
            self.sample().await?;
            left -= step;
        }
        Ok(())
    }

    /// Holds a made-up value from the next reading on; false where values are real.
    pub fn hold(&self, metric: Metric, value: Option<f64>) -> bool {
        self.sampler
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .hold(metric, value)
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
    #[cfg(feature = "web")]
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
        use dbm_core::{Config, Execution};
        let config = Config::in_memory()
            .execution(Execution::Inline)
            .job_workers(0);
        let settings = Settings::default();
        let store = Store::open(config, settings.keep, None);
        let clock = Clock::virtual_after(None);
        Self::start(store, Sampler::fake(1), clock, settings, None, false)
            .await
            .unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dbm_core::testing::{Fault, fail_next};
    use tokio::time::timeout;

    use super::*;

    fn full() -> Fault {
        dbm_core::Error::other("the disk is full").into()
    }

    #[tokio::test(start_paused = true)]
    async fn sampling_goes_on_after_readings_that_failed() {
        let app = App::fake().await;
        let first = app.reading().at;
        fail_next(&app.store, "record", full());
        fail_next(&app.store, "record", Fault::Timeout);
        fail_next(&app.store, "record", Fault::Panic);
        fail_next(&app.store, "watches", full());
        let mut readings = app.reading.subscribe();
        let collecting = tokio::spawn(Arc::clone(&app).collect());
        // Four fail, the fifth is stored before the sixth is made.
        let sixth = first + 6 * app.settings.collect.every.as_secs();
        let made = readings.wait_for(|reading| reading.at >= sixth);
        drop(timeout(Duration::from_secs(600), made).await.unwrap());
        assert!(app.stored() >= 2, "the first one and the fifth");
        app.store.close().await.unwrap();
        collecting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_stored_is_shown_and_raises_its_alert_later() {
        let app = App::fake().await;
        app.hold("memory".parse().unwrap(), Some(97.0));
        let mut events = app.events();
        fail_next(&app.store, "record", full());
        app.sample().await.unwrap_err();
        assert_eq!(app.reading().value(&"memory".parse().unwrap()), Some(97.0));
        assert!(events.try_recv().is_err());

        app.clock.advance(Span::seconds(5));
        app.sample().await.unwrap();
        assert_eq!(events.try_recv().unwrap().metric, "memory");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_that_is_broken_off_holds_nobody_up() {
        let app = App::fake().await;
        fail_next(&app.store, "record", Fault::Hang);
        timeout(Duration::from_secs(5), app.sample())
            .await
            .unwrap_err();
        app.sample().await.unwrap();
        assert_eq!(app.stored(), 2);
    }
}
