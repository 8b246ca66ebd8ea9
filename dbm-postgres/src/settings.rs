//! How a program says where its database is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use dbm_core::remote::{Backend, Limits, Remote, Waiting};
use dbm_core::{Config, Error, Result};
use tokio_postgres::config::Host;

use crate::server::Server;

/// How the writes of one process take turns.
///
/// Whatever it is, a write that was acknowledged is durable, and reads see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writers {
    /// One writer at a time among all processes, and calls of this process that wait share one transaction: each has its own
    /// savepoint in it, and is acknowledged when it is committed. The fastest where many tasks write. If the schema has a
    /// constraint that can be deferred, it is as [`InTurn`](Self::InTurn): such a constraint fails only at the commit.
    #[default]
    Sharing,
    /// One writer at a time among all processes, and each call has its own transaction.
    InTurn,
    /// Writers run side by side, and PostgreSQL detects conflicts: [`Error::is_retryable`] tells those that lost. The
    /// library never runs a body again by itself.
    Serializable,
}

/// The settings of a database on PostgreSQL.
///
/// ```no_run
/// use dbm_core::prelude::*;
/// use dbm_postgres::{Postgres, Writers};
///
/// # fn f() -> Result<Config> {
/// let config: Config = Postgres::new("host=db1,db2 user=shop dbname=shop target_session_attrs=read-write")?
///     .schema("shop")
///     .writers(Writers::InTurn)
///     .connections(16)
///     .into();
/// # Ok(config) }
/// ```
#[derive(Clone)]
pub struct Postgres(Settings);

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) server: tokio_postgres::Config,
    /// The hosts and the database, for errors and logs.
    pub(crate) name: String,
    pub(crate) schema: String,
    pub(crate) writers: Writers,
    pub(crate) connections: usize,
    pub(crate) patience: Duration,
    pub(crate) root_certificates: Option<PathBuf>,
}

/// A [`Config`] for a database on PostgreSQL, with the defaults of [`Postgres`].
///
/// ```no_run
/// use dbm_core::prelude::*;
///
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> { Ok(()) }
/// # }
/// # async fn f() -> Result<()> {
/// let store = Store::create(dbm_postgres::config("host=localhost user=shop dbname=shop")?).await?;
/// # store.close().await }
/// ```
///
/// # Errors
///
/// [`Error::Config`] if the text cannot be read; see [`Postgres::new`].
pub fn config(server: &str) -> Result<Config> {
    Postgres::new(server).map(Config::from)
}

impl Postgres {
    /// The server, as `libpq` describes it: `host=a,b port=5432 user=shop password=… dbname=shop`, or an URL
    /// `postgresql://shop@a,b/shop`. Of several hosts, the first that accepts writes is used.
    ///
    /// The options are those of [`tokio_postgres::Config`]; others of `libpq`, such as `sslrootcert` and `passfile`, are refused.
    ///
    /// Over TCP the connection is encrypted if the server can; `sslmode=require` insists on it, `sslmode=disable` never does.
    /// The certificate is always verified, for the name of the host, with the roots of the system or
    /// [`root_certificates`](Self::root_certificates).
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the option that cannot be read. A password is in no error, and in no log.
    pub fn new(server: &str) -> Result<Self> {
        let mut parsed = tokio_postgres::Config::from_str(server).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            invalid(format!(
                "the server's description cannot be read: {}",
                cause.unwrap_or_else(|| error.to_string())
            ))
        })?;
        if parsed.get_hosts().is_empty() && parsed.get_hostaddrs().is_empty() {
            parsed.host("localhost");
        }
        let (hosts, addresses) = (parsed.get_hosts().len(), parsed.get_hostaddrs().len());
        let ports = parsed.get_ports().len();
        if hosts > 0 && addresses > 0 && hosts != addresses {
            return Err(invalid("host and hostaddr are not as many"));
        }
        if ports > 1 && ports != hosts.max(addresses) {
            return Err(invalid("there are not as many ports as hosts"));
        }
        let name = name(&parsed);
        Ok(Self(Settings {
            server: parsed,
            name,
            schema: "public".to_owned(),
            writers: Writers::default(),
            connections: 8,
            patience: Duration::from_secs(25),
            root_certificates: None,
        }))
    }

    /// The schema of the database in which the tables are. It is created if it is missing. Default: `public`.
    ///
    /// Managers with different schemas have nothing to do with each other, except for the server.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.0.schema = schema.into();
        self
    }

    /// How writes take turns. Default: [`Writers::Sharing`].
    #[must_use]
    pub fn writers(mut self, writers: Writers) -> Self {
        self.0.writers = writers;
        self
    }

    /// How many connections this manager has at most, from 2 to 1,000. Default: 8. They are opened when they are needed.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.0.connections = connections;
        self
    }

    /// How long a COMMIT that was not answered looks for its outcome: until another server has taken over, for example. After
    /// that it is [`Error::CommitUnknown`]. Default: 25 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.0.patience = patience;
        self
    }

    /// A file of certificates (PEM) that sign the server's, in the place of those of the system.
    #[must_use]
    pub fn root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.0.root_certificates = Some(file.into());
        self
    }

    fn check(&self) -> Result<()> {
        let Settings {
            schema,
            connections,
            ..
        } = &self.0;
        if !(2..=1_000).contains(connections) {
            return Err(invalid("connections must be from 2 to 1,000"));
        }
        // 63 bytes are what PostgreSQL keeps of a name.
        if schema.is_empty() || schema.len() > 63 || schema.contains('\0') {
            return Err(invalid("a schema has a name of 1 to 63 bytes, without NUL"));
        }
        if schema.starts_with("pg_") || schema == "information_schema" {
            return Err(invalid("this schema belongs to PostgreSQL"));
        }
        Ok(())
    }
}

