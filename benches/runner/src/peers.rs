use std::path::{Path, PathBuf};
use std::process::Command;

use harness::Result;

/// The peer all others are compared with.
pub(crate) const RAW: &str = "raw";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Whether it lives in the workspace beside the runner or, for the sake of its SQLite build, in its own.
    shared: bool,
}

const fn shared(name: &'static str) -> Peer {
    Peer { name, shared: true }
}

const fn apart(name: &'static str) -> Peer {
    Peer {
        name,
        shared: false,
    }
}

pub(crate) const PEERS: [Peer; 11] = [
    shared(RAW),
    shared("dbm"),
    shared("tokio-rusqlite"),
    shared("deadpool-sqlite"),
    apart("async-sqlite"),
    shared("r2d2"),
    shared("diesel"),
    apart("sqlx"),
    apart("libsql"),
    apart("turso"),
    apart("sqlite-kit"),
];

/// The benches directory.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The directory cargo built this program in, and everything that is made on the way.
pub(crate) fn target() -> Result<PathBuf> {
    let runner = std::env::current_exe()?;
    runner
        .ancestors()
        .nth(2)
        .map(Path::to_owned)
        .ok_or_else(|| "the runner is in no target directory".into())
}

/// The results of this page's machine, and of another one.
pub(crate) fn results_files() -> [PathBuf; 2] {
    ["results.jsonl", "results-other.jsonl"].map(|name| root().join(name))
}

/// What the last run has measured so far.
pub(crate) fn journal() -> Result<PathBuf> {
    Ok(target()?.join("bench-results").join("run.jsonl"))
}

pub(crate) fn program(peer: &str) -> Result<PathBuf> {
    Ok(target()?.join("release").join(format!("peer-{peer}")))
}

/// Builds the named peers and returns those that could be built; raw must be among them.
pub(crate) fn compile(names: &[&'static str]) -> Result<Vec<&'static str>> {
    let mut built = Vec::new();
    for peer in PEERS.iter().filter(|peer| names.contains(&peer.name)) {
        eprintln!("building {}", peer.name);
        match cargo_build(peer)? {
            true => built.push(peer.name),
            false => eprintln!("warning: {} does not build and is left out", peer.name),
        }
    }
    match built.contains(&RAW) {
        true => Ok(built),
        false => Err("raw does not build".into()),
    }
}

fn cargo_build(peer: &Peer) -> Result<bool> {
    let manifest = match peer.shared {
        true => root().join("Cargo.toml"),
        false => root().join("peers").join(peer.name).join("Cargo.toml"),
    };
    let status = Command::new("cargo")
        // Where cargo finds the profile.
        .current_dir(root())
        .args([
            "build",
            "--release",
            "--quiet",
            "--package",
            &format!("peer-{}", peer.name),
        ])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target()?)
        .status()?;
    Ok(status.success())
}
