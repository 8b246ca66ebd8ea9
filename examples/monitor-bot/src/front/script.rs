//! Commands from a file, with expectations: the first one that fails ends the run.
//!
//! ```text
//! # a comment
//! watch add nginx
//! status
//! expect nginx                 the last answer contains this
//! expect-not stopped           … and not that
//! fails watch remove nobody    this command must be refused; its refusal is the answer
//! ```

use std::path::PathBuf;

use super::{Ending, Screen, complain};
use crate::app::App;
use crate::commands::{self, Caller};
use crate::error::{Error, Result};
use crate::render::{self, Style};

/// A file of commands.
#[derive(Debug)]
pub struct Script {
    path: PathBuf,
    lines: Vec<String>,
    screen: Screen,
}

impl Script {
    /// Reads the file.
    pub fn read(path: PathBuf, screen: Screen) -> Result<Self> {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| refused!("The script {} cannot be read: {error}.", path.display()))?;
        Ok(Self {
            lines: text.lines().map(str::to_owned).collect(),
            path,
            screen,
        })
    }

    /// One line, which may be the end; the answer stays there for the expectations that follow.
    async fn step(&self, app: &App, line: &str, answer: &mut String) -> Result<bool> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let refused = match word {
            "expect" => return expect(rest, answer, true),
            "expect-not" => return expect(rest, answer, false),
            "fails" => true,
            _ => false,
        };
        if !self.screen.is_json() {
            self.screen.line(format_args!("> {line}"))?;
        }
        let line = if refused { rest } else { line };
        match commands::answer(app, &Caller::console(), line).await {
            Ok(_) if refused => Err(refused!("This should have been refused, but it was done.")),
            Ok(reply) => {
                *answer = render::text(&reply, Style::PLAIN);
                self.screen.show(line, &reply)?;
                Ok(reply.quit)
            }
            Err(error) if refused => {
                *answer = error.to_string();
                self.screen.fail(line, &error)?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Runs it to its end, or to the first line that fails.
    pub async fn run(self, app: &App) -> Result<Ending> {
        let mut answer = String::new();
        for (index, line) in self.lines.iter().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match self.step(app, line, &mut answer).await {
                Ok(false) => {}
                Ok(true) => break,
                Err(error @ Error::Unwritable(_)) => return Err(error),
                Err(error) => {
                    self.screen.fail(line, &error)?;
                    let place = format!("{}:{}", self.path.display(), index + 1);
                    complain(format!("{place}: {line}: {error}"));
                    return Ok(Ending::Failed);
                }
            }
        }
        Ok(Ending::Done)
    }
}

/// Never an end of the script. Spaces of any number are one, so that an expectation need not know how wide a column is.
fn expect(text: &str, answer: &str, wanted: bool) -> Result<bool> {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = squeezed(text.trim().trim_matches('"'));
    if text.is_empty() {
        refuse!("Write: expect TEXT, or: expect-not TEXT.");
    }
    match (squeezed(answer).contains(&text), wanted) {
        (true, true) | (false, false) => Ok(false),
        (false, true) => Err(refused!("The last answer does not contain “{text}”.")),
        (true, false) => Err(refused!("The last answer contains “{text}”.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_do_not_count_spaces() {
        let answer = "process  state\nnginx    running\n";
        assert!(expect("nginx running", answer, true).is_ok());
        assert!(expect("\"state nginx\"", answer, true).is_ok());
        assert!(expect("stopped", answer, true).is_err());
        assert!(expect("stopped", answer, false).is_ok());
        assert!(expect("running", answer, false).is_err());
        assert!(expect("", answer, true).is_err());
    }
}