impl From<Postgres> for Config {
    fn from(postgres: Postgres) -> Self {
        Config::remote(postgres)
    }
}

impl Backend for Postgres {
    fn system(&self) -> &'static str {
        "postgresql"
    }

    fn name(&self) -> &str {
        &self.0.name
    }

    fn connect(&self, limits: Limits) -> Waiting<'_, Arc<dyn Remote>> {
        Box::pin(async move {
            self.check()?;
            let server = Server::connect(self.0.clone(), limits).await?;
            Ok(Arc::new(server) as Arc<dyn Remote>)
        })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.0;
        f.debug_struct("Postgres")
            .field("server", &settings.name)
            .field("schema", &settings.schema)
            .field("writers", &settings.writers)
            .field("connections", &settings.connections)
            .field("patience", &settings.patience)
            .finish_non_exhaustive()
    }
}

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::Config {
        message: message.into(),
    }
}

/// `db1:5432,db2:5432/shop`.
fn name(server: &tokio_postgres::Config) -> String {
    let ports = server.get_ports();
    let port = |place: usize| ports.get(place).or(ports.first()).copied().unwrap_or(5432);
    let named = server.get_hosts().iter().map(|host| match host {
        Host::Tcp(host) => host.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    });
    let mut hosts: Vec<String> = named.collect();
    if hosts.is_empty() {
        hosts = server
            .get_hostaddrs()
            .iter()
            .map(ToString::to_string)
            .collect();
    }
    let hosts = hosts.iter().enumerate();
    let hosts: Vec<_> = hosts
        .map(|(place, host)| format!("{host}:{}", port(place)))
        .collect();
    let database = server
        .get_dbname()
        .or(server.get_user())
        .unwrap_or_default();
    format!("{}/{database}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_has_hosts_and_database_and_nothing_has_the_password() {
        for server in [
            "host=a,b port=5433,5434 user=u password=s3cret dbname=shop",
            "postgresql://u:s3cret@a:5433,b:5434/shop",
        ] {
            let postgres = Postgres::new(server).unwrap();
            assert_eq!(postgres.name(), "a:5433,b:5434/shop");
            let shown = format!("{postgres:?} {:?}", Config::from(postgres.clone()));
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        assert_eq!(Postgres::new("user=u").unwrap().name(), "localhost:5432/u");
    }

    #[test]
    fn a_description_that_cannot_be_read_is_told_without_the_password() {
        for server in [
            "password=s3cret prot=1",
            "password=s3cret port=x",
            "host='a password=s3cret",
        ] {
            let error = Postgres::new(server).unwrap_err();
            assert!(matches!(error, Error::Config { .. }));
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        for uneven in ["host=a,b port=1,2,3", "host=a,b hostaddr=127.0.0.1"] {
            assert!(
                matches!(Postgres::new(uneven), Err(Error::Config { .. })),
                "{uneven}"
            );
        }
        let error = Postgres::new("prot=1").unwrap_err().to_string();
        assert!(error.contains("prot"), "{error}");
    }

    #[test]
    fn unusable_settings_are_refused() {
        let postgres = || Postgres::new("host=a").unwrap();
        assert!(postgres().connections(1).check().is_err());
        for schema in ["", "pg_catalog", "information_schema", "a\0"] {
            assert!(postgres().schema(schema).check().is_err(), "{schema}");
        }
        assert!(postgres().schema("Ünï").check().is_ok());
    }
}
