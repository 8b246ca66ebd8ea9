//! Nobody types: the bot samples until it is told to stop.

use std::sync::Arc;

use super::{Ending, FrontEnd};
use crate::app::App;

/// A service.
#[derive(Debug)]
pub struct Headless;

impl FrontEnd for Headless {
    async fn run(self, app: Arc<App>) -> Ending {
        app.stopping().await;
        Ending::Done
    }
}
