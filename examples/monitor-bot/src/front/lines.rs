//! Commands from a pipe: one a line, each answered, to the end of the input.

use std::io::BufRead;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Ending, FrontEnd, Screen};
use crate::app::App;
use crate::commands::Caller;
use crate::error::Result;

/// Reads standard input.
#[derive(Debug)]
pub struct Lines {
    /// Where the answers go.
    pub screen: Screen,
}

impl FrontEnd for Lines {
    async fn run(self, app: Arc<App>) -> Result<Ending> {
        let mut lines = read();
        let caller = Caller::console();
        let mut ending = Ending::Done;
        while let Some(line) = lines.recv().await {
            match self.screen.answer(&app, &caller, &line).await? {
                Ok(reply) if reply.quit => break,
                Ok(_) => {}
                Err(_) => ending = Ending::Failed,
            }
        }
        Ok(ending)
    }
}

/// A thread of its own: a read from a terminal or a pipe cannot be cancelled, and must not hold up the end.
fn read() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n').map_while(Result::ok) {
            if sender
                .blocking_send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                return;
            }
        }
    });
    receiver
}
