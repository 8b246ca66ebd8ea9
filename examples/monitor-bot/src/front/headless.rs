//! Nobody types: the bot samples until it is told to stop, and writes down what happens.

use std::sync::Arc;

use super::{Ending, FrontEnd, Screen};
use crate::app::App;
use crate::error::Result;

/// A service.
#[derive(Debug)]
pub struct Headless {
    /// Where events are written: a service manager keeps it.
    pub screen: Screen,
}

impl FrontEnd for Headless {
    async fn run(self, app: Arc<App>) -> Result<Ending> {
        let events = app.events();
        // A log that is gone is no reason to stop watching.
        let write = |line: String| drop(self.screen.write(&line));
        write(self.screen.started(&app));
        self.screen.tell_all(&app, events, write).await;
        Ok(Ending::Done)
    }
}
