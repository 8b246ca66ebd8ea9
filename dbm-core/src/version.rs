/// A schema version: three numbers, compared numerically.
///
/// This is [`semver::Version`]. The file stores three integers, so a version with a pre-release or a build part is
/// refused.
///
/// ```
/// use dbm_core::Version;
///
/// assert!(Version::new(0, 10, 0) > Version::new(0, 9, 0));
/// ```
pub use semver::Version;

use crate::error::{Error, Result};

/// Refuses a version that the table `Version` cannot hold: one with a pre-release or a build part, or with a number
/// above `i64::MAX`.
pub(crate) fn to_row(version: &Version) -> Result<(i64, i64, i64)> {
    if !version.pre.is_empty() || !version.build.is_empty() {
        return Err(Error::Config {
            message: format!(
                "version {version}: a schema version has no pre-release or build part"
            ),
        });
    }
    let number = |part: u64| {
        i64::try_from(part).map_err(|_| Error::Config {
            message: format!("version {version} is out of range"),
        })
    };
    Ok((
        number(version.major)?,
        number(version.minor)?,
        number(version.patch)?,
    ))
}

pub(crate) fn from_row(major: i64, minor: i64, patch: i64) -> Result<Version> {
    let number = |part: i64| {
        u64::try_from(part).map_err(|_| Error::InvalidVersion {
            message: format!("{major}.{minor}.{patch} has a negative part"),
        })
    };
    Ok(Version::new(number(major)?, number(minor)?, number(patch)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_survives_the_round_trip() {
        let version = Version::new(0, 10, u64::from(u32::MAX) + 1);
        let (major, minor, patch) = to_row(&version).unwrap();
        assert_eq!(from_row(major, minor, patch).unwrap(), version);
    }

    #[test]
    fn parts_that_the_file_cannot_hold_are_refused() {
        for text in ["1.0.0-rc.1", "1.0.0+7", "9223372036854775808.0.0"] {
            assert!(to_row(&Version::parse(text).unwrap()).is_err(), "{text}");
        }
        assert!(from_row(-1, 0, 0).is_err());
    }
}
