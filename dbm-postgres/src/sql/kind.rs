//! What a statement does to the transaction and the connection that it runs in.

use super::token::{Token, is_one_of, tokens};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is over with its transaction.
    Plain,
    /// BEGIN, COMMIT, SAVEPOINT, ….
    TransactionControl,
    /// SET, LISTEN, PREPARE, …: the connection would be another one afterwards.
    Lasting,
    /// SET LOCAL: it is in force until the transaction ends, and not only in the call.
    Local,
    /// CREATE, ALTER, DROP: the schema is another one afterwards.
    Schema,
    /// It leaves something in the connection that only closing it removes: a TEMP table, a lock of the session.
    LeavesTraces,
    /// COPY from or to the program: it is no statement with an answer of rows.
    Copy,
}

/// How much of a statement decides about it: words and signs from its beginning. Semicolons before it are no statement.
const DECIDES: usize = 4;

/// Judges a single statement; PostgreSQL itself refuses to prepare several.
pub(crate) fn kind(sql: &str) -> Kind {
    let mut words = [""; DECIDES];
    let mut known = 0;
    let (mut leaves_traces, mut is_streamed) = (false, false);
    for (token, text) in tokens(sql) {
        let says = !matches!(token, Token::Space | Token::Semicolon);
        if known < DECIDES && says {
            words[known] = text;
            known += 1;
        }
        leaves_traces |= matches!(token, Token::Word(word) if is_one_of(word, TRACES));
        is_streamed |= matches!(token, Token::Word(word) if is_one_of(word, &["stdin", "stdout"]));
    }
    let is = |place: usize, wanted: &[&str]| is_one_of(words[place], wanted);
    let is_control = match () {
        () if is(
            0,
            &[
                "begin",
                "commit",
                "end",
                "rollback",
                "abort",
                "savepoint",
                "release",
            ],
        ) =>
        {
            true
        }
        () if is(0, &["start"]) => is(1, &["transaction"]),
        // `PREPARE transaction AS …` is a statement of that name.
        () if is(0, &["prepare"]) => is(1, &["transaction"]) && words[2].ends_with('\''),
        () if is(0, &["set"]) && is(1, &["transaction"]) => true,
        () if is(0, &["set"]) && is(1, &["session", "local"]) => {
            // With it off, an acknowledged commit would not be durable.
            is(2, &["transaction", "synchronous_commit"])
                || (is(1, &["session"]) && is(2, &["characteristics"]))
        }
        () => false,
    };
    let is_lasting = is(0, LASTING) || (is(0, &["set"]) && !is(1, &["local", "constraints"]));
    match () {
        () if is_control => Kind::TransactionControl,
        () if is_lasting => Kind::Lasting,
        () if is_streamed && is(0, &["copy"]) => Kind::Copy,
        // What the block of a DO does is hidden in a string.
        () if leaves_traces || is(0, &["declare", "do"]) => Kind::LeavesTraces,
        () if is(0, &["set"]) && is(1, &["local"]) => Kind::Local,
        () if is(0, &["create", "alter", "drop"]) => Kind::Schema,
        () => Kind::Plain,
    }
}

const LASTING: &[&str] = &[
    "reset",
    "discard",
    "listen",
    "unlisten",
    "prepare",
    "deallocate",
    "load",
];

const TRACES: &[&str] = &[
    "temp",
    "temporary",
    "pg_temp",
    "set_config",
    "setseed",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
];

/// Whether the number of rows that the server tells is of rows that were changed, and not of rows that were found.
pub(crate) fn changes_rows(sql: &str) -> bool {
    let mut depth = 0_usize;
    let verb = tokens(sql).find_map(|(token, _)| {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::Word(word) if depth == 0 => {
                let is_change = is_one_of(word, &["insert", "update", "delete", "merge"]);
                return (is_change || is_one_of(word, &["select", "values", "table"]))
                    .then_some(is_change);
            }
            _ => {}
        }
        None
    });
    verb.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_control_is_found_behind_whatever_stands_before_it() {
        for sql in [
            "BEGIN",
            "begin isolation level serializable",
            "START TRANSACTION",
            "COMMIT",
            "commit and chain",
            "/* a /* b */ */ -- c\n COMMIT PREPARED 'x'",
            ";; END",
            "ROLLBACK TO a",
            "ABORT",
            "SAVEPOINT a",
            "RELEASE a",
            "PREPARE TRANSACTION 'x'",
            "SET TRANSACTION READ ONLY",
            "SET LOCAL TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "SET LOCAL synchronous_commit = off",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        ] {
            assert_eq!(kind(sql), Kind::TransactionControl, "{sql}");
        }
    }

    #[test]
    fn a_word_of_transaction_control_elsewhere_is_none() {
        for sql in [
            "SELECT 'COMMIT'",
            "INSERT INTO t (begin) VALUES ('; COMMIT')",
            "SELECT $$ COMMIT $$ AS commit",
            "SET CONSTRAINTS ALL IMMEDIATE",
            "/* COMMIT */ SELECT 1",
            "start",
            "",
        ] {
            assert_eq!(kind(sql), Kind::Plain, "{sql}");
        }
        assert_eq!(kind("PREPARE transaction AS SELECT 1"), Kind::Lasting);
        assert_eq!(kind("SET LOCAL work_mem = '1MB'"), Kind::Local);
        assert_eq!(kind("copy t (a) to stdout"), Kind::Copy);
        assert_eq!(kind("alter table t add unique (a)"), Kind::Schema);
    }

    #[test]
    fn changes_are_told_from_what_is_found() {
        assert!(changes_rows(
            "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a"
        ));
        assert!(changes_rows("DELETE FROM t WHERE a IN (SELECT 1)"));
        assert!(!changes_rows(
            "WITH a AS (DELETE FROM t RETURNING b) SELECT * FROM a"
        ));
        assert!(!changes_rows("(VALUES (1))"));
    }

    #[test]
    fn what_outlives_the_transaction_is_known() {
        for sql in ["SET x = 1", "SET SESSION x = 1", "reset all", "LISTEN a"] {
            assert_eq!(kind(sql), Kind::Lasting, "{sql}");
        }
        for sql in [
            "CREATE TEMP TABLE a (b int)",
            "SELECT set_config('a.b', 'c', false)",
            "WITH a AS (SELECT pg_advisory_lock(1)) SELECT 1",
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "DO $$ BEGIN SET search_path TO a; END $$",
        ] {
            assert_eq!(kind(sql), Kind::LeavesTraces, "{sql}");
        }
    }
}
