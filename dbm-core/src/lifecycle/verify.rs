//! A check of the whole file. It runs as a call; what `init_db` makes is asked for once that has ended.

use crate::call::{Call, Site};
use crate::engine::{self, Findings, Verification};
use crate::error::Result;
use crate::manager_core::ManagerCore;
use crate::transaction::ReadTransaction;

pub(crate) async fn verify(core: &ManagerCore) -> Result<Verification> {
    static SITE: Site = Site::new(module_path!(), "verify");
    let found = Call::new(&SITE, core)
        .on::<ReadTransaction>()
        .returning::<Result<Findings>>()
        .run(async |mut db: ReadTransaction| db.call(engine::verify).await)
        .await
        .into_result()?;
    let expected = match core.gate().expected_schema() {
        Some(expected) => Some(expected().await),
        None => None,
    };
    Ok(found.compared_with(expected))
}
