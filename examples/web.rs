//! A web service: the manager is axum's state, and a route calls its methods.
//!
//! ```sh
//! cargo run --example web
//! curl --data Ada localhost:3000/users
//! curl localhost:3000/users/1
//! curl localhost:3000/export
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use dbm_core::prelude::*;
use dbm_core::rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE;
use futures_util::stream::poll_fn;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[derive(DbManager)]
#[db_manager(version = "1.0.0", schema = "users", checked(strict))]
struct Store {
    core: ManagerCore,
}

#[derive(Serialize, Deserialize)]
struct User {
    id: i64,
    name: String,
}

impl Store {
    #[database_safe(timeout = "1s")]
    async fn add(&self, db: &mut WriteTransaction, name: &str) -> Result<User> {
        let sql = "INSERT INTO user (name) VALUES (?1) RETURNING id, name";
        db.query_one(sql, (name,)).await
    }

    #[database_safe(timeout = "1s")]
    async fn user(&self, db: &mut ReadTransaction, id: i64) -> Result<User> {
        db.query_one("SELECT id, name FROM user WHERE id = ?1", (id,))
            .await
    }
}

/// A part of an answer, or the error that breaks it off.
type Part = Result<String>;

impl Store {
    /// Sends all users, a line each, as fast as the client takes them. It stops when the client goes away.
    #[database_safe]
    async fn export(&self, db: &mut ReadTransaction, client: &mpsc::Sender<Part>) -> Result<()> {
        let mut users = db.stream::<User>("SELECT id, name FROM user ORDER BY id", ());
        let mut part = String::new();
        while let Some(user) = users.next().await? {
            part += &format!("{}\t{}\n", user.id, user.name);
            if part.len() > 8 * 1024 && client.send(Ok(std::mem::take(&mut part))).await.is_err() {
                return Ok(());
            }
        }
        let _ = client.send(Ok(part)).await;
        Ok(())
    }
}

/// The rows end with the call, so the call lasts as long as the answer, in a task of its own.
async fn export(State(store): State<Arc<Store>>) -> Body {
    let (client, mut parts) = mpsc::channel(4);
    tokio::spawn(async move {
        if let Err(error) = store.export(&client).await {
            eprintln!("{error}");
            // The status was sent long ago. The client sees that the answer is broken off.
            let _ = client.send(Err(error)).await;
        }
    });
    Body::from_stream(poll_fn(move |context| parts.poll_recv(context)))
}

type Answer = Result<Json<User>, StatusCode>;

/// If the client goes away, axum drops this future. The call is undone, and the next writer has its turn.
async fn add_user(State(store): State<Arc<Store>>, name: String) -> Answer {
    store.add(&name).await.map(Json).map_err(code)
}

async fn show_user(State(store): State<Arc<Store>>, Path(id): Path<i64>) -> Answer {
    store.user(id).await.map(Json).map_err(code)
}

/// What the client is told. The cause is for the log.
fn code(error: Error) -> StatusCode {
    match error {
        Error::NoRows => StatusCode::NOT_FOUND,
        Error::Closed { .. } => StatusCode::SERVICE_UNAVAILABLE,
        error if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
        error if error.sqlite_code() == Some(SQLITE_CONSTRAINT_UNIQUE) => StatusCode::CONFLICT,
        error => {
            eprintln!("{error}");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// Serves until `stop` completes. Requests in flight are answered first, then the file is closed.
async fn serve(
    listener: TcpListener,
    store: Arc<Store>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = Router::new()
        .route("/users", post(add_user))
        .route("/users/{id}", get(show_user))
        .route("/export", get(export))
        .with_state(Arc::clone(&store));
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await?;
    Ok(store.close_within(Duration::from_secs(5)).await?)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    // A client that takes its export too slowly is broken off: meanwhile the write-ahead log cannot shrink.
    let config = Config::in_memory().max_read_age(Duration::from_secs(600));
    let store = Store::create(config).await?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async { _ = tokio::signal::ctrl_c().await };
    serve(listener, store, stop).await
}

#[cfg(test)]
#[tokio::test]
async fn it_answers_and_stops() -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(60);
    let store = Store::create(Config::in_memory()).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let stopped = async { stopped.await.unwrap() };
    let server = tokio::spawn(serve(listener, Arc::clone(&store), stopped));

    for (request, expected) in [
        (
            "POST /users HTTP/1.0\r\nContent-Length: 3\r\n\r\nAda",
            "200 OK",
        ),
        (
            "POST /users HTTP/1.0\r\nContent-Length: 3\r\n\r\nAda",
            "409 Conflict",
        ),
        ("GET /users/1 HTTP/1.0\r\n\r\n", r#"{"id":1,"name":"Ada"}"#),
        ("GET /users/2 HTTP/1.0\r\n\r\n", "404 Not Found"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        timeout(LIMIT, stream.read_to_string(&mut answer)).await??;
        assert!(
            answer.contains(expected),
            "{request:?} is answered {answer:?}"
        );
    }

    stop.send(()).unwrap();
    timeout(LIMIT, server).await?.unwrap()?;
    assert_eq!(store.status(), Status::Stopped);
    Ok(())
}

#[cfg(test)]
impl Store {
    #[database_safe]
    async fn add_all(&self, db: &mut WriteTransaction, count: usize) -> Result<usize> {
        let names = (0..count).map(|number| (format!("{number:0>100}"),));
        db.execute_many("INSERT INTO user (name) VALUES (?1)", names)
            .await
    }
}

/// More rows than the buffers of sockets hold.
#[cfg(test)]
#[tokio::test]
async fn an_export_waits_for_its_client_and_ends_with_it() -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(60);
    const USERS: usize = 200_000;
    // A call that went on for a client that is gone would keep the only reader.
    let store = Store::create(Config::in_memory().readers(1)).await?;
    assert_eq!(store.add_all(USERS).await?, USERS);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let stopped = async { stopped.await.unwrap() };
    let server = tokio::spawn(serve(listener, Arc::clone(&store), stopped));
    let ask = async || {
        let mut client = TcpStream::connect(address).await?;
        client.write_all(b"GET /export HTTP/1.0\r\n\r\n").await?;
        // The answer has begun.
        client.read_u8().await?;
        io::Result::Ok(client)
    };

    let gone = ask().await?;
    drop(gone);
    let mut slow = timeout(LIMIT, ask()).await??;
    // It is told of a write only if it asks again.
    store.add("Ada").await.unwrap();
    let mut answer = String::new();
    timeout(LIMIT, slow.read_to_string(&mut answer)).await??;
    let (_, lines) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(lines.lines().count(), USERS);
    assert!(lines.lines().last().unwrap().starts_with("200000\t"));

    stop.send(()).unwrap();
    timeout(LIMIT, server).await?.unwrap()?;
    Ok(())
}
