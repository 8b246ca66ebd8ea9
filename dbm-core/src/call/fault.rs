//! A fault in place of the body, if a test has ordered one.

use std::convert::Infallible;
use std::future::pending;

use super::body::{self, BodyOutcome};
use super::failure::Failure;
use super::lease::Lease;
use super::site::Site;
use crate::error::Error;
use crate::fault::Fault;

/// Ends the call with a fault instead of running its body.
pub(super) async fn strike(fault: Fault, mut lease: Lease<'_>, site: &'static Site) -> Failure {
    let failure = match fault {
        Fault::Error(error) => Failure::Error(error),
        Fault::Timeout => Failure::Error(Error::Timeout {
            method: site.method,
            limit: site.timeout.unwrap_or_default(),
        }),
        Fault::Panic => Failure::Panic(Box::new("a test wanted it to")),
        Fault::Hang => {
            match body::run(&mut lease, site, async |_| pending::<Infallible>().await).await {
                BodyOutcome::TimedOut(error) => Failure::Error(error),
                BodyOutcome::Panicked(panic) => Failure::Panic(panic),
                BodyOutcome::Returned(never) => match never {},
            }
        }
    };
    let _ = lease.undo(site).await;
    failure
}
