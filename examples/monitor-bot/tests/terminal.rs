//! The prompt, as somebody at a terminal uses it.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

/// The program at a pseudo-terminal.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<String>,
    seen: String,
}

impl Terminal {
    /// Starts it, and waits for the first prompt.
    fn open(columns: u16) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let name = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = File::from(open(name, flags, Mode::empty()).unwrap());
        let size = Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        let child = Command::new(assert_cmd::cargo::cargo_bin!("monitor-bot"))
            .args(["--fake-metrics", "--no-web"])
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .env_remove("DISCORD_TOKEN")
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal)
            .spawn()
            .unwrap();
        let keyboard = File::from(controller);
        let mut output = keyboard.try_clone().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            // Linux fails the read when the program has left the terminal.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        let mut terminal = Self {
            child,
            keyboard,
            screen,
            seen: String::new(),
        };
        terminal.wait_for("bot> ");
        terminal
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is shown, and takes what was shown up to there.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.screen.recv_timeout(Duration::from_secs(60)) {
                Ok(more) => self.seen.push_str(&more),
                Err(error) => panic!("never “{text}” ({error}): {}", self.seen),
            }
        }
    }

    /// Waits for the end, which must be a good one.
    fn wait_for_end(mut self) {
        self.wait_for("closed in order");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn lines_typed_ahead_are_all_answered_in_order() {
    let mut terminal = Terminal::open(80);
    terminal.press("wait 1h\rwatch add nginx\rwatch add sshd\rstatus\rrule add cpu > 90\rquit\r");
    for answer in [
        "1h later",
        "“nginx” is watched",
        "“sshd” is watched",
        "Memory",
        "Rule 6",
    ] {
        terminal.wait_for(answer);
    }
    terminal.wait_for_end();
}

#[test]
fn a_pasted_block_is_one_command_a_line() {
    let mut terminal = Terminal::open(80);
    terminal.press("\x1b[200~watch add nginx\nstatus\nwatch add sshd\x1b[201~\r");
    terminal.wait_for("“nginx” is watched");
    terminal.wait_for("Memory");
    terminal.wait_for("“sshd” is watched");
    terminal.press("quit\r");
    terminal.wait_for_end();
}

#[test]
fn ctrl_c_drops_the_line_and_ctrl_d_leaves() {
    let mut terminal = Terminal::open(80);
    terminal.press(&format!("watch add ngi{CTRL_C}"));
    terminal.wait_for("press Ctrl-D to leave");
    terminal.press("watch list\r");
    terminal.wait_for("No process is watched");
    terminal.wait_for("bot> ");
    terminal.press(CTRL_C);
    terminal.wait_for("press Ctrl-D to leave");
    terminal.press(CTRL_D);
    terminal.wait_for_end();
}

#[test]
fn a_plot_and_a_table_fit_the_window() {
    for columns in [50_usize, 120] {
        let mut terminal = Terminal::open(columns.try_into().unwrap());
        terminal.press("rule add cpu > 1\rwait 10m\rhistory cpu 10m\r");
        terminal.wait_for("the last 10 m");
        let plot = terminal.wait_for("average");
        let lines: Vec<_> = plot.lines().map(str::trim_end).collect();
        let width = |line: &&str| line.chars().count();
        assert_eq!(lines.iter().map(width).max(), Some(columns), "{plot}");
        let lowest = lines
            .iter()
            .find(|line| line.contains("  0.0 % ┤"))
            .unwrap();
        let bars = lowest.split_once('┤').unwrap().1;
        assert!(
            !bars.contains(' ') && width(lowest) == columns,
            "no gap: {plot}"
        );
        terminal.press("alerts\r");
        terminal.wait_for("state");
        let table = terminal.wait_for("bot> ");
        assert!(table.lines().all(|line| width(&line) <= columns), "{table}");
    }
}
