//! The parameters of a statement.

#[cfg(feature = "remote")]
mod in_order;

use std::{fmt, slice};

use rusqlite::Statement;

use crate::error::{Error, Result};
use crate::value::{ToValue, Value, bounded};

/// What a statement accepts as its parameters.
///
/// | in Rust | in SQL |
/// |---|---|
/// | `()` | no parameters |
/// | `(id, name)`, `&(id, name)`, up to 16 of any types; one is `(id,)` | `?1`, `?2`, or `?` |
/// | `[a, b]`, `&[a, b]`, a slice or a `Vec` of one type | the same |
/// | `&[&id as &dyn ToValue, &name]`, [`params![id, name]`](crate::params) | the same, of any number and types |
/// | `((":id", id), (":name", name))`, up to 16 | `:id`, `:name`, also `@id` and `$id` |
/// | `[(":a", a), (":b", b)]`, a reference, slice or `Vec` of such pairs | the same |
/// | [`named_params!{":id": id, ":name": name}`](crate::named_params) | the same |
///
/// The values are converted at once and owned from then on. The parameters must match the SQL exactly. These are
/// errors: too few or too many, a name that is not in the SQL, a name given twice, and a name left out. A name is
/// written as in the SQL, with its `:`, `@` or `$`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the parameters of a statement",
    label = "not parameters",
    note = "none are `()`, one is `(value,)` with a comma, several are a tuple `(a, b)`, an array, or `params![a, b]`",
    note = "by name they are pairs, `((\":id\", id), (\":name\", name))`, or `named_params!{{\":id\": id}}`"
)]
pub trait Params {
    /// Converts every parameter into an owned value.
    ///
    /// # Errors
    /// [`Error::Parameter`], with the position or name of the first parameter that SQLite cannot hold.
    fn into_params(self) -> Result<BoundParams>;
}

/// Converted parameters, owned and ready to be bound. They implement [`Params`], so they can be made once and cloned.
#[derive(Clone, PartialEq, Default)]
pub struct BoundParams(Kind);

#[derive(Clone, PartialEq, Default)]
enum Kind {
    #[default]
    None,
    /// The usual case. It allocates nothing.
    One(Value),
    Several(Vec<Value>),
    Named(Vec<(Box<str>, Value)>),
}

/// Parameters as they are read.
enum Given<'a> {
    Positional(&'a [Value]),
    Named(&'a [(Box<str>, Value)]),
}

impl BoundParams {
    /// What `params!` expands to.
    #[doc(hidden)]
    pub fn positional(
        given: impl IntoIterator<Item = Result<Value>, IntoIter: ExactSizeIterator>,
    ) -> Result<Self> {
        let mut given = given
            .into_iter()
            .enumerate()
            .map(|(index, value)| value.map_err(|error| at(&format!("?{}", index + 1), error)));
        let Some(first) = given.next().transpose()? else {
            return Ok(Self(Kind::None));
        };
        if given.len() == 0 {
            return Ok(Self(Kind::One(first)));
        }
        let mut values = Vec::with_capacity(1 + given.len());
        values.push(first);
        for value in given {
            values.push(value?);
        }
        Ok(Self(Kind::Several(values)))
    }

    /// What `named_params!` expands to.
    #[doc(hidden)]
    pub fn named<'n>(
        given: impl IntoIterator<Item = (&'n str, Result<Value>), IntoIter: ExactSizeIterator>,
    ) -> Result<Self> {
        let given = given.into_iter();
        let mut values = Vec::with_capacity(given.len());
        for (name, value) in given {
            values.push((Box::from(name), value.map_err(|error| at(name, error))?));
        }
        Ok(Self(Kind::Named(values)))
    }

    /// The bytes of its texts and blobs.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            _ => 0,
        };
        match self.given() {
            Given::Positional(values) => values.iter().map(bytes).sum(),
            Given::Named(values) => values.iter().map(|(_, value)| bytes(value)).sum(),
        }
    }

    /// Binds every parameter of the statement, so that no value is left from an earlier use of it.
    pub(crate) fn bind(&self, statement: &mut Statement<'_>) -> Result<()> {
        match self.given() {
            Given::Positional(values) => bind_positional(values, statement),
            Given::Named(values) => bind_named(values, statement),
        }
    }

    fn given(&self) -> Given<'_> {
        match &self.0 {
            Kind::None => Given::Positional(&[]),
            Kind::One(value) => Given::Positional(slice::from_ref(value)),
            Kind::Several(values) => Given::Positional(values),
            Kind::Named(values) => Given::Named(values),
        }
    }
}

