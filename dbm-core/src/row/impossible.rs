//! A value that no type accepts.

use serde_core::de::value::MapDeserializer;
use serde_core::de::{Deserializer, Visitor};
use serde_core::forward_to_deserialize_any;

use super::fault::Fault;

/// Nested newtypes around an empty map. Types refuse it even when it comes from serde's buffer.
pub(super) struct Impossible(u8);

impl Impossible {
    /// Deeper than real newtypes are nested, because those look inside.
    pub(super) const NEW: Self = Self(8);
}

impl<'de> Deserializer<'de> for Impossible {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.checked_sub(1) {
            Some(depth) => visitor.visit_newtype_struct(Self(depth)),
            None => visitor.visit_map(MapDeserializer::new(std::iter::empty::<((), ())>())),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
