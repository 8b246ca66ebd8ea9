//! The switches of a connection that a closure may have changed.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

const SWITCHES: [DbConfig; 20] = [
    DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY,
    DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER,
    DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER,
    DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
    DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG,
    DbConfig::SQLITE_DBCONFIG_TRIGGER_EQP,
    DbConfig::SQLITE_DBCONFIG_RESET_DATABASE,
    DbConfig::SQLITE_DBCONFIG_DEFENSIVE,
    DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA,
    DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE,
    DbConfig::SQLITE_DBCONFIG_DQS_DML,
    DbConfig::SQLITE_DBCONFIG_DQS_DDL,
    DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW,
    DbConfig::SQLITE_DBCONFIG_LEGACY_FILE_FORMAT,
    DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA,
    DbConfig::SQLITE_DBCONFIG_STMT_SCANSTATUS,
    DbConfig::SQLITE_DBCONFIG_REVERSE_SCANORDER,
    DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE,
    DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE,
    DbConfig::SQLITE_DBCONFIG_ENABLE_COMMENTS,
];

/// The values of a connection's switches. An older SQLite does not have all of them.
pub(crate) struct Settings([Option<bool>; SWITCHES.len()]);

impl Settings {
    pub(crate) fn of(connection: &Connection) -> Self {
        Self(SWITCHES.map(|switch| connection.db_config(switch).ok()))
    }

    pub(crate) fn restore(&self, connection: &Connection) {
        for (switch, was) in SWITCHES.into_iter().zip(self.0) {
            if let Some(was) = was
                && connection.db_config(switch).ok() != Some(was)
            {
                let _ = connection.set_db_config(switch, was);
            }
        }
    }
}
