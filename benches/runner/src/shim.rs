use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::Result;

use crate::peers;
use crate::samples::printed_by;

/// A library that, loaded into a peer, counts its fsyncs and makes each of them slower: a disk as slow as one likes.
pub(crate) struct Shim {
    library: PathBuf,
    count: PathBuf,
}

impl Shim {
    pub(crate) fn compile(directory: &Path) -> Result<Self> {
        let library = directory.join("slow_fsync.so");
        let source = peers::root().join("runner/src/slow_fsync.c");
        printed_by(
            Command::new("cc")
                .args(["-O2", "-shared", "-fPIC", "-o"])
                .arg(&library)
                .arg(source),
        )?;
        Ok(Self {
            library,
            count: directory.join("fsyncs"),
        })
    }

    pub(crate) fn load_into(&self, command: &mut Command, delay_us: u64) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("SLOW_FSYNC_US", delay_us.to_string())
            .env("SLOW_FSYNC_COUNT", &self.count);
    }

    /// How many fsyncs the last peer called.
    pub(crate) fn count(&self) -> Result<u64> {
        let count = fs::read_to_string(&self.count)?.trim().parse()?;
        fs::remove_file(&self.count)?;
        Ok(count)
    }
}
