//! Another process, which does what a test tells it.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

/// Talks to the program `child`; killed when it is dropped.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts the program, whose path is `env!("CARGO_BIN_EXE_child")` in a test.
    #[must_use]
    pub fn start(program: &str) -> Self {
        Self::of(&mut Command::new(program))
    }

    /// As [`start`](Self::start), after a shell has set limits, which need no unsafe code there.
    #[must_use]
    pub fn start_after(limits: &str, program: &str) -> Self {
        Self::of(Command::new("sh").args(["-c", &format!("{limits}; exec \"$0\""), program]))
    }

    fn of(command: &mut Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (
            process.stdin.take().unwrap(),
            process.stdout.take().unwrap(),
        );
        Self {
            process,
            input,
            output: BufReader::new(output),
        }
    }

    /// Gives a command, without waiting for its answer.
    pub fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
    }

    /// Waits for the answer to a command.
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Gives a command and waits for its answer.
    pub fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer()
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}
