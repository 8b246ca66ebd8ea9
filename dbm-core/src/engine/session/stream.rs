//! The statement of a stream: it produces rows in chunks, and waits while the body has a chunk to take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ffi};
use serde_core::de::DeserializeOwned;

use super::SharedSession;
use super::attempt::is_interrupt;
use crate::channel::{Channel, Unsent};
use crate::engine::statement::Operation;
use crate::error::Result;
use crate::params::BoundParams;
use crate::row::{self, Chunks};

/// A chunk is sent when it has about as many bytes. Three exist at a time: one is produced, one waits, one is read.
const CHUNK: usize = 64 * 1024;
/// A result of fewer bytes is one chunk where the task is. Few short statements have more, and theirs are produced twice.
const WHOLE: usize = 1024 * 1024;
/// Slow rows are sent before a chunk is full.
const CHUNK_TIME: Duration = Duration::from_millis(1);

/// What a stream and its statement share.
pub(crate) struct RowChannel<T> {
    pub(crate) chunks: Channel<T>,
    /// The statement runs on the worker thread, which may wait for the body.
    may_wait: AtomicBool,
    /// A statement that writes has begun and has not ended.
    is_writing: AtomicBool,
}

/// What has become of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Produced {
    /// All of it was sent.
    All,
    /// It is too large for one chunk, and nothing was sent: the statement must run where it may wait.
    TooMuch,
}

pub(crate) struct Producer<T> {
    params: BoundParams,
    session: SharedSession,
    channel: Arc<RowChannel<T>>,
    waited: Duration,
}

impl<T> RowChannel<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            chunks: Channel::default(),
            may_wait: AtomicBool::new(false),
            is_writing: AtomicBool::new(false),
        })
    }

    pub(crate) fn allow_waiting(&self) {
        self.may_wait.store(true, Ordering::Relaxed);
    }

    /// Whether it is unknown what the statement has written. Asked after the channel was closed: a statement that writes
    /// looks for that once it has said so, both under the channel's lock.
    pub(crate) fn is_writing(&self) -> bool {
        self.is_writing.load(Ordering::Relaxed)
    }
}

impl<T: DeserializeOwned + Send + 'static> Producer<T> {
    pub(crate) fn new(
        params: BoundParams,
        session: SharedSession,
        channel: &Arc<RowChannel<T>>,
    ) -> Box<Self> {
        Box::new(Self {
            params,
            session,
            channel: Arc::clone(channel),
            waited: Duration::ZERO,
        })
    }

    /// A write has made all its changes before its first row. It is run to its end, so that it is whole whatever becomes
    /// of the stream.
    fn write(&self, statement: &mut rusqlite::Statement<'_>) -> Result<Produced> {
        let RowChannel {
            chunks, is_writing, ..
        } = &*self.channel;
        is_writing.store(true, Ordering::Relaxed);
        if chunks.is_closed() {
            is_writing.store(false, Ordering::Relaxed);
            return Ok(Produced::All);
        }
        let rows = row::all(statement.raw_query().into());
        is_writing.store(false, Ordering::Relaxed);
        let _ = chunks.try_send(rows?);
        Ok(Produced::All)
    }

    fn read(&mut self, connection: &Connection, mut rows: Chunks<'_>) -> Result<Produced> {
        if !self.channel.may_wait.load(Ordering::Relaxed) {
            let mut chunk = Vec::new();
            let read = rows.fill(&mut chunk, usize::MAX, WHOLE);
            let is_last = match &read {
                Ok(more) => !more,
                // A statement that was stopped runs again.
                Err(error) => !is_interrupt(error),
            };
            if is_last {
                let _ = self.channel.chunks.try_send(chunk);
            }
            return Ok(if read? {
                Produced::TooMuch
            } else {
                Produced::All
            });
        }
        loop {
            let (chunk, more) = Self::chunk(&mut rows);
            let is_open = chunk.is_empty() || self.send(connection, chunk)?;
            if !more? || !is_open {
                return Ok(Produced::All);
            }
        }
    }

    /// The next rows, and whether there are more: as many as fit, or as are found in time. The clock is looked at after
    /// the first row, and after every few rows from then on.
    fn chunk(rows: &mut Chunks<'_>) -> (Vec<T>, Result<bool>) {
        let (started, mut chunk, mut most) = (Instant::now(), Vec::new(), 1);
        loop {
            let more = rows.fill(&mut chunk, most, CHUNK);
            let is_full = chunk.len() < most || started.elapsed() > CHUNK_TIME;
            if is_full || !matches!(more, Ok(true)) {
                return (chunk, more);
            }
            most += 16;
        }
    }

    /// Waits until there is room. False once the stream is gone.
    fn send(&mut self, connection: &Connection, mut chunk: Vec<T>) -> Result<bool> {
        let mut full_since = None;
        let sent = loop {
            match self.channel.chunks.try_send(chunk) {
                Ok(()) => break Ok(true),
                Err(Unsent::Closed) => break Ok(false),
                Err(Unsent::Full(back)) => chunk = back,
            }
            if full_since.is_none() {
                full_since = Some(Instant::now());
                self.session.session().set_waits();
            }
            // Who interrupts the statement unparks the thread as well.
            if connection.is_interrupted() {
                let interrupt = ffi::Error::new(ffi::SQLITE_INTERRUPT);
                break Err(rusqlite::Error::SqliteFailure(interrupt, None).into());
            }
            thread::park();
        };
        if let Some(since) = full_since {
            self.session.session().set_busy();
            self.waited += since.elapsed();
        }
        sent
    }
}

impl<T: DeserializeOwned + Send + 'static> Operation<Produced> for Producer<T> {
    fn run(
        &mut self,
        connection: &Connection,
        statement: &mut rusqlite::Statement<'_>,
    ) -> Result<Produced> {
        self.params.bind(statement)?;
        if statement.readonly() {
            self.read(connection, Chunks::of(statement.raw_query().into()))
        } else {
            self.write(statement)
        }
    }

    fn take_waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }
}
