//! Nobody types: the bot samples until it is told to stop, and writes down what happens.

use super::{Ending, Screen};
use crate::app::App;

/// Goes on for as long as the bot does. A service manager keeps what is written.
pub async fn run(screen: Screen, app: &App) -> Ending {
    let events = app.events();
    // A log that is gone is no reason to stop watching.
    let write = |line| drop(screen.line(line));
    write(screen.started(app));
    screen.tell_all(app, events, write).await;
    Ending::Done
}
