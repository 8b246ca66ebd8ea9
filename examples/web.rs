//! A web service: the manager is axum's state, and a route calls its methods.
//!
//! ```sh
//! cargo run --example web
//! curl --data Ada localhost:3000/users
//! curl localhost:3000/users/1
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use dbm_core::prelude::*;
use dbm_core::rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        let sql = "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT";
        db.execute_batch(sql).await
    }
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
        .with_state(Arc::clone(&store));
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await?;
    Ok(store.close_within(Duration::from_secs(5)).await?)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let store = Store::create(Config::in_memory()).await?;
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
