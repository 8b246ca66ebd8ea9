//! Values that serde keeps in a buffer of its own before it reads them: those under `flatten`, and of untagged and
//! internally tagged enums.
//!
//! From the buffer serde reads by rules of its own. What it refuses it tells by an error, but an `Option` of a flattened
//! struct turns that error into `None`, and an untagged enum goes on to its next variant. So each refusal is noted, and
//! where it did not fail the row, the row is read again with something in the place of the value that no type accepts. If
//! that makes no difference, the value was refused and then ignored: an error. The same way an integer is found that was
//! rounded to a floating point number.

use rusqlite::types::ValueRef;
use serde_core::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};

use super::column::{Column, is_exact};
use super::fault::Fault;
use super::record::Record;
use super::refusal::{HINT, Refusal, Refusals};
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

/// Sees to it that what was refused or rounded on the way to a `T` was not ignored.
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

/// Whether a column was refused, and the row is read all the same, whatever the column holds.
fn ignores<T: DeserializeOwned>(record: Record<'_>, index: usize, refusals: usize) -> bool {
    again::<T>(record.with(index, None)).is_ok_and(|refused| {
        refused.len() == refusals && refused.iter().any(Refusal::is_of_the_impossible)
    })
}

/// Whether a column is taken for a floating point number, and not for any value.
fn rounds<T: DeserializeOwned>(record: Record<'_>, index: usize, refusals: usize) -> bool {
    let takes = |value| {
        again::<T>(record.with(index, Some(value))).is_ok_and(|refused| refused.len() == refusals)
    };
    takes(ValueRef::Real(0.5)) && !takes(ValueRef::Text(b""))
}

/// Reads the row once more: what was refused, if it can be read.
fn again<T: DeserializeOwned>(record: Record<'_>) -> Result<Vec<Refusal>, Fault> {
    Refusals::take();
    T::deserialize(record)?;
    Ok(Refusals::take())
}

/// Reads a field the way a column is read that serde does not buffer: for a `bool`, bytes, an `i128` and a floating point
/// number under `flatten`, and in untagged and internally tagged enums.
///
/// There serde keeps the values of a row in a buffer first, and the buffer knows nothing of SQLite: an INTEGER is no
/// `bool` for it, a BLOB no `Vec<u8>`, and it rounds what an `f32` or `f64` cannot hold. The first two are errors that name
/// this function. What it cannot notice is that a number was rounded to an `f32`.
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
/// It serves any type that one column can hold; a newtype of yours with this attribute on its field serves where there is
/// no field, in `HashMap<String, Flag>` for example. An `Option` whose column may be missing needs `default` beside it.
///
/// # Errors
///
/// Those of the deserializer, and what [`Row::get`](crate::Row::get) says of a value that does not fit.
pub fn column<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let value = Value::deserialize(deserializer)?;
    let value = ValueRef::from(&value);
    let before = Refusals::count();
    T::deserialize(Column(value)).map_err(|fault| {
        Refusals::pass_on(value, &fault, before);
        D::Error::custom(fault)
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "tried on a bare connection")]
mod tests;
