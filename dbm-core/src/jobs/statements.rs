//! Every statement on the tables of jobs, in words that SQLite and PostgreSQL share. `engine/job_tables.rs` has the definitions
//! of the tables.
//!
//! A job waits if it has a `due` and no `owner`, runs if it has an owner, and is dead if it has no `due`. An owner of 0
//! marks a job whose worker's process has ended while it ran.

use crate::error::Result;
use crate::job_board::random;
use crate::transaction::{ReadTransaction, WriteTransaction};

/// The key of a schedule's one row.
const SCHEDULE: &str = "every";

/// A row as it is claimed.
#[derive(Clone)]
pub(super) struct Claimed {
    pub(super) id: i64,
    pub(super) kind: String,
    pub(super) arguments: String,
    /// Of a schedule: the time of this run, whatever attempts it took. A row of one keeps it in `enqueued`.
    pub(super) due: i64,
    /// Including this one.
    pub(super) attempts: u32,
    pub(super) token: i64,
    pub(super) is_schedule: bool,
}

type Row = (i64, String, String, i64, u32, i64, bool);

/// The statements that look for jobs of the kinds of one manager. Each of them probes an index once for each kind, so it
/// takes no longer the more jobs there are, of whatever kind and time.
pub(super) struct Texts {
    claim: String,
    claim_suspect: String,
    first_due: String,
    has_suspect: String,
    schedules: String,
}

impl Texts {
    /// Names of methods need no escape.
    pub(super) fn of<'n>(kinds: impl Iterator<Item = &'n str>) -> Self {
        let kinds: Vec<_> = kinds.map(|kind| format!("('{kind}')")).collect();
        let known = format!("(VALUES {}) AS known", kinds.join(", "));
        let claim = |candidate: String| {
            format!(
                "UPDATE _dbm_job SET owner = ?1, attempts = attempts + 1, token = ?2 WHERE id = ({candidate})
                 RETURNING id, kind, args, CASE WHEN key = 'every' THEN enqueued ELSE due END, attempts, token,
                 coalesce(key = 'every', FALSE)"
            )
        };
        Self {
            claim: claim(format!(
                "SELECT job.id FROM {known} CROSS JOIN _dbm_job AS job WHERE job.id = (
                    SELECT id FROM _dbm_job WHERE kind = known.column1 AND owner IS NULL AND due <= ?3 ORDER BY due LIMIT 1
                 ) ORDER BY job.due LIMIT 1"
            )),
            // One whose worker's process has ended.
            claim_suspect: claim(format!(
                "SELECT job.id FROM {known} CROSS JOIN _dbm_job AS job WHERE job.id = (
                    SELECT id FROM _dbm_job WHERE owner = 0 AND kind = known.column1 LIMIT 1
                 ) LIMIT 1"
            )),
            first_due: format!(
                "SELECT min((SELECT due FROM _dbm_job WHERE kind = known.column1 AND owner IS NULL AND due IS NOT NULL
                 ORDER BY due LIMIT 1)) FROM {known}"
            ),
            has_suspect: format!(
                "SELECT EXISTS (SELECT 1 FROM {known}
                 WHERE EXISTS (SELECT 1 FROM _dbm_job WHERE owner = 0 AND kind = known.column1))"
            ),
            schedules: format!(
                "SELECT job.kind, job.due FROM {known} CROSS JOIN _dbm_job AS job
                 WHERE job.kind = known.column1 AND job.key = 'every' AND job.owner IS NULL AND job.due IS NOT NULL"
            ),
        }
    }
}

pub(super) async fn insert(
    db: &mut WriteTransaction,
    kind: &str,
    arguments: &str,
    key: Option<String>,
    due: i64,
    now: i64,
) -> Result<bool> {
    let sql = "INSERT INTO _dbm_job (kind, args, key, due, enqueued) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    Ok(db.execute(sql, (kind, arguments, key, due, now)).await? > 0)
}

/// Claims one job that is due.
pub(super) async fn claim(
    db: &mut WriteTransaction,
    worker: i64,
    texts: &Texts,
    now: i64,
) -> Result<Option<Claimed>> {
    let claim = (worker, token(), now);
    let row: Option<Row> = db.query_optional(&texts.claim, claim).await?;
    Ok(row.map(Claimed::of))
}

pub(super) async fn claim_suspect(
    db: &mut WriteTransaction,
    worker: i64,
    texts: &Texts,
) -> Result<Option<Claimed>> {
    let claim = (worker, token());
    let row: Option<Row> = db.query_optional(&texts.claim_suspect, claim).await?;
    Ok(row.map(Claimed::of))
}

