//! `history METRIC SPAN`

use serde_json::json;

use super::status::{current_rules, tone};
use crate::app::App;
use crate::error::Result;
use crate::metric::{Metric, Unit};
use crate::reply::{Plot, Reply, Tone};
use crate::span::{Span, rough};
use crate::store::Slot;

/// The most columns a plot can have use for.
const COLUMNS: u32 = 160;

pub(super) async fn history(app: &App, metric: &Metric, span: Span) -> Result<Reply> {
    let to = app.clock.now();
    let from = to - span.as_secs();
    let count = slots(app, span, COLUMNS);
    let slots = app.store.history(metric, from, to, count).await?;
    let title = format!("{} · the last {}", metric.title(), rough(span.as_secs()));
    let data = json!({ "metric": metric, "from": from, "to": to, "slots": count, "values": slots });
    let reply = Reply::with_data(data).toned(title, Tone::Strong);
    let Some(summary) = Summary::of(&slots) else {
        if !app.store.knows(metric).await? {
            refuse!("“{metric}” has never been measured here. Type status full to see what is.");
        }
        return Ok(reply.text("Nothing was measured in this time."));
    };
    let format = match span {
        span if span < Span::hours(12) => "%H:%M:%S",
        span if span <= Span::days(60) => "%m-%d %H:%M",
        _ => "%Y-%m-%d",
    };
    let (rules, (alerts, _)) = (current_rules(app).await, app.open_alerts().await);
    let tones = [summary.low, summary.high].map(|value| tone(&rules, &alerts, metric, value));
    let high = match metric.kind.unit() {
        // A share is seen beside the whole.
        Unit::Percent => summary.top.max(100.0),
        Unit::Running => 1.0,
        _ => summary.top.max(f64::MIN_POSITIVE),
    };
    let plot = Plot {
        values: columns(&slots, count, |slot| slot.average),
        high,
        labels: (metric.show(0.0), metric.show(high)),
        tone: tones.into_iter().max().unwrap_or_default(),
        ends: (app.clock.show(from, format), app.clock.show(to, format)),
    };
    let now = app.reading().value(metric);
    Ok(reply.plot(plot).text(summary.line(metric, now)))
}

/// Into how many slots a span is cut. Each is long enough for two readings, so that one without a value is a gap.
pub fn slots(app: &App, span: Span, most: u32) -> u32 {
    let keep = &app.settings.keep;
    let shortest = match span {
        span if span >= keep.minutes => 3_600,
        span if span >= keep.samples => 60,
        _ => 1,
    };
    let shortest = shortest.max(2 * app.settings.collect.every.as_secs());
    let fitting = u32::try_from(span.as_secs() / shortest).unwrap_or(most);
    fitting.clamp(1, most)
}

struct Summary {
    low: f64,
    high: f64,
    average: f64,
    count: u64,
    /// The highest of the averages: what the plot has to have room for.
    top: f64,
}

impl Summary {
    fn of(slots: &[Slot]) -> Option<Self> {
        let least = |of: fn(&Slot) -> f64| slots.iter().map(of).reduce(f64::min);
        let most = |of: fn(&Slot) -> f64| slots.iter().map(of).reduce(f64::max);
        let count = slots.iter().map(|slot| slot.count).sum::<u64>();
        let total = slots.iter().map(|slot| slot.average * slot.count as f64);
        Some(Self {
            low: least(|slot| slot.low)?,
            high: most(|slot| slot.high)?,
            average: total.sum::<f64>() / count as f64,
            count,
            top: most(|slot| slot.average)?,
        })
    }

    fn line(&self, metric: &Metric, now: Option<f64>) -> String {
        format!(
            "{}average {} · lowest {} · highest {} · {} value{}",
            now.map_or_else(String::new, |now| format!("now {} · ", metric.show(now))),
            metric.show(self.average),
            metric.show(self.low),
            metric.show(self.high),
            self.count,
            if self.count == 1 { "" } else { "s" }
        )
    }
}

/// A value for each of so many slots; none where nothing was measured.
pub fn columns(slots: &[Slot], count: u32, of: fn(&Slot) -> f64) -> Vec<Option<f64>> {
    let mut columns = vec![None; count as usize];
    for slot in slots {
        if let Some(column) = columns.get_mut(slot.slot as usize) {
            *column = Some(of(slot));
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_slot_is_shorter_than_what_is_measured_in_it() {
        let app = App::fake().await;
        for (span, count) in [
            (Span::seconds(1), 1),
            (Span::seconds(60), 6),
            (Span::seconds(600), 60),
            (Span::hours(6), 160),
            (Span::hours(24), 160),
            (Span::days(7), 160),
        ] {
            assert_eq!(slots(&app, span, COLUMNS), count, "{span}");
        }
        app.wait(Span::seconds(600)).await.unwrap();
        for span in [Span::seconds(60), Span::seconds(600)] {
            let reply = history(&app, &"cpu".parse().unwrap(), span).await.unwrap();
            let values = reply.data["values"].as_array().unwrap();
            assert_eq!(values.len() as u64, reply.data["slots"].as_u64().unwrap());
        }
    }
}
