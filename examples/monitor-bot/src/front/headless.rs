//! Nobody types: the bot samples until it is told to stop, and writes down what happens.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

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
        let mut events = app.events();
        // A log that is gone is no reason to stop watching.
        let _ = self.screen.write(&self.screen.started(&app));
        loop {
            match events.recv().await {
                Ok(event) => {
                    let _ = self.screen.write(&self.screen.tell(&app, &event));
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(Ending::Done),
            }
        }
    }
}