/// The number of a claim, or a beat.
fn token() -> i64 {
    random() as i64
}

impl Claimed {
    fn of((id, kind, arguments, due, attempts, token, is_schedule): Row) -> Self {
        Self {
            id,
            kind,
            arguments,
            due,
            attempts,
            token,
            is_schedule,
        }
    }

    /// Ends this run of the job. False if another worker has it.
    pub(super) async fn end(&self, db: &mut WriteTransaction, ending: &Ending) -> Result<bool> {
        let (id, token) = (self.id, self.token);
        let changed = match ending {
            Ending::Done => db.execute(DONE, (id, token)).await?,
            Ending::Again {
                due,
                attempts,
                cause,
            } => {
                let cause = cause.as_deref();
                db.execute(AGAIN, (id, token, *due, *attempts, cause))
                    .await?
            }
            Ending::Next { due, cause } => {
                let cause = cause.as_deref();
                db.execute(NEXT, (id, token, *due, cause)).await?
            }
            Ending::Dead { died, cause } => {
                let dead = (id, token, *died, self.attempts, cause.as_str());
                db.execute(DEAD, dead).await?
            }
        };
        Ok(changed > 0)
    }
}

/// What becomes of a job after a run.
pub(super) enum Ending {
    /// It is deleted.
    Done,
    /// It waits again.
    Again {
        due: i64,
        attempts: u32,
        cause: Option<String>,
    },
    /// It is a schedule, and waits for its next time.
    Next { due: i64, cause: Option<String> },
    /// It is a dead letter.
    Dead { died: i64, cause: String },
}

const DONE: &str = "DELETE FROM _dbm_job WHERE id = ?1 AND token = ?2 AND owner IS NOT NULL";
const AGAIN: &str =
    "UPDATE _dbm_job SET owner = NULL, due = ?3, attempts = ?4, cause = coalesce(?5, cause)
     WHERE id = ?1 AND token = ?2 AND owner IS NOT NULL";
const NEXT: &str =
    "UPDATE _dbm_job SET owner = NULL, due = ?3, enqueued = ?3, attempts = 0, cause = ?4
     WHERE id = ?1 AND token = ?2 AND owner IS NOT NULL";
const DEAD: &str =
    "UPDATE _dbm_job SET owner = NULL, due = NULL, died = ?3, attempts = ?4, cause = ?5
     WHERE id = ?1 AND token = ?2 AND owner IS NOT NULL";

/// Writes that a worker lives. A beat is a random number: if a count began again after another process has deleted the
/// row, a third one could take its first beat for the one that it has seen before.
pub(super) async fn beat(db: &mut WriteTransaction, worker: i64) -> Result<()> {
    let sql = "INSERT INTO _dbm_worker (id, beat) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET beat = excluded.beat";
    db.execute(sql, (worker, token())).await.map(drop)
}

/// Gives the jobs of a worker to others, if that has not shown a sign of life since `beat`.
pub(super) async fn take_over(db: &mut WriteTransaction, worker: i64, beat: i64) -> Result<bool> {
    let gone = "DELETE FROM _dbm_worker WHERE id = ?1 AND beat = ?2";
    if db.execute(gone, (worker, beat)).await? == 0 {
        return Ok(false);
    }
    let free = "UPDATE _dbm_job SET owner = 0 WHERE owner = ?1";
    Ok(db.execute(free, (worker,)).await? > 0)
}

/// Undoes a claim, as if it had never been made.
pub(super) async fn give_back(db: &mut WriteTransaction, id: i64, claim: i64) -> Result<()> {
    let sql = "UPDATE _dbm_job SET owner = NULL, attempts = attempts - 1
         WHERE id = ?1 AND token = ?2 AND owner IS NOT NULL";
    db.execute(sql, (id, claim)).await.map(drop)
}

/// Has a schedule run at `now`, unless it is there; and not later than one period from now.
pub(super) async fn schedule(
    db: &mut WriteTransaction,
    kind: &str,
    now: i64,
    latest: i64,
) -> Result<()> {
    let key = Some(SCHEDULE.to_owned());
    if !insert(db, kind, "null", key, now, now).await? {
        let sql = "UPDATE _dbm_job SET due = ?3, enqueued = ?3 WHERE kind = ?1 AND key = ?2 AND owner IS NULL AND due > ?3";
        db.execute(sql, (kind, SCHEDULE, latest)).await?;
    }
    Ok(())
}

