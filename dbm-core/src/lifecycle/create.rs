//! A new database: the version and `init_db`, in one transaction.

use std::sync::Arc;

use super::{in_transaction, version_row};
use crate::call::site::Site;
use crate::engine::{Contents, Engine, contents};
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::schema::Schema;
use crate::transaction::{NewHandle as _, WriteTransaction};
use crate::version::Version;

static SITE: Site = Site::new(module_path!(), "init_db").during_init();

/// False when another process was first.
pub(crate) async fn create(
    schema: &impl Schema,
    gate: &Gate,
    engine: &Arc<Engine>,
    version: &Version,
) -> Result<bool> {
    in_transaction(gate, engine, &SITE, async |frame| {
        let found = frame.session.control(|db| contents(&db.connection)).await?;
        match found {
            Ok(Contents::Nothing) => {}
            Ok(Contents::Version(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        let db = &mut WriteTransaction::new(Arc::clone(frame));
        version_row::create(db, version).await?;
        schema.init_db(db).await?;
        match frame
            .session
            .control(|db| contents(&db.connection))
            .await??
        {
            Contents::Version(stored) if stored == *version => Ok(true),
            _ => Err(Error::InvalidVersion {
                message: "init_db changed the Version table".to_owned(),
            }),
        }
    })
    .await
}
