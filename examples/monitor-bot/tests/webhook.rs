//! Alerts by webhook, to a server on this machine.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use common::Service;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How a request is answered: as it is told to, or with 200.
#[derive(Clone)]
struct Receiver {
    answers: Arc<Mutex<Vec<Answer>>>,
    got: mpsc::UnboundedSender<(HeaderMap, String)>,
}

#[derive(Clone, Copy)]
enum Answer {
    Fail,
    Redirect,
    Never,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = receiver.answers.lock().unwrap().pop();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let _ = receiver.got.send((headers, body));
    match answer {
        None => StatusCode::OK.into_response(),
        Some(Answer::Fail) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Some(Answer::Redirect) => Redirect::temporary("/elsewhere").into_response(),
        Some(Answer::Never) => std::future::pending().await,
    }
}
