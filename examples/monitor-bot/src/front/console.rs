//! The prompt: line editing, history and completion.

use std::path::PathBuf;
use std::sync::Arc;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};
use tokio::sync::mpsc;

use super::{Ending, Screen};
use crate::app::App;
use crate::commands::{Caller, completions, greeting};
use crate::error::Result;

const PROMPT: &str = "bot> ";

/// Takes the terminal, and answers what is typed until it is enough. What was typed before is remembered in a file.
pub async fn run(screen: Screen, history: Option<PathBuf>, app: &Arc<App>) -> Result<Ending> {
    #[cfg(unix)]
    let _mode = terminal::Mode::remember();
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config)
        .map_err(|error| refused!("The terminal cannot be used: {error}."))?;
    editor.set_helper(Some(Words));
    if let Some(history) = &history {
        // The first time there is none.
        let _ = editor.load_history(history);
    }
    if let Ok(greeting) = greeting(app).await {
        screen.show("status", &greeting)?;
    }
    if let Ok(printer) = editor.create_external_printer() {
        tokio::spawn(tell(Arc::clone(app), screen, printer));
    }
    let (wanted, mut typed) = read(editor, history, screen);
    let caller = Caller::console();
    while wanted.send(()).is_ok() {
        let Some(text) = typed.recv().await else {
            break;
        };
        // What is pasted can have several lines.
        for (index, line) in text.lines().enumerate() {
            if index > 0 {
                screen.line(format_args!("{PROMPT}{line}"))?;
            }
            let answer = screen.answer(app, &caller, line).await?;
            if answer.is_ok_and(|reply| reply.quit) {
                return Ok(Ending::Done);
            }
        }
    }
    Ok(Ending::Done)
}

/// Writes what happens above the line that is being typed.
async fn tell(app: Arc<App>, screen: Screen, mut printer: impl ExternalPrinter) {
    let events = app.events();
    let print = |line| drop(printer.print(line + "\n"));
    screen.tell_all(&app, events, print).await;
}

/// A thread of its own, for a read cannot be cancelled; it reads on when the last lines were answered.
fn read(
    mut editor: Editor<Words, FileHistory>,
    history: Option<PathBuf>,
    screen: Screen,
) -> (std::sync::mpsc::Sender<()>, mpsc::Receiver<String>) {
    let (sender, receiver) = mpsc::channel(1);
    let (wanted, wants) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while wants.recv().is_ok() {
            let text = loop {
                match editor.readline(PROMPT) {
                    Ok(text) => break text,
                    // As in a shell, Ctrl-C leaves a line half typed, and not the program.
                    Err(ReadlineError::Interrupted) => {
                        let _ = screen.line("Type quit or press Ctrl-D to leave.");
                    }
                    // Ctrl-D: the bot closes as with `quit`.
                    Err(_) => return,
                }
            };
            let mut lines = text.lines();
            let remembered = lines.try_for_each(|line| editor.add_history_entry(line).map(drop));
            let remembered = remembered.and_then(|()| match &history {
                Some(file) => editor.save_history(file),
                None => Ok(()),
            });
            if let Err(error) = remembered {
                tracing::warn!(%error, "what was typed cannot be remembered");
            }
            if sender.blocking_send(text).is_err() {
                return;
            }
        }
    });
    (wanted, receiver)
}

/// Completes commands and metrics.
struct Words;

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..position];
        let start = typed.rfind(' ').map_or(0, |space| space + 1);
        let pair = |word: String| Pair {
            replacement: format!("{word} "),
            display: word,
        };
        let words = completions(&typed[..start], &typed[start..]);
        Ok((start, words.into_iter().map(pair).collect()))
    }
}

impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

#[cfg(unix)]
mod terminal {
    use std::io::Write;

    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

    /// The prompt has pasted text marked as such.
    const PASTED_AS_TYPED: &[u8] = b"\x1b[?2004l";

    /// How the terminal was: a signal ends the bot while the prompt has it in another mode.
    pub(super) struct Mode(Option<Termios>);

    impl Mode {
        pub(super) fn remember() -> Self {
            Self(tcgetattr(std::io::stdin()).ok())
        }
    }

    impl Drop for Mode {
        fn drop(&mut self) {
            if let Some(mode) = &self.0 {
                // Nothing can be done about a terminal that is gone.
                let _ = std::io::stdout().write_all(PASTED_AS_TYPED);
                let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, mode);
            }
        }
    }
}
