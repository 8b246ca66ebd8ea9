//! Required arguments: checked before anything waits.

use super::site::Site;
use crate::error::{Error, Result};

/// At least one of the named arguments must be there.
pub(crate) fn check(site: &Site, arguments: &[(&'static str, bool)]) -> Result<()> {
    if arguments.is_empty() || arguments.iter().any(|(_, present)| *present) {
        return Ok(());
    }
    let arguments = arguments.iter().map(|(name, _)| *name).collect();
    Err(Error::MissingArgument {
        method: site.method,
        arguments,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_the_arguments_is_enough() {
        static SITE: Site = Site::new("", "find");
        assert!(check(&SITE, &[]).is_ok());
        assert!(check(&SITE, &[("id", false), ("name", true)]).is_ok());
        let error = check(&SITE, &[("id", false), ("name", false)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "find: at least one of these arguments is required: id, name"
        );
    }
}
