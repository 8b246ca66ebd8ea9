//! Values that serde buffers before it reads them: those under `flatten`, and those of untagged and internally tagged
//! enums.
//!
//! serde reads its buffer by rules of its own. It reports a refused value as an error, but an `Option` of a flattened
//! struct turns that error into `None`, and an untagged enum goes on to its next variant. So each refusal is recorded.
//! If the row was read in spite of one, it is read again with a value in that place that no type accepts. If that makes
//! no difference, the refusal was ignored, and reading the row fails. The same method finds an integer that was rounded
//! to a floating point number.

use rusqlite::types::ValueRef;
use serde_core::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};

use super::column::is_exact;
use super::fault::Fault;
use super::record::Record;
use super::refusal::{HINT, Refusal, Refusals};
use super::spelling;
use crate::value::Value;

/// Reads a row.
pub(super) fn read<T: DeserializeOwned>(record: Record<'_>) -> Result<T, Fault> {
    Refusals::forget();
    let value = T::deserialize(record)?;
    if Refusals::noted() {
        look_after::<T>(record)?;
    }
    Ok(value)
}

/// Fails if a value was refused or rounded on the way to a `T` and that was ignored.
#[cold]
fn look_after<T: DeserializeOwned>(record: Record<'_>) -> Result<(), Fault> {
    let refused = Refusals::take();
    if let Some(refusal) = refused.iter().find(|refusal| refusal.is_of_the_unseen()) {
        return Err(refusal.fault.clone());
    }
    for index in 0..record.width() {
        let value = record.value(index)?;
        let refusal = refused.iter().find(|refusal| refusal.may_be_of(value));
        if let Some(refusal) = refusal
            && ignores::<T>(record, index, refused.len())
        {
            return Err(refusal.fault.clone().in_column(index, value));
        }
        if let ValueRef::Integer(number) = value
            && !is_exact(number)
            && rounds::<T>(record, index, refused.len())
        {
            let message = "expected f64, found an INTEGER it cannot hold exactly";
            return Err(Fault::new(format_args!("{message}; {HINT}")).in_column(index, value));
        }
    }
    Ok(())
}

/// Whether a refused column was ignored: the row can be read whatever the column holds.
fn ignores<T: DeserializeOwned>(record: Record<'_>, index: usize, refusals: usize) -> bool {
    again::<T>(record.with(index, None)).is_ok_and(|refused| {
        refused.len() == refusals && refused.iter().any(Refusal::is_of_the_impossible)
    })
}

/// Whether a column is read as a floating point number in particular, rather than as any value.
fn rounds<T: DeserializeOwned>(record: Record<'_>, index: usize, refusals: usize) -> bool {
    let takes = |value| {
        again::<T>(record.with(index, Some(value))).is_ok_and(|refused| refused.len() == refusals)
    };
    takes(ValueRef::Real(0.5)) && !takes(ValueRef::Text(b""))
}

/// Reads the row again. Returns its refusals if it can be read.
fn again<T: DeserializeOwned>(record: Record<'_>) -> Result<Vec<Refusal>, Fault> {
    Refusals::take();
    T::deserialize(record)?;
    Ok(Refusals::take())
}

/// Reads a field the way an unbuffered column is read. Use it for a `bool`, bytes, an `i128` or a floating point number
/// under `flatten` and in untagged and internally tagged enums.
///
/// There serde buffers the values of a row first, and its buffer does not know SQLite's types. It does not read an
/// INTEGER as a `bool` or a BLOB as a `Vec<u8>`: the error names this function. It rounds an integer that an `f64` or
/// `f32` cannot hold. For an `f64` that is an error as well. For an `f32` it cannot be detected.
///
/// ```
/// use dbm_core::prelude::*;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Order {
///     id: u64,
///     #[serde(flatten)]
///     customer: Option<Customer>, // None where the LEFT JOIN finds nobody
/// }
///
/// #[derive(Deserialize)]
/// struct Customer {
///     name: String,
///     #[serde(deserialize_with = "dbm_core::column")]
///     trusted: bool,
///     #[serde(deserialize_with = "dbm_core::column")]
///     key: Option<Vec<u8>>,
/// }
///
/// # async fn f(db: &mut ReadTransaction) -> Result<()> {
/// let sql = "SELECT \"order\".id, name, trusted, key FROM \"order\" LEFT JOIN customer ON customer.id = customer";
/// let orders: Vec<Order> = db.query(sql, ()).await?;
/// # for order in orders {
/// #     let _ = (order.id, order.customer.map(|one| (one.name, one.trusted, one.key)));
/// # }
/// # Ok(()) }
/// ```
///
/// It works for any type that one column can hold. Where there is no field, as in `HashMap<String, Flag>`, use a
/// newtype with this attribute on its field. An `Option` whose column may be missing needs `default` as well.
///
/// # Errors
///
/// The deserializer's errors, and those of [`Row::get`](crate::Row::get) for a value that does not fit.
pub fn column<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let value = Value::deserialize(deserializer)?;
    let value = ValueRef::from(&value);
    let before = Refusals::count();
    spelling::column(value).map_err(|fault| {
        Refusals::pass_on(value, &fault, before);
        D::Error::custom(fault)
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "tried on a bare connection")]
mod tests;
