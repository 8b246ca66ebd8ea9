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
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::{Ending, FrontEnd, Screen};
use crate::app::App;
use crate::commands::{COMMANDS, Caller, greeting};
use crate::error::{Error, Result};
use crate::metric::Kind;

/// The prompt of a terminal.
pub struct Console {
    screen: Screen,
    editor: Editor<Words, FileHistory>,
    history: Option<PathBuf>,
    #[cfg(unix)]
    _mode: terminal::Mode,
}

impl Console {
    /// Takes the terminal; what was typed before is remembered in the data folder.
    pub fn open(screen: Screen, history: Option<PathBuf>) -> Result<Self> {
        let unusable =
            |error: ReadlineError| Error::refused(format!("The terminal cannot be used: {error}."));
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .build();
        let mut editor = Editor::with_config(config).map_err(unusable)?;
        editor.set_helper(Some(Words));
        if let Some(history) = &history {
            // The first time there is none.
            let _ = editor.load_history(history);
        }
        Ok(Self {
            screen,
            editor,
            history,
            #[cfg(unix)]
            _mode: terminal::Mode::remember(),
        })
    }
}

impl FrontEnd for Console {
    async fn run(self, app: Arc<App>) -> Ending {
        if let Ok(greeting) = greeting(&app).await
            && self.screen.show("status", &greeting).is_err()
        {
            return Ending::Done;
        }
        let mut editor = self.editor;
        if let Ok(printer) = editor.create_external_printer() {
            tokio::spawn(tell(Arc::clone(&app), self.screen, printer));
        }
        let (wanted, mut lines) = read(editor, self.history);
        let caller = Caller::console();
        while wanted.send(()).is_ok() {
            let Some(line) = lines.recv().await else {
                break;
            };
            match self.screen.answer(&app, &caller, &line).await {
                Some(Ok(reply)) if reply.quit => break,
                Some(_) => {}
                None => break,
            }
        }
        Ending::Done
    }
}

/// Writes what happens above the line that is being typed.
async fn tell(app: Arc<App>, screen: Screen, mut printer: impl ExternalPrinter) {
    let mut events = app.events();
    loop {
        match events.recv().await {
            Ok(event) => {
                if printer.print(screen.tell(&app, &event)).is_err() {
                    return;
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// A thread of its own, for a read cannot be cancelled; it reads the next line when the last one was answered.
fn read(
    mut editor: Editor<Words, FileHistory>,
    history: Option<PathBuf>,
) -> (std::sync::mpsc::Sender<()>, mpsc::Receiver<String>) {
    let (sender, receiver) = mpsc::channel(1);
    let (wanted, wants) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while wants.recv().is_ok() {
            // Ctrl-C and Ctrl-D end the loop: the bot then closes as with `quit`.
            let Ok(line) = editor.readline("bot> ") else {
                return;
            };
            if let Some(history) = &history
                && let Err(error) = editor.save_history(history)
            {
                tracing::warn!(%error, "what was typed cannot be remembered");
            }
            if sender.blocking_send(line).is_err() {
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
        let pair = |word: &str| Pair {
            display: word.to_owned(),
            replacement: format!("{word} "),
        };
        let depth = typed[..start].split_whitespace().count();
        let before: Vec<_> = typed.split_whitespace().take(depth).collect();
        let mut words: Vec<_> = COMMANDS
            .iter()
            .filter(|entry| {
                entry
                    .words
                    .split(' ')
                    .take(depth)
                    .eq(before.iter().copied())
            })
            .filter_map(|entry| entry.words.split(' ').nth(depth))
            .collect();
        if depth == 1 && before == ["status"] {
            words.extend(["short", "full"]);
        }
        if depth == 1 && matches!(before[0], "history" | "fake")
            || depth == 2 && before == ["rule", "add"]
        {
            words.extend(Kind::names());
        }
        words.dedup();
        Ok((
            start,
            words
                .into_iter()
                .filter(|word| word.starts_with(&typed[start..]))
                .map(pair)
                .collect(),
        ))
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
    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

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
                let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, mode);
            }
        }
    }
}
