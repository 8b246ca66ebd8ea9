//! The four failure policies: what the caller gets when a call fails.

use std::any::Any;
use std::fmt::Display;
use std::panic::resume_unwind;

use tracing::Span;

use super::site::Site;
use super::trace;
use crate::error::Error;
use crate::panicked::panicked;

/// The declared return type of an annotated method: a `Result` whose error can hold the library's.
///
/// Every `Result<T, E>` with `E: From<dbm_core::Error>` implements it, also under an alias. Nothing else does.
#[diagnostic::on_unimplemented(
    message = "an annotated method must return a `Result<T, E>` where `E: From<dbm_core::Error>`",
    label = "this cannot carry the errors of the database",
    note = "`dbm_core::Result<T>`, anyhow, `Box<dyn Error + Send + Sync>` and `io::Error` will do; for an error type of your own write `#[from] dbm_core::Error` into one of its variants"
)]
pub trait Fallible: Sized {
    /// The type inside `Ok`.
    type Value;
    /// The type inside `Err`.
    type Error;
    #[doc(hidden)]
    fn from_error(error: Error) -> Self;
    #[doc(hidden)]
    fn into_result(self) -> std::result::Result<Self::Value, Self::Error>;
    #[doc(hidden)]
    fn is_ok(&self) -> bool;
}

#[diagnostic::do_not_recommend]
impl<T, E: From<Error>> Fallible for std::result::Result<T, E> {
    type Value = T;
    type Error = E;

    fn from_error(error: Error) -> Self {
        Err(E::from(error))
    }

    fn into_result(self) -> Self {
        self
    }

    fn is_ok(&self) -> bool {
        self.is_ok()
    }
}

/// The type inside the `Ok` of a result type: what the caller of a method with `#[fail_value]` gets.
///
/// The documentation of such a method shows this type if the declared type is an alias.
///
/// ```
/// # use dbm_core::{Result, ValueOf};
/// type Reply = Result<Vec<String>>;
/// let names: ValueOf<Reply> = vec!["Ada".to_owned()];
/// # let _ = names;
/// ```
pub type ValueOf<R> = <R as Fallible>::Value;

/// The outcome of a call, before its failure policy is applied.
#[must_use]
#[derive(Debug)]
pub struct Outcome<R> {
    pub(super) site: &'static Site,
    pub(super) span: Span,
    pub(super) result: std::result::Result<R, Box<dyn Any + Send>>,
}

impl<R> Outcome<R> {
    /// No policy: returns the declared result; a panic goes on unwinding.
    #[allow(clippy::missing_panics_doc, clippy::missing_errors_doc)]
    pub fn into_result(self) -> R {
        self.result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl<T, E: From<Error>> Outcome<std::result::Result<T, E>> {
    /// `#[fail_with_exception]`: returns the declared result; a panic becomes an error.
    #[allow(clippy::missing_errors_doc)]
    pub fn fail_with_exception(self) -> std::result::Result<T, E> {
        let method = self.site.method;
        self.result
            .unwrap_or_else(|panic| Err(E::from(panicked(method, &*panic))))
    }

    /// `#[fail_value]`: returns the value, or the substitute. The cause is logged.
    pub fn fail_value(self, substitute: impl FnOnce() -> T) -> T
    where
        E: Display,
    {
        let (site, span) = (self.site, self.span.clone());
        self.fail_with_exception().unwrap_or_else(|error| {
            span.in_scope(|| trace::swallowed(site, &error));
            substitute()
        })
    }

    /// Both: returns the value, or the substitute with the cause in its last element.
    pub fn fail_value_with_exception(self, substitute: impl FnOnce() -> T) -> T
    where
        E: Display,
        T: ExceptionSlot<E>,
    {
        let (site, span) = (self.site, self.span.clone());
        self.fail_with_exception().unwrap_or_else(|error| {
            span.in_scope(|| trace::swallowed(site, &error));
            let mut value = substitute();
            value.put(error);
            value
        })
    }
}

/// Why the body gave no result.
pub(crate) enum Failure {
    Error(Error),
    Panic(Box<dyn Any + Send>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A tuple whose last element is an `Option<E>`, where `#[fail_value]` with `#[fail_with_exception]` puts the cause.
///
/// It is implemented for tuples of 1 to 12 elements.
#[diagnostic::on_unimplemented(
    message = "the last element of `{Self}` is not `Option<{E}>`",
    label = "with both `#[fail_value]` and `#[fail_with_exception]`, return a tuple (of 1 to 12) that ends with `Option<{E}>`"
)]
pub trait ExceptionSlot<E> {
    #[doc(hidden)]
    fn put(&mut self, error: E);
}

macro_rules! exception_slot {
    ($($before:ident)*; $last:tt) => {
        #[diagnostic::do_not_recommend]
        impl<$($before,)* E> ExceptionSlot<E> for ($($before,)* Option<E>,) {
            fn put(&mut self, error: E) {
                self.$last = Some(error);
            }
        }
    };
}

exception_slot!(; 0);
exception_slot!(A; 1);
exception_slot!(A B; 2);
exception_slot!(A B C; 3);
exception_slot!(A B C D; 4);
exception_slot!(A B C D F; 5);
exception_slot!(A B C D F G; 6);
exception_slot!(A B C D F G H; 7);
exception_slot!(A B C D F G H I; 8);
exception_slot!(A B C D F G H I J; 9);
exception_slot!(A B C D F G H I J K; 10);
exception_slot!(A B C D F G H I J K L; 11);

/// `#[required_argument]` on a method without `#[database_safe]`: the error to return if none of the arguments is
/// present.
pub fn missing_argument<R: Fallible>(
    site: &'static Site,
    given: &[(&'static str, bool)],
) -> Option<R> {
    super::arguments::check(site, given)
        .err()
        .map(R::from_error)
}
