//! A plot of blocks, as large as there is room for: each column is a slot of time, its height the average of it.

use super::Style;
use crate::reply::{Plot, Tone};

const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(super) fn render(plot: &Plot, style: Style) -> String {
    let (columns, lines) = style.room.unwrap_or((72, 24));
    let height = (usize::from(lines) / 3).clamp(4, 12);
    let (low, high) = &plot.labels;
    let margin = low.chars().count().max(high.chars().count());
    let width = usize::from(columns)
        .saturating_sub(margin + 2)
        .clamp(1, 160);
    let heights: Vec<_> = fitted(&plot.values, width)
        .into_iter()
        .map(|value| value.map(|value| eighths(plot, value, height)))
        .collect();
    let mut out = String::new();
    for line in (0..height).rev() {
        let label = match line {
            0 => low.as_str(),
            _ if line == height - 1 => high.as_str(),
            _ => "",
        };
        let blocks: String = heights.iter().map(|height| block(*height, line)).collect();
        out.push_str(&style.paint(&format!("{label:>margin$} ┤"), Tone::Dim));
        out.push_str(&style.paint(blocks.trim_end(), plot.tone));
        out.push('\n');
    }
    let (from, to) = &plot.ends;
    let axis = "─".repeat(width);
    let rest = width.saturating_sub(from.chars().count());
    let ends = format!(
        "{:margin$} └{axis}\n{:margin$}  {from}{to:>rest$}\n",
        "", ""
    );
    out + &style.paint(&ends, Tone::Dim)
}

/// As many columns as there is room for: a column shows the average of its slots, a slot may take several columns.
fn fitted(values: &[Option<f64>], width: usize) -> Vec<Option<f64>> {
    let slots = values.len();
    (0..width)
        .map(|column| {
            let first = column * slots / width;
            let end = ((column + 1) * slots / width).max(first + 1);
            let known: Vec<f64> = values[first..end].iter().copied().flatten().collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        })
        .collect()
}

/// The height of a value; anything there is shows at least a line.
fn eighths(plot: &Plot, value: f64, height: usize) -> usize {
    let share = value / plot.high;
    ((share.clamp(0.0, 1.0) * (height * 8) as f64).round() as usize).max(1)
}

fn block(height: Option<usize>, line: usize) -> char {
    BLOCKS[height.unwrap_or(0).saturating_sub(line * 8).min(8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_as_wide_as_there_is_room() {
        let values = [Some(1.0), Some(3.0), None, Some(4.0)];
        assert_eq!(fitted(&values, 4), values);
        assert_eq!(fitted(&values, 2), [Some(2.0), Some(4.0)]);
        assert_eq!(fitted(&values, 1), [Some(8.0 / 3.0)]);
        let wide = [
            values[0], values[0], values[1], values[1], None, None, values[3], values[3],
        ];
        assert_eq!(fitted(&values, 8), wide);
    }

    #[test]
    fn a_plot_shows_low_high_and_gaps() {
        let plot = Plot {
            values: vec![Some(0.0), Some(50.0), None, Some(100.0)],
            high: 100.0,
            labels: ("0".into(), "100".into()),
            ends: ("a".into(), "b".into()),
            tone: Tone::Plain,
        };
        let room = Some((9, 24));
        let text = render(
            &plot,
            Style {
                room,
                ..Style::PLAIN
            },
        );
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 8 + 2);
        assert_eq!(lines[0], "100 ┤   █");
        assert_eq!(lines[7], "  0 ┤▁█ █");
        assert_eq!(lines[9], "     a  b");
    }
}
