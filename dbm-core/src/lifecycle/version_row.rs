//! The table `Version`: one row of three integers.

use std::sync::Arc;

use crate::call::pipeline::Call;
use crate::call::site::Site;
use crate::engine::{Db, Session};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::manager_core::ManagerCore;
use crate::transaction::{ReadTransaction, WriteTransaction};
use crate::version::{self, Version};

const CREATE: &str = "CREATE TABLE main.Version (
    major INTEGER NOT NULL,
    minor INTEGER NOT NULL,
    patch INTEGER NOT NULL,
    PRIMARY KEY (major, minor, patch)
) STRICT";
pub(super) const INSERT: &str = "INSERT INTO Version (major, minor, patch) VALUES (?1, ?2, ?3)";

/// The library's own work: a body may not create a table of this name.
pub(super) async fn create(frame: &Arc<Frame>, version: &Version) -> Result<()> {
    let row = version::to_row(version)?;
    let create = move |_: &Session, db: &mut Db| {
        db.connection.execute(CREATE, ())?;
        db.connection.execute(INSERT, row)?;
        Ok(())
    };
    Session::control(frame, create).await?
}

pub(super) async fn update(db: &mut WriteTransaction, version: &Version) -> Result<()> {
    let row = version::to_row(version)?;
    let changed = db
        .execute("UPDATE Version SET major = ?1, minor = ?2, patch = ?3", row)
        .await?;
    let stored = read(db).await?;
    if changed != 1 || stored != *version {
        return Err(Error::InvalidVersion {
            message: format!("setting it to {version} changed {changed} rows and left {stored}"),
        });
    }
    Ok(())
}

pub(super) async fn read(db: &mut ReadTransaction) -> Result<Version> {
    let rows: Vec<(i64, i64, i64)> = db
        .query("SELECT major, minor, patch FROM Version LIMIT 2", ())
        .await?;
    match rows.as_slice() {
        [(major, minor, patch)] => version::from_row(*major, *minor, *patch),
        rows => Err(Error::InvalidVersion {
            message: format!("it has {} rows, but 1 was expected", rows.len()),
        }),
    }
}

pub(crate) async fn get_version(core: &ManagerCore) -> Result<Version> {
    static SITE: Site = Site::new(module_path!(), "get_version").during_init();
    Call::new(&SITE, core)
        .on::<ReadTransaction>()
        .returning::<Result<Version>>()
        .run(async |mut db: ReadTransaction| read(&mut db).await)
        .await
        .into_result()
}

pub(crate) async fn update_version(core: &ManagerCore, version: &Version) -> Result<()> {
    static SITE: Site = Site::new(module_path!(), "update_version").during_init();
    Call::new(&SITE, core)
        .on::<WriteTransaction>()
        .returning::<Result<()>>()
        .run(async |mut db: WriteTransaction| update(&mut db, version).await)
        .await
        .into_result()
}
