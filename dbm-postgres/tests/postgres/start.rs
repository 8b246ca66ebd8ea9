//! Starts: many at once, of several versions, and against servers that are not the right ones.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::proxy::Proxy;
use crate::support::{Database, Server, shared};
use crate::within;
use dbm_core::prelude::*;
use dbm_postgres::{Postgres, Writers};

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE item (id bigint PRIMARY KEY); INSERT INTO item VALUES (1)")
            .await
    }
}

impl Store {
    #[database_safe]
    async fn insert(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO item SELECT max(id) + 1 FROM item", ())
            .await
            .map(drop)
    }
}

/// The same program, one release later.
#[derive(DbManager)]
#[db_manager(version = "2.0.0")]
struct Newer {
    core: ManagerCore,
}

impl Schema for Newer {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE item (id bigint PRIMARY KEY, name text)")
            .await
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        from: &Version,
        _: &Version,
    ) -> Result<bool> {
        assert_eq!(*from, Version::new(1, 0, 0));
        db.execute_batch("ALTER TABLE item ADD COLUMN name text")
            .await?;
        Ok(true)
    }
}

/// One whose migration fails after its first statement.
#[derive(DbManager)]
#[db_manager(version = "2.0.0")]
struct Failing {
    core: ManagerCore,
}

impl Schema for Failing {
    async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        _: &Version,
        _: &Version,
    ) -> Result<bool> {
        db.execute_batch("DROP TABLE item").await?;
        db.execute_batch("DROP TABLE nothing").await?;
        Ok(true)
    }
}

fn config(description: &str) -> Config {
    dbm_postgres::config(description).unwrap()
}

