//! Readings: made, weighed, told and stored, one after the other.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{MissedTickBehavior, interval};

use super::{App, Role};
use crate::error::{Error, Result};
use crate::rules::State;
use crate::sampler::{Processes, Sampler};
use crate::span::Span;
use crate::store::{Event, EventKind, Unstored};

/// What is known between two readings. It is the database's, but goes on in memory while that fails.
#[derive(Default)]
pub(super) struct Watching {
    processes: Vec<String>,
    state: State,
    unstored: Vec<Unstored>,
}

impl App {
    /// Measures everything, weighs it, and stores it with what it means. What cannot be stored is told all the same, and
    /// stored together with a later reading.
    pub async fn sample(&self) -> Result<()> {
        let Some(sampler) = &self.sampler else {
            let newest = self.store.newest_reading().await?;
            self.reading.send_replace(Arc::new(newest));
            return Ok(());
        };
        let mut watching = self.watching.lock().await;
        let Watching {
            processes,
            state,
            unstored,
        } = &mut *watching;
        if let Ok(watches) = self.store.watches().await {
            *processes = watches.into_iter().map(|watch| watch.name).collect();
        }
        let (at, watched) = (self.clock.now(), processes.clone());
        let reading = look(sampler, move |sampler| sampler.read(at, &watched)).await?;
        let reading = Arc::new(reading);
        // It is shown even if it cannot be stored; and who learns of the commit finds it here.
        self.reading.send_replace(Arc::clone(&reading));
        if self.role == Role::Guest {
            return Ok(());
        }
        let outage = self.outage.borrow().is_some();
        if !outage
            && unstored.is_empty()
            && let Ok(stored) = self.store.rule_state().await
        {
            *state = stored;
        }
        let mut events = state.weigh(&reading);
        if !outage {
            events.extend(state.recover(at));
        }
        let is_raise = |event: &Event| event.what == EventKind::Raised;
        if events.iter().any(is_raise)
            && let Ok(processes) = look(sampler, |sampler| sampler.processes()).await
        {
            state.remember(&Processes::busiest(processes), &mut events);
        }
        unstored.extend(events.iter().cloned().map(Unstored::new));
        let stored = self.store.record(&reading, state, unstored).await;
        match &stored {
            Ok(()) => {
                unstored.clear();
                self.stored.fetch_add(1, Ordering::Relaxed);
                self.stored_at.store(at, Ordering::Relaxed);
                self.outage
                    .send_if_modified(|outage| outage.take().is_some());
            }
            Err(Error::Database(dbm_core::Error::Closed { .. })) => return stored,
            Err(error) => {
                if !self.is_fresh() {
                    let failure = state.fail(error.reason(), at);
                    unstored.extend(failure.clone().map(Unstored::new));
                    events.extend(failure);
                }
                self.outage
                    .send_replace(Some(state.open().rev().cloned().collect()));
            }
        }
        for event in events {
            // Nobody may be listening.
            let _ = self.events.send(event);
        }
        stored
    }

    /// Goes on sampling until the bot stops. A reading that fails is reported, and the next one tried; what would be a
    /// job if it could be stored is told without one.
    pub async fn collect(self: Arc<Self>) {
        let every = self.settings.collect.every;
        let mut ticks = interval(every.as_duration());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut failed = None;
        loop {
            tokio::select! {
                () = self.stopping() => return,
                _ = ticks.tick() => {}
            }
            self.clock.advance(every);
            match self.sample().await {
                Err(Error::Database(dbm_core::Error::Closed { .. })) => return,
                Err(error) => {
                    // A full disk may stay full for days.
                    let failure = Some(error.to_string());
                    if failed != failure {
                        tracing::error!(%error, "a reading failed");
                    }
                    failed = failure;
                    let unstored = &mut self.watching.lock().await.unstored;
                    self.store.tell_unstored(unstored).await;
                }
                Ok(()) => failed = None,
            }
        }
    }

