//! A check of the whole file. It runs as a call.

use crate::call::{Call, Site};
use crate::engine::{self, Verification};
use crate::error::Result;
use crate::manager_core::ManagerCore;
use crate::transaction::ReadTransaction;

pub(crate) async fn verify(core: &ManagerCore) -> Result<Verification> {
    static SITE: Site = Site::new(module_path!(), "verify");
    Call::new(&SITE, core)
        .on::<ReadTransaction>()
        .returning::<Result<Verification>>()
        .run(async |mut db: ReadTransaction| db.call(engine::verify).await)
        .await
        .into_result()
}