/// How a start fails, within a limit that is part of the promise.
async fn refusal(description: &str) -> Error {
    let limit = Duration::from_secs(5);
    let began = Instant::now();
    let outcome = Store::create(config(description).acquire_timeout(limit)).await;
    assert!(began.elapsed() < limit + Duration::from_secs(5));
    match outcome {
        Err(Error::Failed { cause, .. }) => {
            let error: &Error = cause.downcast_ref().unwrap();
            assert!(!error.to_string().contains("s3cret"), "{error}");
            error.clone()
        }
        Err(error) => error,
        Ok(_) => panic!("it has started"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_starts_at_once_one_creates_the_database() {
    let Some(server) = shared() else { return };
    within(async {
        for writers in [Writers::Sharing, Writers::Serializable] {
            let database = server.database();
            let starts = (0..20).map(|_| {
                let postgres = Postgres::new(&database.description()).unwrap();
                let postgres = postgres.writers(writers).schema("shop").connections(2);
                tokio::spawn(Store::create(Config::from(postgres)))
            });
            let starts: Vec<_> = starts.collect();
            for start in starts {
                start.await.unwrap().unwrap().close().await.unwrap();
            }
            assert_eq!(database.ask("SELECT count(*) FROM shop.item"), "1");
            assert_eq!(database.ask("SELECT * FROM shop.version"), "1|0|0");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_releases_that_start_at_once_the_newer_one_migrates_and_the_older_one_is_refused() {
    let Some(server) = shared() else { return };
    within(async {
        let database = server.database();
        let old = Store::create(config(&database.description()))
            .await
            .unwrap();
        let starts = (0..10).map(|number| {
            let config = config(&database.description());
            tokio::spawn(async move {
                if number % 2 == 0 {
                    return Newer::create(config).await.unwrap().close().await.unwrap();
                }
                match Store::create(config).await {
                    Ok(store) => store.close().await.unwrap(),
                    Err(Error::Failed { cause, .. }) => {
                        assert!(matches!(cause.downcast_ref(), Some(Error::TooNew { .. })));
                    }
                    Err(error) => assert!(matches!(error, Error::TooNew { .. }), "{error}"),
                }
            })
        });
        let starts: Vec<_> = starts.collect();
        for start in starts {
            start.await.unwrap();
        }
        assert_eq!(database.ask("SELECT * FROM version"), "2|0|0");
        assert_eq!(database.ask("SELECT id, name FROM item"), "1|");
        old.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_migration_that_fails_changes_nothing() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let store = Store::create(config(&database.description()))
        .await
        .unwrap();
    store.close().await.unwrap();
    assert!(
        Failing::create(config(&database.description()))
            .await
            .is_err()
    );
    assert_eq!(database.ask("SELECT * FROM version"), "1|0|0");
    assert_eq!(database.ask("SELECT id FROM item"), "1");
}

#[tokio::test]
async fn the_schema_of_somebody_else_is_refused() {
    let Some(server) = shared() else { return };
    let database = server.database();
    database.ask("CREATE TABLE theirs (a int)");
    let error = refusal(&database.description()).await;
    assert!(matches!(error, Error::ForeignDatabase { .. }), "{error}");
    assert_eq!(
        database.ask("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        "1"
    );
    database.ask("CREATE TABLE version (number text)");
    let error = refusal(&database.description()).await;
    assert!(matches!(error, Error::ForeignDatabase { .. }), "{error}");
}

#[tokio::test]
async fn settings_of_the_role_change_nothing_or_are_told_with_the_host() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let role = format!("{}_role", database.name);
    database.ask(&format!(
        "CREATE ROLE {role} LOGIN; CREATE ROLE {role}_other; GRANT {role}_other TO {role}; GRANT CREATE ON SCHEMA public TO {role}"
    ));
    let description = database
        .description()
        .replace("user=tester", &format!("user={role}"));
    for setting in [
        "default_transaction_read_only TO on",
        "search_path TO nowhere, \"an odd name\"",
        "client_encoding TO latin1",
        "TimeZone TO 'Asia/Kathmandu'",
        "DateStyle TO 'German, DMY'",
        "standard_conforming_strings TO off",
        "client_min_messages TO error",
        "default_transaction_isolation TO serializable",
        "lock_timeout TO 1",
    ] {
        database.ask(&format!("ALTER ROLE {role} SET {setting}"));
        let store = Store::create(config(&description)).await.unwrap();
        store.insert().await.unwrap();
        store.close().await.unwrap();
        database.ask(&format!("ALTER ROLE {role} RESET ALL"));
    }
    for (setting, cause) in [
        (
            format!("ALTER ROLE {role} SET role TO {role}_other"),
            "another one is SET",
        ),
        (
            format!(
                "ALTER ROLE {role} RESET role; DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO {role}"
            ),
            "42501",
        ),
    ] {
        database.ask(&setting);
        let error = refusal(&description).await.to_string();
        assert!(
            error.contains(cause) && error.contains(&database.name),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_does_not_answer_is_told() {
    let error = refusal("host=127.0.0.1 port=1 user=u password=s3cret dbname=d").await;
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("127.0.0.1:1/d") && text.contains("refused"),
        "{text}"
    );

    // It accepts connections, as a machine that is out of memory still does, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = refusal(&format!("host=127.0.0.1 port={port} user=u dbname=d")).await;
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_database_are_matters_of_the_configuration() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let database = server.database();
    database.ask("CREATE ROLE guarded LOGIN PASSWORD 'right'");
    let rules = server.file("pg_hba.conf");
    let known = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("local all guarded scram-sha-256\n{known}")).unwrap();
    database.ask("SELECT pg_reload_conf()");
    let description = database.description().replace("tester", "guarded");
    let error = loop {
        // Until the rule is in force, it fails for another reason: the role must not create tables.
        let error = refusal(&format!("{description} password=s3cret")).await;
        if error.to_string().contains("28P01") {
            break error;
        }
    };
    assert!(matches!(error, Error::Config { .. }), "{error}");
    assert!(error.to_string().contains(&database.name), "{error}");

    let error = refusal(&database.description().replace(&database.name, "missing")).await;
    assert!(matches!(error, Error::Config { .. }), "{error}");
    assert!(error.to_string().contains("3D000"), "{error}");
}

#[tokio::test]
async fn a_role_that_must_not_create_tables_can_write() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let owner = Store::create(config(&database.description()))
        .await
        .unwrap();
    owner.close().await.unwrap();
    database.ask(&format!("CREATE ROLE {}_writer LOGIN", database.name));
    database.ask(&format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}_writer",
        database.name
    ));
    let role = format!("user={}_writer", database.name);
    let description = database.description().replace("user=tester", &role);
    for writers in [Writers::Sharing, Writers::Serializable] {
        let postgres = Postgres::new(&description).unwrap().writers(writers);
        let store = Store::create(postgres.into()).await.unwrap();
        store.insert().await.unwrap();
        store.insert().await.unwrap();
        store.close().await.unwrap();
    }
    assert_eq!(database.ask("SELECT count(*) FROM item"), "5");
}

#[tokio::test]
async fn a_standby_is_refused() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let database = server.database();
    server.stop();
    std::fs::write(server.file("standby.signal"), "").unwrap();
    server.run();
    for attributes in ["", " target_session_attrs=read-write"] {
        let error = refusal(&format!("{}{attributes}", database.description())).await;
        assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_only_speaks_the_protocol_is_refused() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let proxy = Proxy::start(server.directory(), Some(("PostgreSQL 1", "CockroachDB2")));
    let error = refusal(&database.behind(proxy.directory())).await;
    assert!(matches!(error, Error::Config { .. }), "{error}");
    assert!(error.to_string().contains("CockroachDB"), "{error}");
}

/// pgbouncer, in a mode.
fn bouncer(database: &Database<'_>, mode: &str) -> Option<std::process::Child> {
    let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];
    let program = program
        .into_iter()
        .find(|program| std::path::Path::new(program).exists());
    let Some(program) = program else {
        crate::support::skipped("pgbouncer is not installed (apt-get install pgbouncer)");
        return None;
    };
    let directory = database.server.directory();
    let folder = directory.display();
    let (users, settings) = (
        directory.join("users"),
        directory.join(format!("{mode}.ini")),
    );
    std::fs::write(&users, "\"tester\" \"\"\n").unwrap();
    std::fs::write(
        &settings,
        format!(
            "[databases]\n* = host={folder}\n[pgbouncer]\npool_mode = {mode}\nunix_socket_dir = {folder}\nlisten_port = 6000\n\
             listen_addr =\nauth_type = trust\nauth_file = {}\nlogfile = {folder}/{mode}.log\n",
            users.display()
        ),
    )
    .unwrap();
    let mut command = database.server.command(program);
    command
        .arg(&settings)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let answers = || {
        let mut psql = Command::new("psql");
        let psql = psql.args([
            "-U",
            "tester",
            "-p",
            "6000",
            "-c",
            "SELECT 1",
            "-d",
            &database.name,
            "-h",
        ]);
        psql.arg(directory).output().unwrap().status.success()
    };
    while !answers() {
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(child)
}

#[tokio::test]
async fn a_pooler_that_shares_connections_is_refused_and_one_that_does_not_is_none() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let description = format!("{} port=6000", database.description());
    let Some(mut child) = bouncer(&database, "transaction") else {
        return;
    };
    let error = refusal(&description).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(error, Error::Config { .. }), "{error}");
    assert!(error.to_string().contains("pool_mode"), "{error}");
    let Some(mut child) = bouncer(&database, "session") else {
        return;
    };
    let outcome = Store::create(config(&description)).await;
    let closed = match outcome {
        Ok(store) => store.close().await,
        Err(error) => Err(error),
    };
    child.kill().unwrap();
    child.wait().unwrap();
    closed.unwrap();
}

/// What a process does that holds the lock of all writers and is frozen: see the test.
#[tokio::test]
async fn hold_the_lock() {
    let Ok(description) = std::env::var("DBM_HOLD_THE_LOCK") else {
        return;
    };
    let config = config(&description).acquire_timeout(Duration::from_secs(2));
    let store: Arc<Holder> = Holder::create(config).await.unwrap();
    let _ = store.hold().await;
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Holder {
    core: ManagerCore,
}

impl Schema for Holder {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE item (id bigint PRIMARY KEY)")
            .await
    }
}

impl Holder {
    #[database_safe]
    async fn hold(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO item VALUES (0)", ()).await?;
        println!("holds");
        std::future::pending().await
    }

    #[database_safe]
    async fn insert(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("INSERT INTO item VALUES (?1)", (id,)).await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_process_that_is_frozen_with_the_lock_loses_it() {
    use std::io::BufRead as _;

    let Some(server) = shared() else { return };
    within(async {
        let database = server.database();
        let store = Holder::create(config(&database.description()))
            .await
            .unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "start::hold_the_lock", "--nocapture"])
            .env("DBM_HOLD_THE_LOCK", database.description())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.lines().map_while(std::io::Result::ok);
        assert!(lines.any(|line| line.contains("holds")));
        crate::support::kill("-STOP", [child.id().to_string()]);
        store.insert(1).await.unwrap();
        assert_eq!(database.ask("SELECT id FROM item"), "1");
        child.kill().unwrap();
        child.wait().unwrap();
        store.close().await.unwrap();
    })
    .await;
}

/// A certificate for `localhost` that nobody but itself has signed.
fn certificate(server: &Server) -> Option<std::path::PathBuf> {
    let (certificate, key) = (server.file("server.crt"), server.file("server.key"));
    let made = server
        .command("/usr/bin/openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=CA:FALSE",
        ])
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(&certificate)
        .output();
    if made.is_ok_and(|made| made.status.success()) {
        return Some(certificate);
    }
    crate::support::skipped("OpenSSL is not installed");
    None
}

#[tokio::test]
async fn a_connection_is_encrypted_and_the_certificate_is_verified() {
    // An address of this process alone: the port is part of the socket's name.
    let process = std::process::id();
    let address = format!("127.{}.{}.2", process >> 8 & 255, process & 255);
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let Some(certificate) = certificate(&server) else {
        return;
    };
    let database = server.database();
    server.stop();
    server.run_with(&["-c", "ssl=on", "-c", &format!("listen_addresses={address}")]);
    let describe = |host: &str, mode: &str| {
        format!(
            "host={host} hostaddr={address} user=tester dbname={} sslmode={mode}",
            database.name
        )
    };
    let trusted = |description: &str| {
        Postgres::new(description)
            .unwrap()
            .root_certificates(&certificate)
    };
    let store = Store::create(trusted(&describe("localhost", "require")).into())
        .await
        .unwrap();
    store.close().await.unwrap();
    // For another name, and by nobody that the system trusts.
    let other = Store::create(trusted(&describe("example.org", "require")).into()).await;
    assert!(other.is_err_and(|error| error.to_string().contains("certificate")));
    for mode in ["require", "prefer"] {
        let error = refusal(&describe("localhost", mode)).await;
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    let plain = Store::create(config(&describe("localhost", "disable")))
        .await
        .unwrap();
    plain.close().await.unwrap();
}
