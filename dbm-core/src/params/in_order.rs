//! Parameters for a server, which knows them by their numbers.

use super::{BoundParams, Given, misnamed};
use crate::error::{Error, Result};
use crate::value::Value;

impl BoundParams {
    /// The values in the order of a statement's parameters. `parameters` has one entry for each number from 1 on: the name, as
    /// it is written in the SQL, with its sign (`:id`), or `None` for one without a name (`?1`).
    ///
    /// ```
    /// use dbm_core::{Params, Value};
    ///
    /// let given = ((":b", 2), (":a", 1)).into_params()?;
    /// let values = given.in_order(&[Some(":a"), Some(":b")])?;
    /// assert_eq!(values, [&Value::Integer(1), &Value::Integer(2)]);
    /// # Ok::<_, dbm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of a statement whose parameters do not fit: [`Error::ParameterCount`], [`Error::Parameter`].
    pub fn in_order(&self, parameters: &[Option<&str>]) -> Result<Vec<&Value>> {
        match self.given() {
            Given::Positional(values) => numbered(values, parameters),
            Given::Named(values) => named(values, parameters),
        }
    }
}

fn numbered<'v>(values: &'v [Value], parameters: &[Option<&str>]) -> Result<Vec<&'v Value>> {
    if values.len() == parameters.len() {
        return Ok(values.iter().collect());
    }
    Err(Error::ParameterCount {
        expected: parameters.len(),
        given: values.len(),
    })
}

fn named<'v>(
    values: &'v [(Box<str>, Value)],
    parameters: &[Option<&str>],
) -> Result<Vec<&'v Value>> {
    let mut found = vec![None; parameters.len()];
    for (name, value) in values {
        let place = parameters.iter().position(|known| *known == Some(name));
        match place.and_then(|place| found.get_mut(place)) {
            Some(place @ None) => *place = Some(value),
            Some(Some(_)) => return Err(misnamed(name, super::TWICE)),
            None => return Err(misnamed(name, super::unknown(name))),
        }
    }
    let values = parameters.iter().zip(found).zip(1..);
    values
        .map(|((name, value), number)| value.ok_or_else(|| super::missing(*name, number)))
        .collect()
}
