//! What a frame asks of the session that the outermost call has.

use std::time::Duration;

use crate::after_commit::{AfterCommit, Ticket};
use crate::engine::{Access, Engine, Session};
use crate::error::{Error, Result};

pub(crate) trait Seat: Send + Sync + 'static {
    type Engine: Send + Sync + 'static;

    /// What the call may do, and its method.
    fn call(&self) -> (Access, &'static str);

    fn after_commit(engine: &Self::Engine) -> &AfterCommit;

    fn promise(&self, ticket: Ticket);

    /// Fails if the session is over.
    fn check(&self) -> Result<()>;

    /// Ends the session because of a running statement whose result is never awaited.
    fn abandon(&self);

    fn set_failure(&self, error: &Error, read_only: bool);

    fn acquire_timeout(&self) -> Duration;

    /// The method whose statement this thread is inside of, if it runs on this session's connection.
    fn is_run_here(&self) -> Option<&'static str>;
}

impl Seat for Session {
    type Engine = Engine;

    fn call(&self) -> (Access, &'static str) {
        (self.access, self.method)
    }

    fn after_commit(engine: &Engine) -> &AfterCommit {
        &engine.after_commit
    }

    fn promise(&self, ticket: Ticket) {
        self.promise(ticket);
    }

    #[inline]
    fn check(&self) -> Result<()> {
        self.check()
    }

    fn abandon(&self) {
        self.abandon();
    }

    fn set_failure(&self, error: &Error, read_only: bool) {
        self.set_failure(error, read_only);
    }

    fn acquire_timeout(&self) -> Duration {
        self.conn.config().acquire_timeout
    }

    #[inline]
    fn is_run_here(&self) -> Option<&'static str> {
        self.conn.is_run_here()
    }
}