    /// Lets time pass: a made-up machine is sampled all the while at once, a real one is waited for.
    pub async fn wait(&self, span: Span) -> Result<()> {
        /// A long wait makes coarser steps, so that it ends soon.
        const MOST_STEPS: i64 = 720;
        let every = self.settings.collect.every.as_secs();
        let step = every.max(span.as_secs() / MOST_STEPS);
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
}

/// Has the sampler look at the machine, which takes a moment.
async fn look<T: Send + 'static>(
    sampler: &Arc<Mutex<Box<dyn Sampler>>>,
    look: impl FnOnce(&mut dyn Sampler) -> T + Send + 'static,
) -> Result<T> {
    let sampler = Arc::clone(sampler);
    let looked = tokio::task::spawn_blocking(move || {
        let mut sampler = sampler.lock().unwrap_or_else(PoisonError::into_inner);
        look(sampler.as_mut())
    });
    looked
        .await
        .map_err(|error| refused!("Measuring failed: {error}."))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dbm_core::DbManager;
    use dbm_core::testing::{Fault, fail_next};
    use tokio::sync::broadcast;
    use tokio::time::timeout;

    use super::*;
    use crate::rules::End;

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

    /// A reading after a period.
    async fn next_reading(app: &App) -> Result<()> {
        app.clock.advance(app.settings.collect.every);
        app.sample().await
    }

    /// Readings that cannot be stored, until nothing is fresh any more.
    async fn fill_the_disk(app: &App) {
        for _ in 0..4 {
            fail_next(&app.store, "record", full());
            next_reading(app).await.unwrap_err();
        }
    }

    fn told(events: &mut broadcast::Receiver<Event>) -> Vec<String> {
        let told = std::iter::from_fn(|| events.try_recv().ok());
        told.map(|event| event.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_stored_is_weighed_told_and_shown_at_once() {
        let app = App::fake().await;
        let mut events = app.events();
        app.hold("memory".parse().unwrap(), Some(97.0));
        fail_next(&app.store, "record", full());
        next_reading(&app).await.unwrap_err();
        assert_eq!(app.reading().value(&"memory".parse().unwrap()), Some(97.0));
        assert_eq!(told(&mut events), ["Memory is at 97.0 %, above 85.0 %"]);
        let (open, problem) = app.open_alerts().await;
        assert!(open[0].metric == "memory" && problem.is_none());
        assert!(open[0].processes.is_some());

        // Nor can the state be read that rules need: they go on with what they know.
        for method in ["record", "rule_state", "watches", "open_alerts"] {
            fail_next(&app.store, method, full());
        }
        app.hold("memory".parse().unwrap(), Some(60.0));
        next_reading(&app).await.unwrap_err();
        assert_eq!(told(&mut events), ["Memory is over, at 60.0 %"]);
    }

    #[tokio::test(start_paused = true)]
    async fn that_nothing_can_be_stored_is_an_alert_that_says_why() {
        let app = App::fake().await;
        let mut events = app.events();
        fail_next(&app.store, "record", full());
        next_reading(&app).await.unwrap_err();
        assert_eq!(told(&mut events), [""; 0], "one failure is none yet");
        assert!(app.is_well());
        fill_the_disk(&app).await;
        assert_eq!(
            told(&mut events),
            ["Nothing can be stored: the disk is full"]
        );
        assert!(!app.is_well());
        next_reading(&app).await.unwrap();
        assert!(app.is_well());
        next_reading(&app).await.unwrap();
        assert_eq!(told(&mut events), ["Readings are stored again"]);
        assert_eq!(app.open_alerts().await.0.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_happened_meanwhile_is_stored_once_when_it_can_be() {
        let app = App::fake().await;
        let mut events = app.events();
        app.hold("memory".parse().unwrap(), Some(97.0));
        next_reading(&app).await.unwrap();
        app.hold("memory".parse().unwrap(), Some(99.0));
        app.hold("swap".parse().unwrap(), Some(95.0));
        fill_the_disk(&app).await;
        app.hold("swap".parse().unwrap(), Some(1.0));
        fill_the_disk(&app).await;
        for _ in 0..3 {
            next_reading(&app).await.unwrap();
        }
        let happened = told(&mut events);
        assert_eq!(happened.len(), 5, "{happened:?}");
        let alerts = app.store.alerts(None, 10).await.unwrap();
        let stored: Vec<_> = alerts
            .iter()
            .map(|alert| (alert.id, alert.metric.as_str(), alert.worst, alert.ended))
            .collect();
        let over = Some(End::Recovered);
        assert_eq!(
            stored,
            [
                (3, "storage", 0.0, over),
                (2, "swap", 95.0, over),
                (1, "memory", 99.0, None)
            ]
        );
        // What others change counts again.
        app.store.remove_rule(Some(2), None).await.unwrap();
        next_reading(&app).await.unwrap();
        let removed = "Memory: the rule memory > 85 was removed";
        assert_eq!(told(&mut events), [removed]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rule_waits_as_long_while_nothing_can_be_stored() {
        let app = App::fake().await;
        let rule = "memory > 80 for 20s".parse().unwrap();
        app.store.remove_rule(Some(2), None).await.unwrap();
        app.store.add_rule(&rule, "ada", 0).await.unwrap();
        next_reading(&app).await.unwrap();
        let mut events = app.events();
        app.hold("memory".parse().unwrap(), Some(97.0));
        fill_the_disk(&app).await;
        told(&mut events);
        next_reading(&app).await.unwrap();
        assert_eq!(told(&mut events), ["Memory is at 97.0 %, above 80.0 %"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_takes_too_long_holds_up_no_alert() {
        let app = App::fake().await;
        let mut events = app.events();
        app.hold("memory".parse().unwrap(), Some(97.0));
        app.clock.advance(Span::seconds(60));
        fail_next(&app.store, "record", Fault::Hang);
        app.sample().await.unwrap_err();
        let memory = "Memory is at 97.0 %, above 85.0 %";
        let storage = "Nothing can be stored: it takes longer than 10s";
        assert_eq!(told(&mut events), [memory, storage]);
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
