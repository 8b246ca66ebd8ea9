//! Commands from a pipe: one a line, each answered, to the end of the input.

use std::io::BufRead;

use tokio::sync::mpsc;

use super::{Ending, Screen};
use crate::app::App;
use crate::commands::Caller;
use crate::error::Result;

/// Answers what is read from standard input.
pub async fn run(screen: Screen, app: &App) -> Result<Ending> {
    let mut lines = read();
    let mut ending = Ending::Done;
    while let Some(line) = lines.recv().await {
        match screen.answer(app, &Caller::console(), &line).await? {
            Ok(reply) if reply.quit => break,
            Ok(_) => {}
            Err(_) => ending = Ending::Failed,
        }
    }
    Ok(ending)
}

/// A thread of its own: a read from a terminal or a pipe cannot be cancelled, and must not hold up the end.
fn read() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
