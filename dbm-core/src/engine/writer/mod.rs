//! The one writer of a manager: a queue of calls, and the transaction that waiting calls share.
//!
//! A write takes these steps: `acquire.rs` gives it a [`WriterPermit`], its statements run, its work is included in the
//! open transaction, and `finish.rs` commits or waits for another call's commit. Each step is an event of the
//! scheduler, a pure state machine (`scheduler/`) behind a thin shell (`shell.rs`).
//!
//! | file | what |
//! |---|---|
//! | `policy.rs` | the heuristics: every limit and interval |
//! | `scheduler/` | which call has the writer, which calls wait, when to commit |
//! | `committer.rs`, `latency.rs` | the COMMIT, and where it runs |
//! | `contention.rs` | callers that spin |
//! | `watchdog.rs` | the thread that ends waits which would not end otherwise |
//! | `shell.rs` | lock, step, unlock, carry the effects out |
//! | `acquire.rs`, `exclusive.rs`, `finish.rs` | how a call begins, becomes exclusive, ends |
//! | `upkeep.rs` | opening, mending and closing the connection |

mod acquire;
mod committer;
mod contention;
mod exclusive;
mod finish;
mod latency;
mod policy;
mod scheduler;
mod shell;
#[cfg(test)]
mod tests;
mod upkeep;
mod watchdog;

pub(crate) use self::shell::{Writer, WriterPermit};
