//! The clauses of CREATE TABLE that no PRAGMA reports: CHECK, COLLATE, generated columns, AUTOINCREMENT, conflict
//! clauses and deferred keys.

use super::sql::{Token, closing, first_list, line, tokens};

#[derive(Default)]
pub(super) struct Clauses {
    /// A column's name in lower case, and a line about it.
    columns: Vec<(String, String)>,
    /// The columns, in lower case, of keys that are checked only at COMMIT.
    deferred: Vec<String>,
    pub(super) lines: Vec<String>,
}

impl Clauses {
    pub(super) fn of(sql: &str) -> Self {
        let tokens = tokens(sql);
        let mut clauses = Self::default();
        for piece in first_list(&tokens).0 {
            clauses.read(piece);
        }
        clauses
    }

    pub(super) fn of_column(&self, name: &str) -> &str {
        let name = super::quote(&name.to_ascii_lowercase());
        self.columns
            .iter()
            .find(|(column, _)| *column == name)
            .map_or("", |(_, clauses)| clauses)
    }

    pub(super) fn is_deferred(&self, columns: &str) -> bool {
        self.deferred.contains(&columns.to_ascii_lowercase())
    }

    /// Reads one column definition, or one or more constraints of the table.
    fn read(&mut self, piece: &[Token]) {
        let Some(first) = piece.first() else { return };
        let is_constraint = ["constraint", "primary", "unique", "check", "foreign"]
            .iter()
            .any(|word| first.is(word));
        // What a clause applies to: the column, or the columns of the constraint that it belongs to.
        let mut subject = first.text().to_owned();
        let mut column = String::new();
        let mut at = usize::from(!is_constraint);
        while at < piece.len() {
            let words = &piece[at..];
            let group =
                |from: usize| &piece[at + from..=closing(piece, at + from).min(piece.len() - 1)];
            let mut taken = 1;
            if starts(words, &["check", "("]) {
                self.lines.push(format!("CHECK {}", line(group(1))));
                taken += group(1).len();
            } else if starts(words, &["as", "("]) && !is_constraint {
                column.push_str(&format!(" AS {}", line(group(1))));
                taken += group(1).len();
            } else if starts(words, &["collate"]) && words.len() > 1 {
                column.push_str(&super::collate(&words[1].name()));
            } else if starts(words, &["autoincrement"]) {
                self.lines.push("AUTOINCREMENT".to_owned());
            } else if starts(words, &["on", "conflict"]) && words.len() > 2 {
                let action = words[2].text().to_uppercase();
                self.lines.push(format!("ON CONFLICT {action} ({subject})"));
            } else if starts(words, &["not", "deferrable"]) {
                taken = 2;
            } else if starts(words, &["deferrable", "initially", "deferred"]) {
                self.deferred.push(subject.clone());
            } else if starts(words, &["("]) {
                taken = group(0).len();
                let follows_key = at > 0 && (piece[at - 1].is("key") || piece[at - 1].is("unique"));
                if is_constraint && follows_key {
                    subject = line(&group(0)[1..taken.max(2) - 1]);
                }
            }
            at += taken;
        }
        if !is_constraint {
            self.columns.push((subject, column));
        }
    }
}

fn starts(tokens: &[Token], words: &[&str]) -> bool {
    tokens.len() >= words.len() && words.iter().zip(tokens).all(|(word, token)| token.is(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_found_wherever_they_stand() {
        let clauses = Clauses::of(
            "CREATE TABLE t (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT COLLATE nocase CONSTRAINT long CHECK (length(name) > 0) DEFAULT ('check (1)'),
                double INT GENERATED ALWAYS AS (id * 2) STORED,
                team REFERENCES team ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
                boss REFERENCES t NOT DEFERRABLE INITIALLY DEFERRED,
                \"check\" INT NOT NULL ON CONFLICT IGNORE,
                UNIQUE (name, team) ON CONFLICT REPLACE,
                FOREIGN KEY (id, \"Two Words\") REFERENCES x (a, b) DEFERRABLE INITIALLY DEFERRED,
                CHECK (id IN (1, 2)) CHECK (id <> 3)
            )",
        );
        assert_eq!(
            clauses.lines,
            [
                "AUTOINCREMENT",
                "CHECK (length (name) > 0)",
                "ON CONFLICT IGNORE (check)",
                "ON CONFLICT REPLACE (name, team)",
                "CHECK (id in (1, 2))",
                "CHECK (id <> 3)",
            ]
        );
        assert_eq!(clauses.of_column("Name"), " COLLATE NOCASE");
        assert_eq!(clauses.of_column("double"), " AS (id * 2)");
        assert_eq!(clauses.deferred, ["team", "id, \"two words\""]);
    }

    #[test]
    fn damaged_text_does_no_harm() {
        for sql in [
            "",
            "x",
            "CREATE TABLE t",
            "t (",
            "t (,",
            "t (a check (",
            "t (a collate",
            "t (a unique on conflict",
            "t (unique (",
        ] {
            let _ = Clauses::of(sql);
        }
    }
}
