//! The columns of a row.

use std::error::Error as StdError;

use dbm_core::Value;
use dbm_core::remote::time_text;
use tokio_postgres::types::{FromSql, Kind, Type};

use super::numeric;

/// Microseconds from 1970 to 2000, where PostgreSQL's times begin.
const EPOCH: i64 = 946_684_800_000_000;
const DAY: i64 = 86_400_000_000;

/// A column, as it is read: its value, or why there is none.
#[derive(Debug)]
pub(crate) struct Cell(pub(crate) Result<Value, String>);

impl<'a> FromSql<'a> for Cell {
    fn from_sql(of: &Type, bytes: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(read(of, bytes)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(Ok(Value::Null)))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn read(of: &Type, bytes: &[u8]) -> Result<Value, String> {
    Ok(match *of {
        Type::INT8 => Value::Integer(i64::from_be_bytes(exactly(bytes)?)),
        Type::INT4 => Value::Integer(i32::from_be_bytes(exactly(bytes)?).into()),
        Type::INT2 => Value::Integer(i16::from_be_bytes(exactly(bytes)?).into()),
        Type::OID => Value::Integer(u32::from_be_bytes(exactly(bytes)?).into()),
        Type::BOOL => Value::Integer(i64::from(exactly::<1>(bytes)? != [0])),
        Type::FLOAT8 => float(f64::from_be_bytes(exactly(bytes)?))?,
        Type::FLOAT4 => float(f32::from_be_bytes(exactly(bytes)?).into())?,
        Type::NUMERIC => numeric::read(bytes)?,
        Type::BYTEA => Value::Blob(bytes.to_vec()),
        Type::UUID => Value::Text(uuid(exactly(bytes)?)),
        Type::TIMESTAMPTZ | Type::TIMESTAMP => {
            Value::Text(time(i64::from_be_bytes(exactly(bytes)?))?)
        }
        Type::DATE => {
            let days = i64::from(i32::from_be_bytes(exactly(bytes)?));
            let mut text = time(days.saturating_mul(DAY))?;
            text.truncate("2000-01-01".len());
            Value::Text(text)
        }
        Type::TIME => {
            let of_day = i64::from_be_bytes(exactly(bytes)?);
            if of_day == DAY {
                return Err("24:00 is no time of a day; cast it to text".to_owned());
            }
            let text = time(of_day)?;
            Value::Text(text["2000-01-01 ".len()..].to_owned())
        }
        // Behind the number of a version.
        Type::JSONB => text(bytes.get(1..).unwrap_or_default())?,
        Type::VOID => Value::Null,
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::CHAR
        | Type::JSON
        | Type::XML
        | Type::UNKNOWN => text(bytes)?,
        _ if of.name() == "citext" || matches!(of.kind(), Kind::Enum(_)) => text(bytes)?,
        _ => {
            return Err(format!(
                "the type {} is not read; cast it to text",
                of.name()
            ));
        }
    })
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    let expected = || format!("{} bytes in the place of {N}", bytes.len());
    bytes.try_into().map_err(|_| expected())
}

fn float(number: f64) -> Result<Value, String> {
    if number.is_nan() {
        return Err("NaN is no number that a value holds".to_owned());
    }
    Ok(Value::Real(number))
}

fn text(bytes: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    Ok(Value::Text(text.to_owned()))
}

/// In UTC, in the form in which a time is stored with SQLite.
fn time(since_2000: i64) -> Result<String, String> {
    let since_1970 = since_2000.checked_add(EPOCH);
    let text = since_1970.and_then(time_text);
    text.ok_or_else(|| "a time outside the years 0 to 9999; cast it to text".to_owned())
}

fn uuid(bytes: [u8; 16]) -> String {
    let mut text = format!("{:032x}", u128::from_be_bytes(bytes));
    for place in [20, 16, 12, 8] {
        text.insert(place, '-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_form_in_which_they_are_stored() {
        let of = |of: Type, number: i64| read(&of, &number.to_be_bytes());
        let text = |text: &str| Ok(Value::from(text));
        assert_eq!(of(Type::TIMESTAMPTZ, 0), text("2000-01-01 00:00:00.000000"));
        assert_eq!(of(Type::TIMESTAMP, -1), text("1999-12-31 23:59:59.999999"));
        assert_eq!(of(Type::TIME, 1_500_000), text("00:00:01.500000"));
        let date = |days: i32| read(&Type::DATE, &days.to_be_bytes());
        assert_eq!(date(-1), text("1999-12-31"));
        assert_eq!(date(60), text("2000-03-01"));
        // Infinity, and years that the form has no room for.
        assert!(of(Type::TIMESTAMPTZ, i64::MAX).is_err());
        assert!(of(Type::TIMESTAMPTZ, i64::MIN).is_err());
        assert!(date(i32::MAX).is_err());
    }

    #[test]
    fn a_type_that_is_not_known_is_told() {
        let refusal = read(&Type::INT4_ARRAY, &[]).unwrap_err();
        assert!(
            refusal.contains("_int4") && refusal.contains("cast"),
            "{refusal}"
        );
        assert!(read(&Type::INT4, &[0]).is_err());
        assert!(read(&Type::FLOAT8, &f64::NAN.to_be_bytes()).is_err());
    }
}
