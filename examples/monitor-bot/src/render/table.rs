//! A table in columns without lines between: easy to read and to cut out.

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, CellAlignment, Color, ContentArrangement};

use super::{Style, harmless};
use crate::reply::Column::{Left, Right};
use crate::reply::{Cell, Table, Tone};

pub(super) fn render(table: &Table, style: Style) -> String {
    let mut shown = comfy_table::Table::new();
    shown.load_style(NOTHING).style_text_only();
    if style.colour {
        shown.enforce_styling();
    } else {
        shown.force_no_tty();
    }
    if let Some((columns, _)) = style.room {
        let arrangement = ContentArrangement::Dynamic;
        shown
            .set_content_arrangement(arrangement)
            .set_width(columns);
    }
    let heads = table.columns.iter().map(|(Left(head) | Right(head))| *head);
    // A table whose columns need no names has no head.
    if heads.clone().any(|head| !head.is_empty()) {
        shown.set_header(heads.map(|head| cell(&Cell::toned(head, Tone::Dim))));
    }
    shown.add_rows(table.rows.iter().map(|row| row.iter().map(cell)));
    for (shown, column) in shown.column_iter_mut().zip(&table.columns) {
        let gap = if shown.index == 0 { 0 } else { 2 };
        shown.set_padding((gap, 0));
        shown.set_cell_alignment(match column {
            Left(_) => CellAlignment::Left,
            Right(_) => CellAlignment::Right,
        });
    }
    shown.trim_fmt() + "\n"
}

fn cell(cell: &Cell) -> comfy_table::Cell {
    let shown = comfy_table::Cell::new(harmless(&cell.text));
    match cell.tone {
        _ if cell.text.is_empty() => shown,
        Tone::Plain => shown,
        Tone::Strong => shown.add_attribute(Attribute::Bold),
        Tone::Dim => shown.add_attribute(Attribute::Dim),
        Tone::Good => shown.fg(Color::DarkGreen),
        Tone::Warn => shown.fg(Color::DarkYellow),
        Tone::Bad => shown.fg(Color::DarkRed).add_attribute(Attribute::Bold),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([Left("name"), Right("value"), Left("note")]);
        table.row(["cpu".into(), "7".into(), "".into()]);
        table.row([
            "服务器".into(),
            "100".into(),
            Cell::toned("full to the brim", Tone::Bad),
        ]);
        table
    }

    #[test]
    fn numbers_stand_right_wide_letters_count_twice_and_no_line_ends_in_spaces() {
        assert_eq!(
            render(&table(), Style::PLAIN),
            "name    value  note\ncpu         7\n服务器    100  full to the brim\n"
        );
    }

    #[test]
    fn a_narrow_window_breaks_cells_and_not_rows() {
        let room = Some((24, 24));
        assert_eq!(
            render(
                &table(),
                Style {
                    room,
                    ..Style::PLAIN
                }
            ),
            "name    value  note\ncpu         7\n服务器    100  full to\n               the brim\n"
        );
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut table = Table::new([Left("name")]);
        table.row(["\u{1b}[2Jgone".into()]);
        assert!(!render(&table, Style::PLAIN).contains('\u{1b}'));
    }
}
