//! JSON as a parameter and as a column: [`Json`].

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use serde_core::de::{self, Deserialize, Deserializer, Visitor};
use serde_core::{Serialize, Serializer};

use crate::error::Result;
use crate::row;
use crate::value::{JSON_NAME, ToValue, Value, json};

/// A value that is stored as JSON, in a column of TEXT: as a parameter `Json(&meta)`, in a row as the type of a column.
///
/// In a column NULL is no JSON: a column that may be NULL is an `Option<Json<T>>`. `None` inside, as in
/// `Json(None::<T>)`, is the JSON `null`. A column of any JSON is a `Json<serde_json::Value>`. Without `Json`, a
/// `serde_json::Value` is a string, a number or null, just as the column is.
///
/// Everywhere but in a database, serde writes and reads a `Json<T>` like a `T`. So a row can go into a response as it is.
///
/// ```
/// use dbm_core::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Meta {
///     tags: Vec<String>,
/// }
///
/// #[derive(Deserialize)]
/// struct Note {
///     id: i64,
///     meta: Json<Meta>,
/// }
///
/// # async fn f(db: &mut WriteTransaction, meta: Meta) -> Result<()> {
/// db.execute("INSERT INTO note (meta) VALUES (?1)", (Json(&meta),)).await?;
/// let note: Note = db.query_one("SELECT id, meta FROM note WHERE id = ?1", (1,)).await?;
/// let tags = &note.meta.tags; // it derefs; `note.meta.0` is the `Meta` itself
/// # let _ = (note.id, tags); Ok(()) }
/// ```
///
/// Under `flatten` and in untagged and internally tagged enums the field needs [`column`](crate::column()). What SQLite
/// calls JSONB is read as `json(column)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Json<T>(pub T);

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize> ToValue for Json<T> {
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) if JSON cannot hold it: a map whose keys are not text, for example.
    fn to_value(&self) -> Result<Value> {
        json(&self.0)
    }
}

impl<T: Serialize> Serialize for Json<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(JSON_NAME, &self.0)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Json<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(JSON_NAME, JsonVisitor(PhantomData))
    }
}

struct JsonVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for JsonVisitor<T> {
    type Value = Json<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON as TEXT")
    }

    /// The text of a column.
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Json<T>, E> {
        serde_json::from_str(text).map(Json).map_err(|error| {
            // Its own words quote the value.
            let what = match error.classify() {
                serde_json::error::Category::Data => "JSON that the type does not accept",
                _ => "TEXT that is not JSON",
            };
            let (line, column) = (error.line(), error.column());
            E::custom(format_args!(
                "expected JSON, found {what}: line {line}, column {column}"
            ))
        })
    }

    /// In any other format than a row.
    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Json<T>, D::Error> {
        match row::refusal_of_json::<D::Error>() {
            Some(refusal) => Err(de::Error::custom(refusal)),
            None => T::deserialize(deserializer).map(Json),
        }
    }
}
