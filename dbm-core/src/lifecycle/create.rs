//! A new database: the version and `init_db`, in one transaction.
//!
//! Schema files run as in a migration, with foreign keys off and checked at the end. With foreign keys on, the DROP TABLE
//! of a rebuild would delete the children's rows that an earlier file has inserted (sqlite.org/foreignkeys.html, section
//! 5).

use std::sync::Arc;

use super::foreign_keys::{foreign_keys, refuse_worse_than, set_foreign_keys};
use super::{in_transaction, version_row};
use crate::call::site::Site;
use crate::engine::{Contents, Engine, Session, contents};
use crate::error::{Error, Result};
use crate::gate::Gate;
#[cfg(feature = "jobs")]
use crate::jobs::make_tables;
use crate::schema::Schema;
use crate::transaction::{NewHandle as _, WriteTransaction};
use crate::version::Version;

static SITE: Site = Site::new(module_path!(), "init_db").during_init();

/// False if another process was first.
pub(crate) async fn create<S: Schema>(
    schema: &S,
    gate: &Gate,
    engine: &Arc<Engine>,
    version: &Version,
) -> Result<bool> {
    if S::__FROM_FILES {
        set_foreign_keys(engine, false).await?;
    }
    let created = in_transaction(gate, engine, &SITE, async |frame| {
        let found = Session::control(frame, |_, db| contents(&db.connection)).await?;
        if found? != Contents::Nothing {
            return Ok(false);
        }
        version_row::create(frame, version).await?;
        let db = &mut WriteTransaction::new(Arc::clone(frame).into());
        #[cfg(feature = "jobs")]
        make_tables(frame).await?;
        if S::__FROM_FILES {
            let before = foreign_keys(frame).await?;
            schema.init_db(db).await?;
            refuse_worse_than(&before, engine, frame).await?;
        } else {
            schema.init_db(db).await?;
        }
        let made = Session::control(frame, |_, db| contents(&db.connection)).await?;
        check_made(&made?, version).map(|()| true)
    })
    .await?;
    if S::__FROM_FILES {
        set_foreign_keys(engine, true).await?;
    }
    Ok(created)
}

/// Makes sure that `init_db` has left the version alone.
pub(super) fn check_made(made: &Contents, version: &Version) -> Result<()> {
    match made {
        Contents::Version(stored) if stored == version => Ok(()),
        _ => Err(Error::InvalidVersion {
            message: "init_db changed the Version table".to_owned(),
        }),
    }
}
