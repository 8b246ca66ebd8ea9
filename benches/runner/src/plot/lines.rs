use crate::peers::RAW;
use crate::tables::rate;

use super::canvas::{Anchor, Canvas};

pub(super) struct Chart {
    pub(super) title: &'static str,
    /// What stands below each point.
    pub(super) ticks: Vec<String>,
}

/// Calls a second of one peer; a missing point breaks nothing.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<Option<f64>>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 620.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 360.0;
/// The least distance of two names beside the lines' ends.
const NAME: f64 = 14.0;

const COLOURS: [&str; 9] = [
    "#4e79a7", "#59a14f", "#b07aa1", "#76b7b2", "#9c755f", "#edc948", "#af4b91", "#86a873",
    "#7f8c9b",
];

/// Both axes logarithmic: every point is a multiple of the one before it.
pub(super) fn draw(chart: &Chart, lines: &[Line]) -> Option<String> {
    let figures = || {
        lines
            .iter()
            .flat_map(|line| line.points.iter().flatten().copied())
            .filter(|rate| *rate > 0.0)
    };
    let least = figures().reduce(f64::min)?.log10().floor();
    let most = figures().reduce(f64::max)?.log10().ceil();
    let y = |rate: f64| BOTTOM - (rate.max(1e-9).log10() - least) / (most - least) * (BOTTOM - TOP);
    let x =
        |index: usize| LEFT + (RIGHT - LEFT) * index as f64 / (chart.ticks.len() - 1).max(1) as f64;

    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    canvas.text((LEFT, 22.0), Anchor::Start, "title", chart.title);
    for decade in least as i32..=most as i32 {
        let value = 10_f64.powi(decade);
        canvas.line((LEFT, y(value)), (RIGHT, y(value)), "grid");
        canvas.text(
            (LEFT - 6.0, y(value) + 4.0),
            Anchor::End,
            "small",
            &rate(value),
        );
    }
    for (index, tick) in chart.ticks.iter().enumerate() {
        canvas.text((x(index), BOTTOM + 18.0), Anchor::Middle, "small", tick);
    }
    let mut ends = Vec::new();
    for (line, paint) in lines.iter().zip(paints(lines)) {
        let points: Vec<_> = line
            .points
            .iter()
            .enumerate()
            .filter_map(|(index, rate)| Some((x(index), y((*rate)?))))
            .collect();
        canvas.polyline(&points, &paint);
        ends.extend(points.last().map(|end| (end.1, line.name.as_str())));
    }
    for (height, name) in spread_out(ends) {
        let class = if name == "dbm" { "own-text" } else { "small" };
        canvas.text((RIGHT + 8.0, height + 4.0), Anchor::Start, class, name);
    }
    Some(canvas.finish())
}

fn paints(lines: &[Line]) -> Vec<String> {
    let mut colours = COLOURS.iter().cycle();
    let paint = |line: &Line| match line.name.as_str() {
        "dbm" => r#"class="own-line""#.to_owned(),
        RAW => r#"class="raw-line""#.to_owned(),
        _ => format!(r#"stroke="{}""#, colours.next().unwrap_or(&"#888")),
    };
    lines.iter().map(paint).collect()
}

/// Names beside the ends of their lines, moved just so far that none covers another or leaves the plot.
fn spread_out(mut ends: Vec<(f64, &str)>) -> Vec<(f64, &str)> {
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    for index in 1..ends.len() {
        ends[index].0 = ends[index].0.max(ends[index - 1].0 + NAME);
    }
    let mut limit = BOTTOM;
    for end in ends.iter_mut().rev() {
        end.0 = end.0.min(limit);
        limit = end.0 - NAME;
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_cover_each_other() {
        let names = spread_out(vec![(350.0, "a"), (352.0, "b"), (100.0, "c"), (359.0, "d")]);
        for pair in names.windows(2) {
            assert!(pair[1].0 - pair[0].0 >= NAME, "{names:?}");
        }
        assert!(names.iter().all(|name| name.0 <= BOTTOM));
    }
}
