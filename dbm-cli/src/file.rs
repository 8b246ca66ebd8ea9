//! Opens the database of any program: the version is what the file says, and the schema is nobody's business.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::{Error as DatabaseError, SchemaDrift};

use crate::error::Error;

/// A manager of a file whose schema it does not know.
#[derive(DbManager)]
#[db_manager(version = "0.0.0")]
pub(crate) struct AnyStore {
    core: ManagerCore,
}

impl Schema for AnyStore {
    /// Never called: the file is opened for reading only.
    async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }
}

/// Opens a file for reading only, at its own version.
pub(crate) async fn open(file: &Path) -> Result<(Arc<AnyStore>, Version), Error> {
    let config = config(file)?.read_only().schema_drift(SchemaDrift::Ignore);
    // Which version that is, the refusal of another one says.
    let any = Version::new(0, 0, 0);
    match AnyStore::create(config.clone().version(any.clone())).await {
        Ok(store) => Ok((store, any)),
        Err(DatabaseError::TooNew { stored, .. }) => {
            let store = AnyStore::create(config.version(stored.clone())).await?;
            Ok((store, stored))
        }
        Err(error) => Err(error.into()),
    }
}

/// The settings that lead to a file.
pub(crate) fn config(file: &Path) -> Result<Config, Error> {
    let failed = |why| Error::Path {
        path: file.to_owned(),
        why,
    };
    if file.is_dir() {
        return Err(failed("is a directory; name the database file in it"));
    }
    let name = file.file_name().ok_or_else(|| failed("names no file"))?;
    let name = name
        .to_str()
        .ok_or_else(|| failed("the name of the file is not UTF-8"))?;
    let directory = file.parent().map_or_else(PathBuf::new, Path::to_owned);
    Ok(Config::new(directory).db_name(name))
}
