//! A table in columns of equal width, without lines: easy to read and to cut out.

use super::{Style, columns, harmless};
use crate::reply::{Cell, Side, Table, Tone};

const GAP: &str = "  ";
/// A cell is never wider: the longest names are cut.
const WIDEST: usize = 90;

pub(super) fn render(table: &Table, style: Style) -> String {
    let heads: Vec<_> = table
        .columns
        .iter()
        .map(|(title, _)| Cell::toned(*title, Tone::Dim))
        .collect();
    let rows: Vec<Vec<Cell>> = std::iter::once(&heads)
        .chain(&table.rows)
        .map(|row| {
            row.iter()
                .map(|cell| Cell::toned(cut(&harmless(&cell.text)), cell.tone))
                .collect()
        })
        .collect();
    let widths: Vec<_> = (0..table.columns.len())
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| columns(&cell.text))
                .max()
                .unwrap_or(0)
        })
        .collect();
    // A table whose columns need no names has no head.
    let unnamed = heads.iter().all(|head| head.text.is_empty());
    rows.iter()
        .skip(usize::from(unnamed))
        .map(|row| line(table, row, &widths, style))
        .collect()
}

fn line(table: &Table, row: &[Cell], widths: &[usize], style: Style) -> String {
    let mut out = String::new();
    for (index, cell) in row.iter().enumerate() {
        let space = " ".repeat(widths[index].saturating_sub(columns(&cell.text)));
        let text = style.paint(&cell.text, cell.tone);
        if index > 0 {
            out.push_str(GAP);
        }
        match table.columns[index].1 {
            Side::Right => out.extend([space, text]),
            Side::Left if index + 1 == row.len() => out.push_str(&text),
            Side::Left => out.extend([text, space]),
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn cut(text: &str) -> String {
    if columns(text) <= WIDEST {
        return text.to_owned();
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_no_line_ends_in_spaces() {
        let mut table = Table::new([
            ("name", Side::Left),
            ("value", Side::Right),
            ("note", Side::Left),
        ]);
        table.row(["cpu".into(), "7".into(), "".into()]);
        table.row(["memory".into(), "100".into(), "full".into()]);
        assert_eq!(
            render(&table, Style::PLAIN),
            "name    value  note\ncpu         7\nmemory    100  full\n"
        );
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut table = Table::new([("name", Side::Left)]);
        table.row(["\u{1b}[2Jgone".into()]);
        assert!(!render(&table, Style::PLAIN).contains('\u{1b}'));
    }
}
