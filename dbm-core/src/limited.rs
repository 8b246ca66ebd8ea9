//! A time limit for a wait whose result must not be lost.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::timer::sleep;
use crate::waking::contained;

/// `None` if the time ran out.
///
/// The wait may hold wakers of other tasks, and dropping a waker may panic. If that happened after the wait had returned, its
/// output would be lost, so the drop is contained.
pub(crate) async fn limited<F: Future>(limit: Duration, wait: F) -> Option<F::Output> {
    let (mut wait, mut time) = (Box::pin(wait), pin!(sleep(limit)));
    let output = poll_fn(|context| match wait.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => time.as_mut().poll(context).map(|()| None),
    })
    .await;
    contained(|| drop(wait));
    output
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Instant;

    use super::*;

    /// Neither the runtime's timer nor its clock is needed.
    #[test]
    fn a_wait_ends_not_before_its_time_and_not_never() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        { runtime }.build().unwrap().block_on(async {
            let began = Instant::now();
            let limit = Duration::from_millis(30);
            assert_eq!(limited(limit, pending::<()>()).await, None);
            assert!(began.elapsed() >= limit);
            let early = limited(Duration::from_secs(3_600), tokio::task::yield_now()).await;
            assert_eq!(early, Some(()));
            let forever = limited(Duration::MAX, pending::<()>());
            assert_eq!(limited(Duration::from_millis(10), forever).await, None);
        });
    }
}
