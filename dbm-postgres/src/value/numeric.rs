//! PostgreSQL's `numeric`, which is decimal and of any length.

use dbm_core::Value;

/// Reads the binary form: an integer if it has no digits behind the point, otherwise a floating point number.
///
/// # Errors
///
/// Why no value holds it unchanged, and what to do.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let text = decimal(bytes).ok_or("no number, or a form of numeric that is not known")?;
    if !text.contains('.') {
        let number = text.parse().map(Value::Integer);
        return number
            .map_err(|_| "the numeric is out of the range of i64; cast it to text".into());
    }
    let number: f64 = text
        .parse()
        .map_err(|_| "the numeric is no number".to_owned())?;
    if shortest(number) == text.trim_end_matches('0').trim_end_matches('.') {
        Ok(Value::Real(number))
    } else {
        Err("the numeric has more digits than an f64; round it, or cast it to text or double precision".into())
    }
}

fn shortest(number: f64) -> String {
    let text = number.to_string();
    // 0.00 has the sign of no zero.
    if text == "-0" { "0".to_owned() } else { text }
}

/// The digits, with as many behind the point as the server shows. `None` for NaN, infinity, and what is cut off.
fn decimal(bytes: &[u8]) -> Option<String> {
    const NEGATIVE: u16 = 0x4000;
    let mut words = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let count = usize::from(words.next()?);
    let weight = i32::from(words.next()?.cast_signed());
    let sign = words.next()?;
    let scale = usize::from(words.next()?);
    if sign != 0 && sign != NEGATIVE {
        return None;
    }
    let groups: Vec<u16> = words.collect();
    if groups.len() != count {
        return None;
    }
    // Each group is four decimal digits; the first one counts 10,000 to the power of `weight`.
    let group = |place: i32| {
        let index = usize::try_from(weight - place).ok();
        index
            .and_then(|index| groups.get(index))
            .copied()
            .unwrap_or(0)
    };
    let mut text = String::new();
    for place in (0..=weight.max(0)).rev() {
        text.push_str(&format!("{:04}", group(place)));
    }
    let begin = text.len() - text.trim_start_matches('0').len();
    text.drain(..begin.min(text.len() - 1));
    if sign == NEGATIVE {
        text.insert(0, '-');
    }
    if scale > 0 {
        text.push('.');
        let end = text.len() + scale;
        let mut place = -1;
        while text.len() < end {
            text.push_str(&format!("{:04}", group(place)));
            place -= 1;
        }
        text.truncate(end);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The binary form, as PostgreSQL sends it.
    fn numeric(weight: i16, sign: u16, scale: u16, groups: &[u16]) -> Vec<u8> {
        let count = u16::try_from(groups.len()).unwrap();
        let head = [count, weight.cast_unsigned(), sign, scale];
        head.iter()
            .chain(groups)
            .flat_map(|word| word.to_be_bytes())
            .collect()
    }

    #[test]
    fn a_sum_is_an_integer_and_a_fraction_a_float() {
        let cases = [
            (numeric(0, 0, 0, &[]), Value::Integer(0)),
            (numeric(1, 0, 0, &[1, 2345]), Value::Integer(12_345)),
            (numeric(2, 0x4000, 0, &[7]), Value::Integer(-700_000_000)),
            (numeric(0, 0, 2, &[2, 5000]), Value::Real(2.5)),
            (numeric(0, 0, 16, &[5]), Value::Real(5.0)),
            (numeric(-1, 0x4000, 1, &[1000]), Value::Real(-0.1)),
            (numeric(-2, 0, 8, &[12]), Value::Real(0.000_000_12)),
            (numeric(0, 0, 2, &[]), Value::Real(0.0)),
        ];
        for (bytes, value) in cases {
            assert_eq!(read(&bytes).unwrap(), value, "{bytes:?}");
        }
    }

    #[test]
    fn what_no_value_holds_is_refused() {
        for bytes in [
            numeric(4, 0, 0, &[9223, 3720, 3685, 4775, 808]),
            numeric(0, 0, 20, &[3, 3333, 3333, 3333, 3333, 3333]),
            numeric(0, 0xC000, 0, &[]),
            vec![0, 1],
        ] {
            assert!(read(&bytes).is_err(), "{bytes:?}");
        }
    }
}
