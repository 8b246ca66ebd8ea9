//! A network of a given length between a program and a server: each byte arrives half a round trip later.
//!
//! Threads, as the timers of tokio are too coarse for half a millisecond.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use harness::Result;
use tempfile::TempDir;

const SOCKET: &str = ".s.PGSQL.5432";

/// Where the server seems to be.
pub struct Delay {
    directory: TempDir,
}

impl Delay {
    /// Without a delay it is a name for the server's own socket.
    pub fn start(server: &Path, round_trip: Duration) -> Result<Self> {
        let directory = TempDir::new()?;
        let (socket, here) = (server.join(SOCKET), directory.path().join(SOCKET));
        if round_trip.is_zero() {
            symlink(socket, here)?;
            return Ok(Self { directory });
        }
        let listener = UnixListener::bind(here)?;
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client?, UnixStream::connect(&socket)?);
                pass(client.try_clone()?, server.try_clone()?, round_trip / 2);
                pass(server, client, round_trip / 2);
            }
            Result::<()>::Ok(())
        });
        Ok(Self { directory })
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream, delay: Duration) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if sender
                .send((Instant::now() + delay, buffer[..length].to_vec()))
                .is_err()
            {
                break;
            }
        }
    });
}