/// Deletes dead letters that died before a time.
pub(super) async fn forget(db: &mut WriteTransaction, before: i64) -> Result<usize> {
    db.execute("DELETE FROM _dbm_job WHERE died < ?1", (before,))
        .await
}

pub(super) async fn has_old_dead(db: &mut ReadTransaction, before: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM _dbm_job WHERE died < ?1)";
    db.query_one(sql, (before,)).await
}

/// What there is to do.
pub(super) struct Sight {
    /// When the first waiting job is due.
    pub(super) due: Option<i64>,
    /// There is a job whose worker's process has ended.
    pub(super) has_suspect: bool,
    /// The jobs of this worker, with the numbers of their claims.
    pub(super) mine: Vec<(i64, i64)>,
    /// The workers of other processes, with their beats.
    pub(super) others: Vec<(i64, i64)>,
    /// When each schedule is due, if it waits.
    pub(super) schedules: Vec<(String, i64)>,
}

const MINE: &str = "SELECT id, token FROM _dbm_job WHERE owner = ?1";
const OTHERS: &str = "SELECT id, beat FROM _dbm_worker WHERE id <> ?1";
pub(super) async fn look(db: &mut ReadTransaction, worker: i64, texts: &Texts) -> Result<Sight> {
    Ok(Sight {
        due: db.query_one(&texts.first_due, ()).await?,
        has_suspect: db.query_one(&texts.has_suspect, ()).await?,
        mine: db.query(MINE, (worker,)).await?,
        others: db.query(OTHERS, (worker,)).await?,
        schedules: db.query(&texts.schedules, ()).await?,
    })
}

/// The kinds of all waiting jobs: one probe of the index for each.
pub(super) async fn waiting_kinds(db: &mut ReadTransaction) -> Result<Vec<String>> {
    db.query(WAITING_KINDS, ()).await
}

const WAITING_KINDS: &str = "WITH RECURSIVE waiting (kind) AS (
        SELECT min(kind) FROM _dbm_job WHERE owner IS NULL AND due IS NOT NULL
        UNION ALL
        SELECT (SELECT min(kind) FROM _dbm_job WHERE owner IS NULL AND due IS NOT NULL AND kind > waiting.kind)
        FROM waiting WHERE waiting.kind IS NOT NULL
    ) SELECT kind FROM waiting WHERE kind IS NOT NULL";

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "they count SQLite's steps")]
mod tests {
    use rusqlite::{Connection, StatementStatus, params};

    use super::*;
    use crate::engine::make_job_tables;

    /// As many jobs of a known kind as of an unknown one, some due, some not, some claimed.
    fn jobs(count: i64) -> Connection {
        let db = Connection::open_in_memory().unwrap();
        make_job_tables(&db).unwrap();
        db.execute(
            "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)
             INSERT INTO _dbm_job (kind, args, due, owner, enqueued)
             SELECT iif(n % 2, 'note', 'unknown'), '[]', n, iif(n % 5 = 0, n % 3, NULL), 0 FROM number",
            (count,),
        )
        .unwrap();
        db
    }

    fn steps(db: &Connection, sql: &str, params: &[&dyn rusqlite::ToSql]) -> i32 {
        let mut statement = db.prepare(sql).unwrap();
        let mut rows = statement.query(params).unwrap();
        while rows.next().unwrap().is_some() {}
        drop(rows);
        statement.get_status(StatementStatus::VmStep)
    }

    /// Half of them are due; at the end none is.
    #[test]
    fn no_look_and_no_claim_takes_longer_the_more_jobs_there_are() {
        let (few, many) = (jobs(20), jobs(200_000));
        let texts = Texts::of(["note", "tidy"].into_iter());
        for (sql, params) in [
            (&*texts.claim, params![1, 7, 100_000]),
            (&texts.claim, params![1, 7, 0]),
            (&texts.claim_suspect, params![1, 7]),
            (&texts.first_due, params![]),
            (&texts.has_suspect, params![]),
            (&texts.schedules, params![]),
            (WAITING_KINDS, params![]),
            (DONE, params![100_000, 0]),
        ] {
            let (with_few, with_many) = (steps(&few, sql, params), steps(&many, sql, params));
            assert!(
                with_many < 2 * with_few + 50,
                "{with_few}, {with_many}: {sql}"
            );
        }
    }
}
