//! Where in a text something is, and how that is shown.

/// As many signs of a line are shown at most.
const WIDTH: usize = 100;

/// The line of a statement that `offset` is in, with a mark below.
pub(super) fn marked(sql: &str, offset: usize) -> String {
    let offset = sql.floor_char_boundary(offset.min(sql.len()));
    let begin = sql[..offset].rfind('\n').map_or(0, |at| at + 1);
    let end = sql[offset..].find('\n').map_or(sql.len(), |at| offset + at);
    let before: Vec<char> = sql[begin..offset].chars().map(visible).collect();
    let after: Vec<char> = sql[offset..end].chars().map(visible).collect();
    let indent = before
        .iter()
        .take_while(|sign| sign.is_whitespace())
        .count();
    let before = &before[indent..];
    // Of a long line, what is around the mark.
    let skipped = before.len().saturating_sub(WIDTH / 2);
    let before: String = before[skipped..].iter().collect();
    let after: String = after.iter().take(WIDTH / 2).collect();
    let mark = " ".repeat(before.chars().count());
    format!("    {before}{}\n    {mark}^", after.trim_end())
}

/// One column each.
fn visible(sign: char) -> char {
    if sign.is_control() { ' ' } else { sign }
}

/// Line and column of a place in a file, from 1.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// Where a name stands, if it does so once: SQLite does not say it for every error.
pub(super) fn only_place_of(sql: &str, name: &str) -> Option<usize> {
    let mut places = places_of(sql, name);
    let place = places.next()?;
    places.next().is_none().then_some(place)
}

/// Where a name stands as a word, in any case of its letters.
pub(super) fn places_of<'a>(sql: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |sign: char| sign.is_alphanumeric() || sign == '_' || sign == '$';
    sql.char_indices()
        .map(|(place, _)| place)
        .filter(move |&place| {
            let Some(found) = sql.get(place..place + name.len()) else {
                return false;
            };
            !name.is_empty()
                && found.eq_ignore_ascii_case(name)
                && !sql[..place].ends_with(is_word)
                && !sql[place + name.len()..].starts_with(is_word)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_below_its_sign_whatever_is_before_it() {
        assert_eq!(
            marked("SELECT 1\n\t  FROM größe x\n", 17),
            "    FROM größe x\n         ^"
        );
        assert_eq!(marked("", 5), "    \n    ^");
        let long = format!("SELECT {} wrong {}", "a, ".repeat(100), "b ".repeat(100));
        let shown = marked(&long, long.find("wrong").unwrap());
        let (line, mark) = shown.split_once('\n').unwrap();
        assert!(line[mark.len() - 1..].starts_with("wrong"), "{shown}");
        assert!(line.len() < 120);
    }

    #[test]
    fn a_name_is_found_when_it_stands_once_as_a_word() {
        assert_eq!(only_place_of("UPDATE t SET Nam = 1", "nam"), Some(13));
        assert_eq!(only_place_of("SELECT name, nam_e FROM t", "nam"), None);
        assert_eq!(only_place_of("SELECT a, a FROM t", "a"), None);
        assert_eq!(only_place_of("SELECT ä", "ä"), Some(7));
        assert_eq!(only_place_of("SELECT 1", ""), None);
    }

    #[test]
    fn lines_and_columns_are_counted_from_one() {
        assert_eq!(line_and_column("a\nbc", 0), (1, 1));
        assert_eq!(line_and_column("a\nbc", 3), (2, 2));
        assert_eq!(line_and_column("a\n", 99), (2, 1));
    }
}
