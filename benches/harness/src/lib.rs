//! The workloads every peer runs, and how they are timed.
//!
//! A peer is one small program: it implements [`Peer`] and hands over to [`worker`]. The program measures one
//! [`Job`], prints one [`Report`] as a line of JSON, and ends, so that no measurement inherits the state of another.

mod drive;
mod histogram;
mod job;
mod managers;
mod peer;
mod report;
mod script;
mod slots;

pub use drive::{worker, worker_on_this_thread};
pub use job::{Durability, Job, Limit, Workload};
pub use peer::{
    BoxError, INSERT, Item, Peer, READ_COUNTER, Result, SELECT, SELECT_ALL, STATEMENTS,
    WRITE_COUNTER,
};
pub use report::{Contents, Managers, Report};
pub use slots::{Slot, Slots};
