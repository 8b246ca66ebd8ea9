//! A plot of blocks: each column is a slot of time, its height the average of it.

use super::{Style, columns};
use crate::reply::{Plot, Tone};

const HEIGHT: usize = 8;
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(super) fn render(plot: &Plot, style: Style) -> String {
    let (low, high) = &plot.scale.labels;
    let margin = columns(low).max(columns(high));
    let heights: Vec<_> = squeezed(&plot.values, style.columns.saturating_sub(margin + 2))
        .into_iter()
        .map(|value| value.map(|value| eighths(plot, value)))
        .collect();
    let mut out = String::new();
    for line in (0..HEIGHT).rev() {
        let label = match line {
            0 => low.as_str(),
            _ if line == HEIGHT - 1 => high.as_str(),
            _ => "",
        };
        let space = " ".repeat(margin.saturating_sub(columns(label)));
        let blocks: String = heights.iter().map(|height| block(*height, line)).collect();
        out.push_str(&style.paint(&format!("{space}{label} ┤"), Tone::Dim));
        out.push_str(&style.paint(blocks.trim_end(), Tone::Good));
        out.push('\n');
    }
    let (from, to) = &plot.ends;
    let gap = heights.len().saturating_sub(columns(from) + columns(to));
    let indent = " ".repeat(margin);
    let axis = "─".repeat(heights.len());
    out.push_str(&style.paint(
        &format!(
            "{indent} └{axis}\n{indent}  {from}{}{to}\n",
            " ".repeat(gap)
        ),
        Tone::Dim,
    ));
    out
}

/// As many neighbours in one column as it takes for the plot to have room.
fn squeezed(values: &[Option<f64>], room: usize) -> Vec<Option<f64>> {
    let neighbours = values.len().div_ceil(room.max(1)).max(1);
    values
        .chunks(neighbours)
        .map(|slots| {
            let known: Vec<f64> = slots.iter().copied().flatten().collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        })
        .collect()
}

/// The height of a value; anything there is shows at least a line.
fn eighths(plot: &Plot, value: f64) -> usize {
    let range = plot.scale.high - plot.scale.low;
    let share = if range > 0.0 {
        (value - plot.scale.low) / range
    } else {
        0.5
    };
    ((share.clamp(0.0, 1.0) * (HEIGHT * 8) as f64).round() as usize).max(1)
}

fn block(height: Option<usize>, line: usize) -> char {
    BLOCKS[height.unwrap_or(0).saturating_sub(line * 8).min(8)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Scale;

    #[test]
    fn a_narrow_window_gets_a_narrow_plot() {
        let values = [Some(1.0), Some(3.0), None, Some(4.0), None, None, Some(5.0)];
        assert_eq!(squeezed(&values, 60), values);
        assert_eq!(
            squeezed(&values, 4),
            [Some(2.0), Some(4.0), None, Some(5.0)]
        );
        assert_eq!(squeezed(&values, 0), [Some(3.25)]);
    }

    #[test]
    fn a_plot_shows_low_high_and_gaps() {
        let plot = Plot {
            values: vec![Some(0.0), Some(50.0), None, Some(100.0)],
            scale: Scale {
                low: 0.0,
                high: 100.0,
                labels: ("0".into(), "100".into()),
            },
            ends: ("a".into(), "b".into()),
        };
        let text = render(&plot, Style::PLAIN);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), HEIGHT + 2);
        assert_eq!(lines[0], "100 ┤   █");
        assert_eq!(lines[HEIGHT - 1], "  0 ┤▁█ █");
        assert_eq!(lines[HEIGHT + 1], "     a  b");
    }
}
