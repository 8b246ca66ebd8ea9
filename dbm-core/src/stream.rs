//! The rows of a query, one after the other.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use crate::engine::RowChannel;
use crate::error::Result;
use crate::frame::{AnyFrame, StreamPermit, Waiting};
use crate::params::Params;
use crate::row::FromRow;

/// The rows of [`ReadTransaction::stream`](crate::ReadTransaction::stream), one after the other.
///
/// It borrows the handle until it is dropped: in the loop no other statement can run, and after it only once the stream was
/// dropped (`drop(rows)`, or the end of its block). A nested call fails with [`Error::Nesting`](crate::Error::Nesting)
/// until the stream has ended or was dropped.
///
/// # Cancel safety
///
/// Dropped, it stops the statement, and the transaction can go on. A statement that writes is run to its end before its
/// first row comes; dropped before that, it is a dropped [`Statement`](crate::Statement). A leaked stream is a leaked
/// statement.
#[must_use = "a stream does nothing until `next` is awaited"]
pub struct RowStream<'a, T> {
    frame: &'a AnyFrame,
    channel: Arc<RowChannel<T>>,
    /// What is left of the chunk that was taken last.
    rows: vec::IntoIter<T>,
    stage: Stage<'a>,
    /// The last chunk was there without a wait.
    hurries: bool,
}

enum Stage<'a> {
    Running(Waiting<'a, StreamPermit<'a>>),
    /// Its last rows may still be on their way.
    Produced(Result<StreamPermit<'a>>),
    Over,
}

impl<'a, T: FromRow> RowStream<'a, T> {
    pub(crate) fn new(frame: &'a AnyFrame, sql: &'a str, params: impl Params) -> Self {
        let channel = RowChannel::new();
        let stage = match params.into_params() {
            Ok(params) => {
                let produce = frame.stream(sql, params, Arc::clone(&channel));
                Stage::Running(produce)
            }
            Err(error) => Stage::Produced(Err(error)),
        };
        Self {
            frame,
            channel,
            rows: Vec::new().into_iter(),
            stage,
            hurries: false,
        }
    }

    /// The next row; `None` at the end, and after an error.
    ///
    /// # Errors
    ///
    /// Those of [`query`](crate::ReadTransaction::query), after the rows before the error. If the call is over
    /// (`close_within`, `max_read_age`), the error comes at once.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, no row is lost: the next call returns it.
    pub async fn next(&mut self) -> Result<Option<T>> {
        if matches!(self.stage, Stage::Over) {
            return Ok(None);
        }
        self.frame.takes_rows();
        let next = match (self.frame.check(), self.rows.next()) {
            (Ok(()), Some(row)) => return Ok(Some(row)),
            (Ok(()), None) => {
                let _active = self.frame.enter();
                poll_fn(|context| self.poll_next(context)).await
            }
            (Err(error), _) => Err(error),
        };
        if !matches!(next, Ok(Some(_))) {
            self.end();
        }
        next
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<T>>> {
        loop {
            if let Some(row) = self.rows.next() {
                return Poll::Ready(Ok(Some(row)));
            }
            match &mut self.stage {
                Stage::Running(statement) => {
                    if let Poll::Ready(produced) = statement.as_mut().poll(context) {
                        self.stage = Stage::Produced(produced);
                        continue;
                    }
                    let Poll::Ready(chunk) = self.channel.chunks.poll_take(context) else {
                        self.hurries = false;
                        return Poll::Pending;
                    };
                    self.rows = chunk.into_iter();
                    if std::mem::replace(&mut self.hurries, true) {
                        // A body that never waits lets other tasks run.
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Stage::Produced(_) => match self.channel.chunks.take() {
                    Some(chunk) => self.rows = chunk.into_iter(),
                    None => {
                        let produced = std::mem::replace(&mut self.stage, Stage::Over);
                        let Stage::Produced(Err(error)) = produced else {
                            return Poll::Ready(Ok(None));
                        };
                        return Poll::Ready(Err(error));
                    }
                },
                Stage::Over => return Poll::Ready(Ok(None)),
            }
        }
    }
}

impl<T> RowStream<'_, T> {
    /// Stops the statement, and lets go of the handle.
    fn end(&mut self) {
        if matches!(self.stage, Stage::Over) {
            return;
        }
        self.channel.chunks.close();
        self.rows = Vec::new().into_iter();
        self.stage = Stage::Over;
    }
}

impl<T> Drop for RowStream<'_, T> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<T> fmt::Debug for RowStream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowStream").finish_non_exhaustive()
    }
}
