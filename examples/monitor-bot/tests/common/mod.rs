//! What the tests of the program share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses its own part"
)]

use std::fs::{File, read_to_string};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;

/// The program, which ends by itself or is ended.
pub fn bot() -> Command {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("monitor-bot");
    command
        .timeout(Duration::from_secs(120))
        .env("NO_COLOR", "1")
        .env_remove("DISCORD_TOKEN");
    command
}

/// The program on a made-up machine, with its data in a folder of the test.
pub fn fake_bot(data: &Path) -> Command {
    let mut command = bot();
    command.arg("--fake-metrics").arg("--data-dir").arg(data);
    command
}

/// Runs the lines of a script; gives what was written, and whether it went well.
pub fn script(command: &mut Command, data: &Path, lines: &str) -> (String, bool) {
    let file = data.join("test.script");
    std::fs::write(&file, lines).unwrap();
    let output = command.arg("--script").arg(&file).output().unwrap();
    (
        String::from_utf8(output.stdout).unwrap(),
        output.status.success(),
    )
}

/// The program as a service; a test that fails does not leave it behind.
pub struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts it; what it writes goes to a file beside its data.
    pub fn start(data: &Path, command: impl FnOnce(&mut std::process::Command)) -> Self {
        let mut service = std::process::Command::new(assert_cmd::cargo::cargo_bin!("monitor-bot"));
        service
            .args(["--headless", "--fake-metrics", "--data-dir"])
            .arg(data)
            .env_remove("DISCORD_TOKEN");
        command(&mut service);
        Self::spawn(service, data)
    }

    /// Starts what starts it.
    pub fn spawn(mut service: std::process::Command, log_dir: &Path) -> Self {
        let log = log_dir.join("log.txt");
        let file = File::create(&log).unwrap();
        service
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        Self {
            child: service.spawn().unwrap(),
            log,
        }
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has written this, and gives everything it wrote so far.
    pub fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let written = self.written();
            if written.contains(text) {
                return written;
            }
            assert!(
                Instant::now() < end && self.child.try_wait().unwrap().is_none(),
                "never “{text}”"
            );
            // A file tells nobody that it has grown.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Everything it wrote so far.
    pub fn written(&self) -> String {
        read_to_string(&self.log).unwrap()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", signal, &id])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Sends a signal, and waits for the end; it must be a good one. Gives everything that was written.
    pub fn stop(mut self, signal: &str) -> String {
        self.signal(signal);
        let ended = self.child.wait().unwrap();
        assert_eq!(ended.code(), Some(0), "{}", self.written());
        self.written()
    }

    /// Ends it without a word.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.written());
        }
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
