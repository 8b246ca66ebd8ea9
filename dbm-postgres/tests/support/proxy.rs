//! A network between a program and its server that fails when a test says so.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

/// What happens to a COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Fate {
    Passes,
    /// It does not reach the server, and the connection is cut.
    NeverArrives,
    /// The server commits, and the connection is cut before its answer arrives.
    AnswerIsLost,
    /// The same, and the server cannot be reached any more.
    ThenUnreachable,
}

pub struct Proxy {
    directory: TempDir,
    fate: Arc<AtomicUsize>,
    held: Arc<OnceLock<(&'static str, &'static str)>>,
}

impl Proxy {
    /// A socket in a directory of its own that leads to the server whose socket is in this one. `rewrite` replaces a text of the
    /// server by one of the same length.
    pub fn start(server: &Path, rewrite: Option<(&'static str, &'static str)>) -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let (fate, socket) = (Arc::<AtomicUsize>::default(), server.join(".s.PGSQL.5432"));
        let held = Arc::<OnceLock<_>>::default();
        let of_connections = (Arc::clone(&fate), Arc::clone(&held));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (fate, held) = of_connections.clone();
                if fate.load(Ordering::SeqCst) == Fate::ThenUnreachable as usize + 1 {
                    continue;
                }
                if let Ok(server) = UnixStream::connect(&socket).await {
                    tokio::spawn(pass(client, server, fate, held, rewrite));
                }
            }
        });
        Self {
            directory,
            fate,
            held,
        }
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What happens to the next COMMIT of a transaction that writes.
    pub fn set(&self, fate: Fate) {
        self.fate.store(fate as usize, Ordering::SeqCst);
    }

    /// From a message that has the first text until one that has the second, no answer arrives.
    pub fn hold_answers(&self, from: &'static str, until: &'static str) {
        self.held.set((from, until)).unwrap();
    }
}

async fn pass(
    mut client: UnixStream,
    mut server: UnixStream,
    fate: Arc<AtomicUsize>,
    held: Arc<OnceLock<(&'static str, &'static str)>>,
    rewrite: Option<(&'static str, &'static str)>,
) {
    let (mut sent, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut holds = false;
    loop {
        tokio::select! {
            length = client.read(&mut sent) => {
                let Ok(length @ 1..) = length else { return };
                let message = &sent[..length];
                if let Some((from, until)) = held.get() {
                    holds = (holds || has(message, from)) && !has(message, until);
                }
                let decided = fate.load(Ordering::SeqCst);
                // The table is told in each transaction that writes.
                let is_commit = has(message, "COMMIT") && has(message, "_dbm_commit VALUES");
                if is_commit && decided != Fate::Passes as usize {
                    fate.store(Fate::Passes as usize, Ordering::SeqCst);
                    if decided == Fate::NeverArrives as usize {
                        return;
                    }
                    server.write_all(message).await.unwrap();
                    // Whatever it answers: the transaction has ended by then.
                    let _ = server.read(&mut answered).await;
                    if decided == Fate::ThenUnreachable as usize {
                        fate.store(decided + 1, Ordering::SeqCst);
                    }
                    return;
                }
                if server.write_all(message).await.is_err() {
                    return;
                }
            }
            length = server.read(&mut answered), if !holds => {
                let Ok(length @ 1..) = length else { return };
                if let Some((from, to)) = rewrite {
                    replace(&mut answered[..length], from, to);
                }
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn has(message: &[u8], text: &str) -> bool {
    message
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

fn replace(message: &mut [u8], from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    if let Some(at) = message
        .windows(from.len())
        .position(|part| part == from.as_bytes())
    {
        message[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
}
