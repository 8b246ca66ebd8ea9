//! What the tests of the program share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses its own part"
)]

use std::path::Path;
use std::time::Duration;

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
