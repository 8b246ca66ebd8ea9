//! Parameters, as the type that PostgreSQL expects at their place.

use std::error::Error as StdError;

use dbm_core::Value;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

/// A parameter that fits its type.
#[derive(Debug)]
pub(crate) enum Parameter<'v> {
    Null,
    /// In the binary form of its type.
    Number([u8; 8], usize),
    Bytes(&'v [u8]),
    /// As text, which the server reads as it reads a literal of the type.
    Text(&'v str),
    Written(String),
}

/// What is sent for a value where PostgreSQL expects this type.
///
/// # Errors
///
/// Why the type cannot hold the value unchanged.
pub(crate) fn encode<'v>(value: &'v Value, of: &Type) -> Result<Parameter<'v>, String> {
    let refused = |what: &str| Err(format!("{what} is no {}", of.name()));
    match value {
        Value::Null => Ok(Parameter::Null),
        Value::Integer(number) => integer(*number, of),
        Value::Real(number) => real(*number, of),
        Value::Text(text) if text.contains('\0') => {
            Err("PostgreSQL cannot hold the character NUL".to_owned())
        }
        Value::Text(text) => match *of {
            // As text, a hexadecimal form or escapes would be read.
            Type::BYTEA => refused("a text"),
            _ => Ok(Parameter::Text(text)),
        },
        Value::Blob(bytes) => match *of {
            Type::BYTEA => Ok(Parameter::Bytes(bytes)),
            Type::UUID if bytes.len() == 16 => Ok(Parameter::Bytes(bytes)),
            _ => refused("a blob"),
        },
    }
}

fn integer<'v>(number: i64, of: &Type) -> Result<Parameter<'v>, String> {
    let outside = || format!("the number does not fit into a {}", of.name());
    Ok(match *of {
        Type::INT8 => binary(number.to_be_bytes()),
        Type::INT4 => binary(i32::try_from(number).map_err(|_| outside())?.to_be_bytes()),
        Type::INT2 => binary(i16::try_from(number).map_err(|_| outside())?.to_be_bytes()),
        Type::OID => binary(u32::try_from(number).map_err(|_| outside())?.to_be_bytes()),
        Type::BOOL => binary([u8::from(match number {
            0 => false,
            1 => true,
            _ => return Err("a boolean is 0 or 1".to_owned()),
        })]),
        Type::FLOAT4 | Type::FLOAT8 => {
            // Beyond 2⁵³ not each integer is a float.
            let float = number as f64;
            if float as i128 != i128::from(number) {
                return Err(outside());
            }
            real(float, of)?
        }
        Type::NUMERIC | Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::UNKNOWN => {
            Parameter::Written(number.to_string())
        }
        _ => return Err(format!("an integer is no {}", of.name())),
    })
}

fn real<'v>(number: f64, of: &Type) -> Result<Parameter<'v>, String> {
    if number.is_nan() {
        return Err("NaN is no number".to_owned());
    }
    Ok(match *of {
        Type::FLOAT8 => binary(number.to_be_bytes()),
        Type::FLOAT4 => {
            let narrow = number as f32;
            if f64::from(narrow) != number {
                return Err(
                    "a real (float4) cannot hold the number exactly; a double precision can"
                        .to_owned(),
                );
            }
            binary(narrow.to_be_bytes())
        }
        Type::NUMERIC | Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::UNKNOWN => {
            // The shortest text that reads as the same number.
            Parameter::Written(number.to_string())
        }
        Type::INT2 | Type::INT4 | Type::INT8 => {
            let whole = number as i64;
            // 2⁶³ is the first that does not fit, and the conversion would cut it down to 2⁶³ − 1.
            if whole as f64 != number || number >= 9_223_372_036_854_775_808.0 {
                return Err(format!("the number is no {}", of.name()));
            }
            integer(whole, of)?
        }
        _ => return Err(format!("a floating point number is no {}", of.name())),
    })
}

fn binary<'v, const N: usize>(bytes: [u8; N]) -> Parameter<'v> {
    let mut buffer = [0; 8];
    buffer[..N].copy_from_slice(&bytes);
    Parameter::Number(buffer, N)
}

impl ToSql for Parameter<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.extend_from_slice(match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Number(bytes, length) => &bytes[..*length],
            Self::Bytes(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
            Self::Written(text) => text.as_bytes(),
        });
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self {
            Self::Text(_) | Self::Written(_) => Format::Text,
            Self::Null | Self::Number(..) | Self::Bytes(_) => Format::Binary,
        }
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent, as text, or the refusal.
    fn sent(value: impl Into<Value>, of: &Type) -> Result<String, String> {
        Ok(match encode(&value.into(), of)? {
            Parameter::Null => "null".to_owned(),
            Parameter::Number(bytes, length) => format!("{:?}", &bytes[..length]),
            Parameter::Bytes(bytes) => format!("{bytes:?}"),
            Parameter::Text(text) => text.to_owned(),
            Parameter::Written(text) => text,
        })
    }

    #[test]
    fn a_number_fits_its_type_or_is_refused() {
        assert_eq!(sent(-2, &Type::INT2).unwrap(), "[255, 254]");
        assert_eq!(sent(1, &Type::BOOL).unwrap(), "[1]");
        assert_eq!(sent(2.0, &Type::INT4).unwrap(), "[0, 0, 0, 2]");
        assert_eq!(sent(0.5, &Type::FLOAT4).unwrap(), "[63, 0, 0, 0]");
        assert_eq!(sent(0.1, &Type::NUMERIC).unwrap(), "0.1");
        assert_eq!(sent(7, &Type::TEXT).unwrap(), "7");
        assert!(sent(1_i64 << 53, &Type::FLOAT8).is_ok());
        for (value, of) in [
            (Value::from(40_000), Type::INT2),
            (Value::from(1_i64 << 31), Type::INT4),
            (Value::from(-1), Type::OID),
            (Value::from(2), Type::BOOL),
            (Value::from((1_i64 << 53) + 1), Type::FLOAT8),
            (Value::from(i64::MAX), Type::FLOAT8),
            (Value::from(16_777_217), Type::FLOAT4),
            (Value::from(0.1), Type::FLOAT4),
            (Value::from(0.5), Type::INT8),
            (Value::from(9_223_372_036_854_775_808.0), Type::INT8),
            (Value::from(f64::INFINITY), Type::INT8),
            (Value::from(1), Type::TIMESTAMPTZ),
            (Value::from(1.5), Type::BYTEA),
        ] {
            assert!(sent(value.clone(), &of).is_err(), "{value:?} as {of}");
        }
    }

    #[test]
    fn a_text_is_read_by_the_server_and_a_blob_is_bytes() {
        assert_eq!(sent("2026-01-31", &Type::DATE).unwrap(), "2026-01-31");
        assert_eq!(sent(vec![1_u8], &Type::BYTEA).unwrap(), "[1]");
        assert!(sent(vec![1_u8; 16], &Type::UUID).is_ok());
        assert!(sent(vec![1_u8], &Type::UUID).is_err());
        assert!(sent(vec![1_u8], &Type::TEXT).is_err());
        assert!(sent("\\x00", &Type::BYTEA).is_err());
        assert!(sent("a\0b", &Type::TEXT).is_err());
    }
}
