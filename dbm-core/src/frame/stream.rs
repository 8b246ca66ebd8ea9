//! The statement of a stream: it has the frame's statement permit until its last row was taken.

use std::borrow::Cow;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Frame, Seat, StatementPermit};
use crate::engine::{Access, Produced, Producer, RowChannel, Session, SharedSession, Tried, Work};
use crate::error::{Error, Result};
use crate::params::BoundParams;
use crate::row::FromRow;

/// The statement permit of a frame, while a stream has it.
pub(crate) struct StreamPermit<'a> {
    in_stream: &'a AtomicBool,
    _permit: StatementPermit<'a>,
}

impl Drop for StreamPermit<'_> {
    fn drop(&mut self) {
        self.in_stream.store(false, Ordering::Relaxed);
    }
}

impl Frame {
    /// Produces the rows of a statement: here if it is short and its result is not too large, otherwise on the worker
    /// thread, which waits while the body has a chunk to take.
    pub(crate) async fn stream<T: FromRow>(
        self: &Arc<Self>,
        sql: &str,
        params: BoundParams,
        channel: Arc<RowChannel<T>>,
    ) -> Result<StreamPermit<'_>> {
        let session = self.session();
        let mut work = Work::Operation {
            sql: Cow::Borrowed(sql),
            operation: Producer::new(params, Arc::clone(self) as SharedSession, &channel),
        };
        let permit = self.note_stream(self.admit(self.needs_exclusive(&work), None).await?);
        let reads = self.access == Access::Read;
        let produced = match session.try_here(&mut work, reads, false) {
            Tried::Done(result) => result.unwrap_or_else(|panic| resume_unwind(panic)),
            Tried::NotYet | Tried::NotHere => Ok(Produced::TooMuch),
        };
        let produced = match produced {
            Ok(Produced::TooMuch) => {
                channel.allow_waiting();
                // What reads can be stopped anywhere, and leaves the transaction as it is.
                let dropped = || {
                    session.reads_anything();
                    if channel.is_writing() {
                        self.poison();
                    }
                };
                Session::run_on_lane(self, work, reads, &dropped).await
            }
            produced => produced,
        };
        self.note_failure(produced)?;
        Ok(permit)
    }
}

impl<S: Seat> Frame<S> {
    pub(super) fn note_stream<'a>(&'a self, permit: StatementPermit<'a>) -> StreamPermit<'a> {
        self.in_stream.store(true, Ordering::Relaxed);
        StreamPermit {
            in_stream: &self.in_stream,
            _permit: permit,
        }
    }

    /// Fails if a nested call would wait for a stream that waits for it.
    pub(super) fn check_no_stream(&self, inner: &'static str) -> Result<()> {
        if !self.in_stream.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Error::Nesting {
            outer: self.method,
            inner,
            why: "a stream of the outer method is open; take its rows to the end or drop it first, or use `query`",
        })
    }
}
