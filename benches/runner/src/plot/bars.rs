use crate::peers::RAW;

use super::canvas::{Anchor, Canvas};

/// A workload: every peer but raw as a multiple of raw.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) ratios: Vec<Option<f64>>,
}

const COLUMNS: usize = 3;
const NAMES: f64 = 110.0;
const PANEL: f64 = 250.0;
const TITLE: f64 = 34.0;
const ROW: f64 = 18.0;
const AXIS: f64 = 30.0;

/// Bars that leave the line of raw to the left where a peer is slower, to the right where it is faster.
pub(super) fn draw(peers: &[String], panels: &[Panel]) -> Option<String> {
    let names: Vec<_> = peers.iter().filter(|peer| *peer != RAW).collect();
    let scale = Scale::over(
        panels
            .iter()
            .flat_map(|panel| panel.ratios.iter().flatten().copied()),
    )?;
    let height = TITLE + ROW * names.len() as f64 + AXIS;
    let rows = panels.len().div_ceil(COLUMNS);
    let columns = panels.len().min(COLUMNS);
    let mut canvas = Canvas::new(NAMES + PANEL * columns as f64, height * rows as f64);
    for (index, panel) in panels.iter().enumerate() {
        let corner = (
            NAMES + PANEL * (index % COLUMNS) as f64,
            height * (index / COLUMNS) as f64,
        );
        if index % COLUMNS == 0 {
            for (row, name) in names.iter().enumerate() {
                let place = (NAMES - 8.0, corner.1 + TITLE + ROW * (row as f64 + 0.7));
                canvas.text(place, Anchor::End, text_class(name), name);
            }
        }
        draw_panel(&mut canvas, corner, panel, &names, &scale);
    }
    Some(canvas.finish())
}

fn draw_panel(
    canvas: &mut Canvas,
    (left, top): (f64, f64),
    panel: &Panel,
    names: &[&String],
    scale: &Scale,
) {
    canvas.text((left, top + 20.0), Anchor::Start, "title", &panel.title);
    let (first, last) = (top + TITLE, top + TITLE + ROW * names.len() as f64);
    for tick in scale.ticks() {
        let x = left + scale.place(tick);
        canvas.line(
            (x, first),
            (x, last),
            if tick == 1.0 { "axis" } else { "grid" },
        );
        let label = if tick == 1.0 {
            "raw".to_owned()
        } else {
            format!("{tick}×")
        };
        canvas.text((x, last + 14.0), Anchor::Middle, "small", &label);
    }
    for (row, (name, ratio)) in names.iter().zip(&panel.ratios).enumerate() {
        let y = first + ROW * row as f64;
        let Some(ratio) = *ratio else { continue };
        let (from, to) = (
            left + scale.place(ratio.min(1.0)),
            left + scale.place(ratio.max(1.0)),
        );
        canvas.rectangle(
            (from, y + 3.0),
            ((to - from).max(1.0), ROW - 6.0),
            bar_class(name),
        );
        let (x, anchor) = if ratio < 1.0 {
            (from - 4.0, Anchor::End)
        } else {
            (to + 4.0, Anchor::Start)
        };
        canvas.text((x, y + ROW * 0.7), anchor, "small", &figure(ratio));
    }
}

fn figure(ratio: f64) -> String {
    match ratio {
        10.0.. => format!("{ratio:.0}"),
        1.0.. => format!("{ratio:.1}"),
        _ => format!("{ratio:.2}"),
    }
}

fn bar_class(name: &str) -> &'static str {
    if name == "dbm" { "own" } else { "bar" }
}

fn text_class(name: &str) -> &'static str {
    if name == "dbm" { "own-text" } else { "" }
}

/// A logarithmic axis of whole decades around one, with room for figures at its ends.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    const MARGIN: f64 = 26.0;

    fn over(ratios: impl Iterator<Item = f64>) -> Option<Self> {
        let (mut least, mut most, mut any) = (0.1_f64, 10.0_f64, false);
        for ratio in ratios.filter(|ratio| *ratio > 0.0) {
            (least, most, any) = (least.min(ratio), most.max(ratio), true);
        }
        any.then_some(Self { least, most })
    }

    fn place(&self, ratio: f64) -> f64 {
        let part = (ratio / self.least).ln() / (self.most / self.least).ln();
        Self::MARGIN + part * (PANEL - 2.0 * Self::MARGIN - 10.0)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        [0.01, 0.1, 1.0, 10.0, 100.0]
            .into_iter()
            .filter(|tick| (self.least..=self.most).contains(tick))
    }
}
