//! Durable jobs: calls that are written to the database, and run after the commit of the transaction that enqueued them.
//!
//! `job.rs` has what the attribute generates; `enqueue.rs` and `dead.rs` what a program calls. `keeper.rs` is the task that
//! looks for due jobs and starts workers; `worker.rs` is what one of them does; `runner.rs` is what they share.
//! `statements.rs` has the SQL.

mod dead;
mod enqueue;
mod job;
#[expect(clippy::disallowed_methods, reason = "it starts the tasks of workers")]
mod keeper;
mod runner;
mod start;
mod statements;
#[expect(clippy::disallowed_methods, reason = "it writes the events of jobs")]
mod tell;
mod worker;

pub use dead::{DeadJob, JobId, Jobs};
pub use job::{IsJob, Job, JobKind, JobOutcome, Listed, arguments, job, listed, outcome};
pub(crate) use keeper::run;
#[cfg(feature = "testing")]
pub(crate) use keeper::run_due;
pub(crate) use runner::Kinds;
pub(crate) use start::{are_missing, make_tables};
#[cfg(feature = "remote")]
pub(crate) use start::{are_missing_on_server, make_tables_on_server};
