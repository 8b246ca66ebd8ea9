//! What a manager promises on PostgreSQL, and a server that fails in every way. One program, so that its tests share a server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests"
)]

mod both;
mod calls;
mod cancel;
mod commit;
mod deferred;
mod first;
mod kills;
mod schema_files;
mod start;
mod statements;
#[path = "../support/mod.rs"]
mod support;

use dbm_postgres::Writers;
use support::LIMIT;

/// How writes can take turns.
const WAYS: [Writers; 3] = [Writers::Sharing, Writers::InTurn, Writers::Serializable];

/// Ends a test that has hung.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work)
        .await
        .expect("the test has hung")
}
