#![doc = include_str!("../README.md")]

mod batch;
mod connect;
mod connection;
mod fault;
mod pool;
mod prepared;
mod server;
mod settings;
mod settle;
mod sql;
mod tls;
mod transaction;
mod turns;
mod value;

pub use settings::{Postgres, Writers, config};
