//! Connecting: the right server, and a session that is set up.

use std::sync::Arc;
use std::time::Duration;

use dbm_core::{Error, Result};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connection::Conn;
use crate::fault;
use crate::settings::{Settings, invalid};

/// The oldest release that has `pg_current_xact_id`, and `gen_random_uuid` without an extension.
const OLDEST: u32 = 130_000;

/// After how much silence the other side is asked whether it is there, on both sides of a connection, and how often. A machine
/// that is cut off is given up after four times as long: before a standby has been made the primary in its place.
const KEEPALIVE: Duration = Duration::from_secs(2);
const PROBES: u32 = 3;

/// How long one host may take to accept a connection, and to answer on it.
const ACCEPT: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(10);

/// How connections are made.
pub(crate) struct Connector {
    pub(crate) settings: Settings,
    pub(crate) name: Arc<str>,
    tls: MakeRustlsConnect,
    /// Each host by itself, in the order in which they were named.
    hosts: Vec<tokio_postgres::Config>,
    set_up: String,
}

/// A connection's process on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) process: String,
    /// A number of a process is used again.
    pub(crate) begun: String,
    /// Of this connection alone, for all times.
    pub(crate) id: String,
}

impl Connector {
    /// `idle` is how long a transaction may wait for its next statement: whoever it keeps waiting gives up after that.
    pub(crate) fn new(settings: Settings, idle: Duration) -> Result<Self> {
        let tls = crate::tls::connector(&settings)?;
        Ok(Self {
            name: settings.name.as_str().into(),
            set_up: set_up(&settings.schema, idle),
            hosts: hosts(&settings.server),
            settings,
            tls,
        })
    }

