//! `wait` and `fake`: for scripts and for trying things out.

use crate::app::App;
use crate::error::Result;
use crate::metric::Metric;
use crate::reply::Reply;
use crate::span::Span;

/// The longest time a real machine is waited for.
const LONGEST: Span = Span::seconds(600);

pub(super) async fn wait(app: &App, span: Span) -> Result<Reply> {
    if span > LONGEST && !app.clock.is_virtual() {
        refuse!("Waiting is limited to {LONGEST}; with --fake-metrics it takes no time.");
    }
    app.wait(span).await?;
    Ok(Reply::line(format!("{span} later.")))
}

pub(super) fn fake(app: &App, metric: &Metric, value: Option<f64>) -> Result<Reply> {
    if !app.hold(metric.clone(), value) {
        refuse!("This machine is measured as it is: fake needs --fake-metrics.");
    }
    let held = match value {
        Some(value) => format!("held at {}", metric.show(value)),
        None => "let go".to_owned(),
    };
    Ok(Reply::line(format!(
        "{metric} is {held} from the next reading on."
    )))
}
