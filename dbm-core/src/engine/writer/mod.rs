//! The one writer of a manager: a queue of calls, and the transaction that waiting calls share.
//!
//! A write takes this way: `acquire.rs` gets it a [`WriterPermit`], its statements run, its work is included in the open
//! transaction, and `finish.rs` commits that or waits for the commit of another call. Each of these steps is an event of
//! the scheduler, a pure state machine (`scheduler/`) behind a thin shell (`shell.rs`).
//!
//! | file | what |
//! |---|---|
//! | `policy.rs` | the heuristics: each limit and interval |
//! | `scheduler/` | who has the writer, who waits, when to commit |
//! | `committer.rs`, `latency.rs` | the COMMIT, and where it runs |
//! | `contention.rs` | callers that wait in their thread |
//! | `watchdog.rs` | the thread that ends waits which do not end by themselves |
//! | `shell.rs` | lock, step, unlock, carry the effects out |
//! | `acquire.rs`, `exclusive.rs`, `finish.rs` | the beginning of a call, its change of mind, its end |
//! | `upkeep.rs` | the connection over its life |

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