    /// Connects to a primary: the first of the hosts that is one.
    ///
    /// # Errors
    ///
    /// [`Error::Disconnected`] for what may pass; [`Error::Config`] for what will not.
    pub(crate) async fn connect(&self, deadline: Instant) -> Result<(Conn, Arc<Identity>)> {
        let mut refusal = None;
        for host in &self.hosts {
            // One that accepts connections and says nothing must not use up the time of all.
            let limit = deadline.min(Instant::now() + ANSWER);
            let late = |_| Error::disconnected(&self.name, "the server does not answer in time");
            let connected = timeout_at(limit, self.connect_to(host)).await;
            match connected.map_err(late).flatten() {
                Ok(connected) => return Ok(connected),
                Err(error @ Error::Config { .. }) => refusal = Some(error),
                Err(error) => drop(refusal.get_or_insert(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| self.unfit("there is no host")))
    }

    async fn connect_to(&self, host: &tokio_postgres::Config) -> Result<(Conn, Arc<Identity>)> {
        let connected = host.connect(self.tls.clone()).await;
        let (client, connection) = connected.map_err(|error| self.refused(&error))?;
        let tls = self.tls.clone();
        let conn = Conn::drive(client, connection, tls, Arc::clone(&self.name));
        self.check(conn).await
    }

    async fn check(&self, mut conn: Conn) -> Result<(Conn, Arc<Identity>)> {
        let about = conn
            .command("SELECT version(), current_setting('server_version_num'), pg_is_in_recovery()")
            .await;
        let about = about.map_err(|error| match error {
            // A server that only speaks the protocol has not all of these.
            Error::Server { state, message } if !may_pass(&state) => {
                self.unfit(&format!("it is not PostgreSQL: {message}"))
            }
            error => self.of_start(error),
        })?;
        let [Some(version), Some(number), Some(in_recovery)] = about.as_slice() else {
            return Err(self.unfit("it is not PostgreSQL"));
        };
        if !version.starts_with("PostgreSQL ") || version.contains("-YB-") {
            let name: String = version.chars().take(30).collect();
            return Err(self.unfit(&format!("it is not PostgreSQL but {name}")));
        }
        if number.parse().is_ok_and(|number: u32| number < OLDEST) {
            return Err(self.unfit("it is older than PostgreSQL 13"));
        }
        if in_recovery == "t" {
            return Err(Error::disconnected(
                &self.name,
                "the server is a standby; name all hosts, and target_session_attrs=read-write",
            ));
        }
        let about = conn.command(&self.set_up).await;
        let about = about.map_err(|error| self.of_start(error))?;
        match about.as_slice() {
            [Some(process), Some(begun), Some(id)] => {
                let identity = Identity {
                    process: process.clone(),
                    begun: begun.clone(),
                    id: id.clone(),
                };
                Ok((conn, Arc::new(identity)))
            }
            _ => Err(self.unfit(
                "the role has no rights on its own connections, because another one is SET for it; connect as that one",
            )),
        }
    }

    /// What the server refuses while the session is set up, with its name.
    fn of_start(&self, error: Error) -> Error {
        match &error {
            Error::Server { state, .. } if may_pass(state) => {
                Error::disconnected(&self.name, error)
            }
            Error::Server { .. } => self.unfit(&error.to_string()),
            _ => error,
        }
    }

    /// What will not pass by itself is a matter of the configuration.
    fn refused(&self, error: &tokio_postgres::Error) -> Error {
        let lasts = error.code().is_some_and(|state| {
            [
                SqlState::INVALID_PASSWORD,
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                SqlState::UNDEFINED_DATABASE,
                SqlState::INSUFFICIENT_PRIVILEGE,
            ]
            .contains(state)
        });
        if lasts {
            self.unfit(&fault::causes(error))
        } else {
            Error::disconnected(&self.name, fault::causes(error))
        }
    }

    fn unfit(&self, why: &str) -> Error {
        invalid(format!("{}: {why}", self.name))
    }

    /// Another server process has answered than the one that was connected to.
    pub(crate) fn pooled(&self) -> Error {
        self.unfit(
            "a pooler shares server processes among connections (pgbouncer with pool_mode=transaction); connect to the server, \
             or use pool_mode=session",
        )
    }
}

/// Whether the server is only in need at the moment (class 53) or was told to stop (57).
fn may_pass(state: &str) -> bool {
    state.starts_with("53") || state.starts_with("57")
}

/// The settings for each host. Those of this library come in the place of the system's, which notice a dead machine after hours.
fn hosts(all: &tokio_postgres::Config) -> Vec<tokio_postgres::Config> {
    let count = all.get_hosts().len().max(all.get_hostaddrs().len());
    let hosts = (0..count).map(|place| {
        let mut one = tokio_postgres::Config::new();
        match all.get_hosts().get(place) {
            Some(Host::Tcp(host)) => drop(one.host(host)),
            #[cfg(unix)]
            Some(Host::Unix(path)) => drop(one.host_path(path)),
            None => {}
        }
        if let Some(address) = all.get_hostaddrs().get(place) {
            one.hostaddr(*address);
        }
        let ports = all.get_ports();
        if let Some(port) = ports.get(place).or(ports.first()) {
            one.port(*port);
        }
        if let Some(user) = all.get_user() {
            one.user(user);
        }
        if let Some(password) = all.get_password() {
            one.password(password);
        }
        if let Some(database) = all.get_dbname() {
            one.dbname(database);
        }
        if let Some(options) = all.get_options() {
            one.options(options);
        }
        one.application_name(all.get_application_name().unwrap_or("dbm"))
            .ssl_mode(all.get_ssl_mode())
            .ssl_negotiation(all.get_ssl_negotiation())
            .channel_binding(all.get_channel_binding())
            .target_session_attrs(all.get_target_session_attrs())
            .connect_timeout(all.get_connect_timeout().copied().unwrap_or(ACCEPT))
            .keepalives(true)
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE)
            .keepalives_retries(PROBES)
            .tcp_user_timeout(KEEPALIVE * (PROBES + 1));
        one
    });
    hosts.collect()
}

/// Names PostgreSQL's defaults, too: a server, a database or a role may have others.
fn set_up(schema: &str, idle: Duration) -> String {
    let schema = schema.replace('"', "\"\"");
    let (idle, keepalive) = (idle.as_millis().max(1), KEEPALIVE.as_secs());
    let silence = (KEEPALIVE * (PROBES + 1)).as_millis();
    format!(
        "SET search_path TO \"{schema}\"; SET TimeZone TO 'UTC'; SET standard_conforming_strings TO on; \
         SET client_min_messages TO warning; \
         SET idle_in_transaction_session_timeout TO {idle}; SET default_transaction_read_only TO off; \
         SET tcp_keepalives_idle TO {keepalive}; SET tcp_keepalives_interval TO {keepalive}; \
         SET tcp_keepalives_count TO {PROBES}; SET tcp_user_timeout TO {silence}; \
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'; \
         SELECT pid, backend_start, gen_random_uuid() FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    )
}
