//! Trying many points, a few at a time.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// So many points at the same time keep the machine busy, though each waits for a process now and then.
#[must_use]
pub fn busy() -> usize {
    2 * thread::available_parallelism()
        .map_or(2, usize::from)
        .min(8)
}

/// Tries every point; an attempt tells whether it came to the point at all.
///
/// # Panics
///
/// With all that is wrong; and when too few points were reached, for then the test shows little. (Not all are:
/// threads never do exactly the same twice.)
pub fn try_all<P: Sync + Debug>(
    what: &str,
    points: &[P],
    workers: usize,
    attempt: impl Fn(&P) -> Result<bool, String> + Sync,
) {
    let (next, reached) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
            match attempt(point) {
                Ok(true) => {
                    reached.fetch_add(1, Ordering::Relaxed);
                }
                Ok(false) => {}
                Err(failure) => failures
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(format!("{point:?}: {failure}")),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let failures = failures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let (points, reached) = (points.len(), reached.into_inner());
    println!("{what}: {points} points, {reached} reached");
    assert!(
        failures.is_empty(),
        "{what}: {} of {points} points:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(
        2 * reached >= points,
        "{what}: only {reached} of {points} points were reached"
    );
}
