//! What `#[job]` makes of a method: a value that can be enqueued, and what the library knows of the method.

use std::error::Error as StdError;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::call::site::Site;
use crate::engine::Access;
use crate::error::{Error, Result};
use crate::transaction::Handle;
use crate::value::bounded;

/// A call of a method with [`#[job]`](macro@crate::job), to be run later by a manager of type `M`.
///
/// The method `notify` has a function `notify_job` beside it, which takes the same arguments and gives this. Nothing
/// happens until it is [enqueued](crate::WriteTransaction::enqueue).
#[must_use = "a job does nothing unless it is enqueued"]
pub struct Job<M> {
    pub(super) kind: &'static str,
    /// As JSON; or why they cannot be written so.
    pub(super) arguments: Result<String>,
    /// Among waiting and running jobs of the kind, one has it.
    pub(super) key: Option<Result<String>>,
    manager: PhantomData<fn() -> M>,
}

impl<M> fmt::Debug for Job<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl<M> Job<M> {
    /// `unique`: there is at most one with this key.
    #[doc(hidden)]
    pub fn unique(mut self, key: &impl Serialize) -> Self {
        self.key = Some(json(self.kind, key));
        self
    }
}

/// What the function beside a method returns.
#[doc(hidden)]
pub fn job<M>(kind: &'static str, arguments: &impl Serialize) -> Job<M> {
    Job {
        kind,
        arguments: json(kind, arguments),
        key: None,
        manager: PhantomData,
    }
}

fn json(kind: &'static str, value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Parameter {
        name: format!("of the job {kind}"),
        message: format!("it cannot be written as JSON: {error}"),
    })
}

/// Reads the arguments of a job.
#[doc(hidden)]
pub fn arguments<T: DeserializeOwned>(json: &str) -> Result<T, JobFailure> {
    serde_json::from_str(json).map_err(|error| JobFailure::Arguments(misfit(&error)))
}

/// Its own text would name a value, and this one is logged.
fn misfit(error: &serde_json::Error) -> String {
    let why = if error.is_data() {
        "the method takes others"
    } else {
        "they are no JSON"
    };
    let (line, column) = (error.line(), error.column());
    format!("the arguments do not fit: {why} (line {line}, column {column})")
}

/// Why a run of a job had no success.
#[doc(hidden)]
#[derive(Debug)]
pub enum JobFailure {
    /// They do not fit the method any more. Running it again would not help.
    Arguments(String),
    Failed(Error),
    /// The method was not called, because its transaction could not begin.
    NotBegun(Error),
    /// Another worker has it.
    TakenOver,
}

impl From<Error> for JobFailure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl JobFailure {
    /// Whether the job is not to blame: then its attempt does not count.
    pub(super) fn is_of_the_database(&self) -> bool {
        let error = match self {
            Self::Failed(error) => error,
            Self::NotBegun(_) => return true,
            Self::Arguments(_) | Self::TakenOver => return false,
        };
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(
                Error::Busy { .. }
                | Error::BatchLost { .. }
                | Error::Overloaded { .. }
                | Error::Closed { .. },
            ) = error.downcast_ref()
            {
                return true;
            }
            // What an I/O error wraps is not its source, but has the same source.
            cause = match error.downcast_ref::<std::io::Error>() {
                Some(error) => error.get_ref().map(|error| error as _),
                None => error.source(),
            };
        }
        false
    }

    /// What is kept of it.
    pub(super) fn cause(&self) -> String {
        bounded(match self {
            Self::Arguments(cause) => cause.clone(),
            Self::Failed(error) | Self::NotBegun(error) => error.to_string(),
            Self::TakenOver => String::new(),
        })
    }
}

/// What a method with [`#[job]`](macro@crate::job) returns: a `Result` whose error is any error.
///
/// The library keeps the text of the error as the cause of the failure.
#[diagnostic::on_unimplemented(
    message = "a job must return a `Result<(), E>` where `E` is an error",
    label = "its failure could not be told from success",
    note = "`dbm_core::Result<()>`, anyhow and `Box<dyn Error + Send + Sync>` will do"
)]
pub trait JobOutcome {
    #[doc(hidden)]
    fn into_outcome(self) -> Result<(), JobFailure>;
}

#[diagnostic::do_not_recommend]
impl<T, E: Into<Box<dyn StdError + Send + Sync>>> JobOutcome for std::result::Result<T, E> {
    fn into_outcome(self) -> Result<(), JobFailure> {
        match self {
            Ok(_) => Ok(()),
            Err(error) => Err(JobFailure::Failed(own(error.into()))),
        }
    }
}

/// An error of this library as it is, any other one wrapped.
fn own(error: Box<dyn StdError + Send + Sync>) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::other(error),
    }
}

#[doc(hidden)]
pub fn outcome(ended: impl JobOutcome) -> Result<(), JobFailure> {
    ended.into_outcome()
}

/// A job whose manager lists it. The number stands for the name.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this job is not listed by its manager, so nobody would run it",
    label = "list it: `#[db_manager(.., jobs(..))]` on `{Self}`"
)]
pub trait Listed<const NAME: u64> {}

/// Compiles only if the job is listed.
#[doc(hidden)]
pub const fn listed<M: Listed<NAME>, const NAME: u64>() {}

/// Implemented by nothing: where a listed method is no job, the compiler asks for it.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "no method of this name is a job",
    label = "write `#[job]` on the method, or take this name off the list"
)]
pub trait IsJob {}

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), JobFailure>> + Send + 'a>>;
type Run<M> = for<'a> fn(&'a Arc<M>, &'a str) -> Running<'a>;

/// What the library knows of one method with `#[job]`.
#[doc(hidden)]
#[derive(Debug)]
pub struct JobKind<M> {
    /// The name of the method, under which its jobs are stored.
    pub(super) name: &'static str,
    pub(super) site: &'static Site,
    pub(super) run: Run<M>,
    /// The method is a write transaction, so it can end its job itself.
    pub(super) in_transaction: bool,
    pub(super) attempts: u32,
    pub(super) backoff: Duration,
    pub(super) every: Option<Duration>,
}

impl<M> JobKind<M> {
    pub fn new(name: &'static str, site: &'static Site, run: Run<M>) -> Self {
        Self {
            name,
            site,
            run,
            in_transaction: false,
            attempts: 8,
            backoff: Duration::from_secs(5),
            every: None,
        }
    }

    /// The handle of a method that is a call.
    #[must_use]
    pub fn on<H: Handle>(mut self) -> Self {
        self.in_transaction = H::ACCESS == Access::Write;
        self
    }

    /// `attempts = 8`
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// `backoff = "5s"`
    #[must_use]
    pub fn backoff_ms(mut self, backoff: u64) -> Self {
        self.backoff = Duration::from_millis(backoff);
        self
    }

    /// `every = "1h"`
    #[must_use]
    pub fn every_ms(mut self, every: u64) -> Self {
        self.every = Some(Duration::from_millis(every));
        self
    }
}