fn bind_positional(values: &[Value], statement: &mut Statement<'_>) -> Result<()> {
    let expected = statement.parameter_count();
    if values.len() != expected {
        return Err(Error::ParameterCount {
            expected,
            given: values.len(),
        });
    }
    for (index, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, value)?;
    }
    Ok(())
}

fn bind_named(values: &[(Box<str>, Value)], statement: &mut Statement<'_>) -> Result<()> {
    let mut bound = vec![false; statement.parameter_count()];
    for (name, value) in values {
        let index = statement.parameter_index(name)?;
        let seen = index.and_then(|index| bound.get_mut(index.checked_sub(1)?));
        match (index, seen) {
            (Some(index), Some(seen)) if !*seen => {
                *seen = true;
                statement.raw_bind_parameter(index, value)?;
            }
            (Some(_), Some(_)) => return Err(misnamed(name, TWICE)),
            _ => return Err(misnamed(name, unknown(name))),
        }
    }
    match bound.iter().position(|bound| !bound) {
        None => Ok(()),
        Some(index) => Err(missing(statement.parameter_name(index + 1), index + 1)),
    }
}

const TWICE: &str = "is given twice";

fn unknown(name: &str) -> &'static str {
    if name.starts_with([':', '@', '$']) {
        "is not a parameter of the SQL"
    } else {
        "is not a parameter of the SQL: write it with its `:`, `@` or `$`"
    }
}

fn missing(name: Option<&str>, number: usize) -> Error {
    match name {
        Some(name) => misnamed(name, "is a parameter of the SQL, but has no value"),
        None => misnamed(
            &format!("?{number}"),
            "is a parameter of the SQL, but has no name and no value",
        ),
    }
}

fn misnamed(name: &str, message: &str) -> Error {
    Error::Parameter {
        name: bounded(name),
        message: message.to_owned(),
    }
}

/// Adds the position of a parameter to its conversion error.
fn at(name: &str, error: Error) -> Error {
    let message = match error {
        Error::Parameter { message, .. } => bounded(message),
        other => bounded(other),
    };
    Error::Parameter {
        name: bounded(name),
        message,
    }
}

impl fmt::Debug for BoundParams {
    /// Shows only names and numbers, because values must not reach a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.given() {
            Given::Positional([]) => formatter.write_str("BoundParams(none)"),
            Given::Positional(values) => {
                write!(formatter, "BoundParams({} positional)", values.len())
            }
            Given::Named(values) => {
                formatter.write_str("BoundParams")?;
                formatter
                    .debug_set()
                    .entries(values.iter().map(|(name, _)| name))
                    .finish()
            }
        }
    }
}

impl Params for BoundParams {
    fn into_params(self) -> Result<BoundParams> {
        Ok(self)
    }
}

/// What `params!` and `named_params!` evaluate to.
impl Params for Result<BoundParams> {
    fn into_params(self) -> Result<BoundParams> {
        self
    }
}

impl Params for () {
    fn into_params(self) -> Result<BoundParams> {
        Ok(BoundParams::default())
    }
}

impl<T: ToValue> Params for &[T] {
    fn into_params(self) -> Result<BoundParams> {
        BoundParams::positional(self.iter().map(T::to_value))
    }
}

impl<T: ToValue, const N: usize> Params for &[T; N] {
    fn into_params(self) -> Result<BoundParams> {
        self.as_slice().into_params()
    }
}

impl<T: ToValue, const N: usize> Params for [T; N] {
    fn into_params(self) -> Result<BoundParams> {
        BoundParams::positional(self.into_iter().map(T::into_value))
    }
}

