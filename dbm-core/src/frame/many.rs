//! One statement for many rows of parameters, in a savepoint of its own.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::Frame;
use crate::engine::{Many, Savepoint, Session, Work};
use crate::error::Result;
use crate::params::{BoundParams, Params};

/// Rows are converted where the task is, and run, in chunks of so many, or of about so many bytes.
const CHUNK_ROWS: usize = 256;
const CHUNK_BYTES: usize = 64 * 1024;

impl Frame {
    /// Runs a statement for each row. If one fails, nothing of any row is left.
    pub(crate) async fn execute_many<P: Params>(
        self: &Arc<Self>,
        sql: &str,
        mut rows: impl Iterator<Item = P> + Send,
    ) -> Result<usize> {
        let _active = self.session().enter();
        let first = convert(&mut rows, 0)?;
        if first.is_empty() {
            return self.check().map(|()| 0);
        }
        let work = self.many(sql, first, 0);
        let _permit = self.admit(self.needs_exclusive(&work), None).await?;
        let savepoint = self.engine()?.savepoint(self, self.depth + 1);
        let undo = UndoOnDrop {
            frame: self,
            savepoint: Some(savepoint.await?),
            is_kept: false,
        };
        let changed = self.run_chunks(work, &mut rows, sql).await;
        undo.end(changed.is_ok()).await.and(changed)
    }

    async fn run_chunks<'a, P: Params>(
        self: &Arc<Self>,
        mut work: Work<'a, usize>,
        rows: &mut (impl Iterator<Item = P> + Send),
        sql: &'a str,
    ) -> Result<usize> {
        let poison = || self.poison();
        let (mut changed, mut done) = (0, 0);
        loop {
            done += work.runs() as usize;
            let mut running = pin!(Session::run(self, work, false, &poison));
            let begun = poll_fn(|context| Poll::Ready(running.as_mut().poll(context))).await;
            // While the worker thread runs these rows, the next ones are converted.
            let next = match &begun {
                Poll::Ready(Err(_)) => Ok(Vec::new()),
                _ => convert(rows, done),
            };
            let result = match begun {
                Poll::Ready(result) => result,
                Poll::Pending => running.await,
            };
            changed += self.note_failure(result)?;
            let next = self.note_failure(next)?;
            if next.is_empty() {
                return Ok(changed);
            }
            work = self.many(sql, next, done);
            self.consume_budget().await;
        }
    }

    fn many<'a>(&self, sql: &'a str, rows: Vec<BoundParams>, first: usize) -> Work<'a, usize> {
        Work::Operation {
            sql: Cow::Borrowed(sql),
            operation: Box::new(Many {
                rows,
                first,
                method: self.method,
            }),
        }
    }
}

/// Converts the next rows; `first` is the index of the first of them.
pub(super) fn convert<P: Params>(
    rows: &mut impl Iterator<Item = P>,
    first: usize,
) -> Result<Vec<BoundParams>> {
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    while chunk.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
        let Some(row) = rows.next() else { break };
        let row = row
            .into_params()
            .map_err(|error| error.in_row(first + chunk.len()))?;
        bytes += row.bytes();
        chunk.push(row);
    }
    Ok(chunk)
}

/// Undoes what was done since the savepoint, unless that has ended.
struct UndoOnDrop<'a> {
    frame: &'a Frame,
    savepoint: Option<Arc<Savepoint>>,
    /// It is being ended on the worker thread, and its work kept.
    is_kept: bool,
}

impl UndoOnDrop<'_> {
    async fn end(mut self, keep: bool) -> Result<()> {
        self.is_kept = keep;
        if let Some(savepoint) = &self.savepoint {
            savepoint.end(keep).await?;
        }
        self.savepoint = None;
        Ok(())
    }
}

impl Drop for UndoOnDrop<'_> {
    fn drop(&mut self) {
        let Some(savepoint) = self.savepoint.take() else {
            return;
        };
        if self.is_kept {
            self.frame.poison();
        }
        let session = self.frame.session();
        if session.conn.has_pending() || session.has_worked_long() {
            session.conn.post_or_run(move || savepoint.undo(), drop);
        } else {
            savepoint.undo();
        }
    }
}
