//! Where the history is: in a file of this machine, or on a server that other machines may share.

use std::path::Path;
use std::sync::Arc;
#[cfg(feature = "postgres")]
use std::time::Duration;

use dbm_core::prelude::*;

use crate::error::Result;
use crate::front;
use crate::options::Options;
use crate::settings::{Secret, Settings};
use crate::store::{Receiver, Store};

/// Opens the database. Only a bot that lasts tells people of alerts: a command ends before it has an answer.
pub async fn open(options: &Options, settings: &Settings) -> Result<Arc<Store>> {
    let receivers = front::receivers(settings)?;
    let server = options.database.as_ref();
    let server = server.or(settings.database.url.as_ref());
    if server.is_none() && options.host.is_some() {
        refuse!(
            "--host is for machines that share a database on a server: name it with --database."
        );
    }
    let data_dir = options.data_dir();
    let store = match server {
        Some(server) => on_server(server, options, settings, receivers)?,
        None => {
            let config = file(data_dir.as_deref());
            Store::open(work(config, options), settings.keep, receivers, None)
        }
    };
    store.ensure_ready().await.map_err(|error| {
        let folder = data_dir.filter(|_| server.is_none());
        let place = folder.map_or_else(String::new, |folder| format!(" in {}", folder.display()));
        refused!("The database{place} cannot be opened: {error}")
    })?;
    Ok(store)
}

fn file(data_dir: Option<&Path>) -> Config {
    data_dir
        .map_or_else(Config::in_memory, Config::new)
        .db_name("monitor.db")
        .private_files(true)
        // A bot shares its machine with what it watches: a megabyte for each connection, instead of sixteen.
        .on_open(|connection| Ok(connection.execute_batch("PRAGMA cache_size = -1000")?))
}

fn work(config: Config, options: &Options) -> Config {
    match options.is_lasting() {
        true => config,
        false => config.job_workers(0),
    }
}

#[cfg(feature = "postgres")]
fn on_server(
    server: &Secret,
    options: &Options,
    settings: &Settings,
    receivers: Vec<Receiver>,
) -> Result<Arc<Store>> {
    let own_name = || sysinfo::System::host_name().ok();
    let host = options
        .host
        .clone()
        .or_else(|| settings.database.host.clone());
    let host = host.or_else(own_name).filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| {
        refused!("This machine has no name: give it one with host in [database].")
    })?;
    // One machine stores little, and asks little.
    let postgres = dbm_postgres::Postgres::new(server.reveal())?.connections(4);
    let config: Config = postgres.into();
    // While the server is away a reading is not to wait long: alerts are told all the same.
    let config = work(config.acquire_timeout(Duration::from_secs(5)), options);
    Ok(Store::open(config, settings.keep, receivers, Some(host)))
}

#[cfg(not(feature = "postgres"))]
fn on_server(_: &Secret, _: &Options, _: &Settings, _: Vec<Receiver>) -> Result<Arc<Store>> {
    Err(refused!(
        "This program was built without `--features postgres`, so it has no database on a server."
    ))
}