impl<T: ToValue> Params for Vec<T> {
    fn into_params(self) -> Result<BoundParams> {
        BoundParams::positional(self.into_iter().map(T::into_value))
    }
}

impl<T: ToValue> Params for &Vec<T> {
    fn into_params(self) -> Result<BoundParams> {
        self.as_slice().into_params()
    }
}

impl<T: ToValue> Params for &[(&str, T)] {
    fn into_params(self) -> Result<BoundParams> {
        BoundParams::named(self.iter().map(|(name, value)| (*name, value.to_value())))
    }
}

impl<T: ToValue, const N: usize> Params for &[(&str, T); N] {
    fn into_params(self) -> Result<BoundParams> {
        self.as_slice().into_params()
    }
}

impl<T: ToValue, const N: usize> Params for [(&str, T); N] {
    fn into_params(self) -> Result<BoundParams> {
        BoundParams::named(
            self.into_iter()
                .map(|(name, value)| (name, value.into_value())),
        )
    }
}

impl<T: ToValue> Params for Vec<(&str, T)> {
    fn into_params(self) -> Result<BoundParams> {
        BoundParams::named(
            self.into_iter()
                .map(|(name, value)| (name, value.into_value())),
        )
    }
}

impl<T: ToValue> Params for &Vec<(&str, T)> {
    fn into_params(self) -> Result<BoundParams> {
        self.as_slice().into_params()
    }
}

macro_rules! tuples {
    ($($value:ident)*) => { tuples!(@ [] $($value)*); };
    (@ [$($done:ident)*]) => {};
    (@ [$($done:ident)*] $next:ident $($rest:ident)*) => {
        tuples!(= $($done)* $next);
        tuples!(@ [$($done)* $next] $($rest)*);
    };
    (= $($value:ident)+) => {
        #[allow(non_snake_case)]
        impl<$($value: ToValue),+> Params for ($($value,)+) {
            fn into_params(self) -> Result<BoundParams> {
                let ($($value,)+) = self;
                BoundParams::positional([$($value.into_value()),+])
            }
        }

        #[allow(non_snake_case)]
        impl<$($value: ToValue),+> Params for &($($value,)+) {
            fn into_params(self) -> Result<BoundParams> {
                let ($($value,)+) = self;
                BoundParams::positional([$($value.to_value()),+])
            }
        }

        #[allow(non_snake_case)]
        impl<$($value: ToValue),+> Params for ($((&str, $value),)+) {
            fn into_params(self) -> Result<BoundParams> {
                let ($($value,)+) = self;
                BoundParams::named([$(($value.0, $value.1.into_value())),+])
            }
        }
    };
}

tuples!(A B C D E F G H I J K L M N O P);

/// Positional [`Params`] of any number and types: `params![id, name]`.
///
/// The values are converted in place, by reference, so nothing is borrowed or held across an `.await`.
///
/// ```
/// use dbm_core::{Params, params};
///
/// let name = String::from("Ada");
/// assert!(params![1, name, None::<i64>].into_params().is_ok());
/// assert!(params![u64::MAX].into_params().is_err());
/// ```
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {{
        // A separate statement, so that its temporaries are dropped before the caller's `.await`.
        let params = $crate::BoundParams::positional([$($crate::ToValue::to_value(&$value)),*]);
        params
    }};
}

/// Named [`Params`] of any number and types: `named_params!{":id": id, ":name": name}`.
///
/// The values are converted in place, by reference, so nothing is borrowed or held across an `.await`.
///
/// ```
/// use dbm_core::{Params, named_params};
///
/// let name = String::from("Ada");
/// assert!(named_params!{":id": 1, ":name": name}.into_params().is_ok());
/// ```
#[macro_export]
macro_rules! named_params {
    ($($name:literal : $value:expr),* $(,)?) => {{
        // A separate statement, so that its temporaries are dropped before the caller's `.await`.
        let params = $crate::BoundParams::named([$(($name, $crate::ToValue::to_value(&$value))),*]);
        params
    }};
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "tried on a bare connection")]
mod tests;
