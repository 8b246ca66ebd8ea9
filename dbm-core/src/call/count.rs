//! Counts a call when it ends, however it ends, and times it if that is asked for.

use std::time::{Duration, Instant};

use super::failure::Failure;
use super::profile;
use super::site::Site;
use super::trace;
use crate::error::Error;
use crate::manager_core::ManagerCore;
use crate::metrics::{MethodMetrics, Metrics, Outcome};

/// A call that runs. It is counted when this is dropped: as cancelled, unless its [outcome](Self::set_outcome) is known.
pub(super) struct CountedCall<'a> {
    core: &'a ManagerCore,
    site: &'static Site,
    /// The time is read only if a subscriber, an attribute or a setting needs it. Boxed, to keep the future of a call small.
    clock: Option<Box<Clock>>,
    outcome: Outcome,
}

struct Clock {
    started: Instant,
    waited: Option<Duration>,
}

impl<'a> CountedCall<'a> {
    pub(super) fn new(core: &'a ManagerCore, site: &'static Site) -> Self {
        Self {
            core,
            site,
            clock: None,
            outcome: Outcome::Cancelled,
        }
    }

    /// Starts the clock, if it is wanted. Inside the span of the call: a subscriber may want the times of this one alone.
    pub(super) fn start(&mut self) {
        if self.core.calls().is_timed() || trace::wants_times(self.site) {
            self.clock = Some(Box::new(Clock {
                started: Instant::now(),
                waited: None,
            }));
        }
    }

    /// The call has its connection and its transaction.
    #[inline]
    pub(super) fn leased(&mut self) {
        if let Some(clock) = &mut self.clock {
            clock.leased(self.site);
        }
    }

    pub(super) fn set_outcome<R>(&mut self, result: &Result<R, Failure>, is_ok: fn(&R) -> bool) {
        self.outcome = match result {
            Ok(value) if is_ok(value) => Outcome::Ok,
            Ok(_) => Outcome::Failed,
            Err(Failure::Panic(_)) => Outcome::Panicked,
            Err(Failure::Error(Error::Timeout { .. } | Error::AcquireTimeout { .. })) => {
                Outcome::TimedOut
            }
            Err(Failure::Error(Error::Closed { .. } | Error::Failed { .. })) => Outcome::Closed,
            Err(Failure::Error(_)) => Outcome::Failed,
        };
    }

    /// Whether it has ended well.
    pub(super) fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// `#[timed]`: logs how long the call took.
    #[inline]
    pub(super) fn log_time(&self) {
        if let Some(clock) = &self.clock
            && self.site.timed
        {
            clock.log(self.site);
        }
    }
}

/// Seldom used, so out of the way of calls without a clock.
impl Clock {
    #[cold]
    fn leased(&mut self, site: &Site) {
        let waited = self.started.elapsed();
        trace::leased(site, waited);
        self.waited = Some(waited);
    }

    #[cold]
    fn log(&self, site: &Site) {
        let waited = self.waited.unwrap_or_default();
        let ran = self.started.elapsed().saturating_sub(waited);
        trace::timing(site, Some(waited), ran);
    }
}

impl Drop for CountedCall<'_> {
    fn drop(&mut self) {
        let (calls, method) = (self.core.calls(), profile::number_of(self.site));
        calls.ended(method, self.outcome);
        if let Some(clock) = &self.clock {
            calls.took(method, clock.waited, clock.started.elapsed());
        }
    }
}

/// See [`DbManager::metrics`](crate::DbManager::metrics).
pub(crate) fn metrics(core: &ManagerCore) -> Metrics {
    let gate = core.gate();
    let mut metrics = match gate.answer() {
        Some(Ok(database)) => database.metrics(),
        _ => Metrics::default(),
    };
    metrics.live_reads = gate.live.count();
    let mut methods: Vec<_> = profile::sites()
        .into_iter()
        .filter_map(|site| {
            let (calls, times) = core.calls().snapshot(profile::number_of(site))?;
            Some(MethodMetrics {
                module: site.module,
                method: site.method,
                calls,
                times,
            })
        })
        .collect();
    methods.sort_by_key(|method| (method.module, method.method));
    metrics.methods = methods;
    metrics
}
