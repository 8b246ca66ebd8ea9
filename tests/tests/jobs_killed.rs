//! A process that enqueues and runs jobs is killed: none that was acknowledged is lost, none of a transaction that was
//! rolled back runs, what promises to take effect once does so once, and a job that ends its process ends, too.

// Not on Windows: the process is killed by a signal, at a call of the file system that a preloaded library counts.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dbm_core::rusqlite::Connection as Sqlite;
use dbm_tests::Dice;
use dbm_tests::disk::{Change, Disk, read_record};
use dbm_tests::points::{busy, try_all};
use dbm_tests::shim::{Fault, Shim};

const PROGRAM: &str = env!("CARGO_BIN_EXE_post");
const TARGET: &str = env!("CARGO_TARGET_TMPDIR");
const CHANGES: &str = "create,write,sync,truncate,unlink,rename,link,mkdir,chmod,lock,close";

fn post(directory: &Path, steps: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg(directory).args(steps);
    command
}

/// What a file says of each number: how often it is wanted, and how often its jobs took effect.
fn effects(directory: &Path) -> BTreeMap<i64, (i64, i64, i64)> {
    let db = Sqlite::open(directory.join("database.db")).unwrap();
    let mut statement = db
        .prepare(
            "SELECT number, (SELECT count(*) FROM wanted w WHERE w.number = n.number),
                 (SELECT count(*) FROM once o WHERE o.number = n.number),
                 (SELECT count(*) FROM often o WHERE o.number = n.number)
             FROM (SELECT number FROM wanted UNION SELECT number FROM once UNION SELECT number FROM often) n",
        )
        .unwrap();
    let rows = statement.query_map((), |row| {
        Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?)))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// Every number that is there was wanted, and has taken effect as promised. So has every one that was acknowledged.
fn judge(directory: &Path, said: &[String]) -> Result<(), String> {
    let effects = effects(directory);
    for (number, (wanted, once, often)) in &effects {
        if *wanted != 1 || *once != 1 || *often < 1 {
            return Err(format!(
                "{number}: wanted {wanted}, once {once}, often {often}"
            ));
        }
    }
    let promised = said.iter().filter_map(|line| {
        let (word, number) = line.split_once(' ')?;
        let number = number.parse::<i64>().ok()?;
        ["wanted", "hook"].contains(&word).then_some(number)
    });
    match promised
        .into_iter()
        .find(|number| !effects.contains_key(number))
    {
        Some(number) => Err(format!("{number} was promised and is lost")),
        None => Ok(()),
    }
}

/// As after ten seconds without a sign of life.
fn lease_ends(directory: &Path) {
    let file = directory.join("database.db");
    if file.metadata().map_or(0, |file| file.len()) == 0 {
        return;
    }
    let db = Sqlite::open(file).unwrap();
    let _ = db.execute_batch(
        "BEGIN IMMEDIATE; UPDATE _dbm_job SET owner = 0 WHERE owner > 0; DELETE FROM _dbm_worker; COMMIT",
    );
}

#[test]
fn a_process_with_jobs_is_killed_at_any_call_of_the_file_system() {
    let name = "a_process_with_jobs_is_killed_at_any_call_of_the_file_system";
    let Some(shim) = Shim::get(name, TARGET.as_ref()) else {
        return;
    };
    let steps = ["want:1,3", "drain"];
    let stage = || {
        let directory = tempfile::tempdir_in(TARGET).unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        (directory, data)
    };
    let fault = |at, act: &str| Fault {
        calls: CHANGES,
        at,
        act: act.to_owned(),
        ..Fault::default()
    };
    let (_directory, data) = stage();
    let calls = shim
        .run(&mut post(&data, &steps), &data, &fault(0, ""), None)
        .unwrap()
        .calls;
    judge(&data, &[]).unwrap();
    let points: Vec<(usize, &str)> = calls
        .iter()
        .enumerate()
        .flat_map(|(index, call)| {
            let tear = call.starts_with("write ").then_some((index + 1, "tear"));
            [(index + 1, "kill")].into_iter().chain(tear)
        })
        .collect();
    try_all(name, &points, busy(), |(at, act)| {
        let (_directory, data) = stage();
        let killed = shim.run(&mut post(&data, &steps), &data, &fault(*at, act), None)?;
        lease_ends(&data);
        let next = shim.run(&mut post(&data, &["drain"]), &data, &fault(0, ""), None)?;
        if !next.said("end") {
            return Err(next.report());
        }
        judge(&data, &killed.lines).map_err(|error| format!("{error}; {}", killed.report()))?;
        Ok(killed.killed)
    });
}

/// What was not synced is gone, or half there.
#[test]
fn the_power_fails_while_jobs_run() {
    let name = "the_power_fails_while_jobs_run";
    let Some(shim) = Shim::get(name, TARGET.as_ref()) else {
        return;
    };
    let directory = tempfile::tempdir_in(TARGET).unwrap();
    let stage = |name: &str| {
        let data = directory.path().join(name).join("data");
        std::fs::create_dir_all(&data).unwrap();
        data
    };
    let data = stage("recorded");
    let record = data.with_extension("record");
    let before = Disk::of(&data);
    let mut program = post(&data, &["want:1,1", "drain"]);
    shim.run(&mut program, &data, &Fault::default(), Some(&record))
        .unwrap();
    let changes = read_record(&record);
    let points: Vec<(usize, Option<u64>)> = (0..=changes.len())
        .flat_map(|after| [(after, None), (after, Some(after as u64))])
        .collect();
    try_all(name, &points, busy(), |&(after, seed)| {
        let mut disk = before.clone();
        let mut said = Vec::new();
        for change in &changes[..after] {
            disk.apply(change);
            if let Change::Say(text) = change {
                said.extend(text.lines().map(str::to_owned));
            }
        }
        let other = stage(&format!("{after} {seed:?}"));
        for (name, contents) in disk.after_power_loss(&mut seed.map(Dice::new)) {
            let name = other.join(name.strip_prefix(&data).unwrap());
            match contents {
                Some(contents) => std::fs::write(name, contents).unwrap(),
                None => std::fs::create_dir_all(name).unwrap(),
            }
        }
        lease_ends(&other);
        let next = shim.run(
            &mut post(&other, &["drain"]),
            &other,
            &Fault::default(),
            None,
        )?;
        if !next.said("end") {
            return Err(next.report());
        }
        judge(&other, &said)?;
        std::fs::remove_dir_all(other.parent().unwrap()).unwrap();
        Ok(true)
    });
}

/// A process whose lines are read until one begins with a word.
struct Running {
    process: Child,
    lines: BufReader<std::process::ChildStdout>,
    said: Vec<String>,
}

impl Running {
    fn start(directory: &Path, steps: &[&str]) -> Self {
        let mut process = post(directory, steps)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            lines,
            said: Vec::new(),
        }
    }

    /// False if it has ended.
    fn says(&mut self, line: &str) -> bool {
        let mut read = String::new();
        while self.lines.read_line(&mut read).unwrap() > 0 {
            self.said.push(read.trim_end().to_owned());
            if read.trim_end() == line {
                return true;
            }
            read.clear();
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_job_that_ends_its_process_ends_after_its_attempts() {
    let directory = tempfile::tempdir_in(TARGET).unwrap();
    let data = directory.path();
    let mut steps = vec!["want:1,20", "poison", "drain"];
    let mut poisoned = 0;
    loop {
        let output = post(data, &steps).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        poisoned += said.matches("poisoned").count();
        assert!(poisoned <= 3, "it runs again and again");
        lease_ends(data);
        steps = vec!["drain"];
        if said.contains("end\n") {
            break;
        }
    }
    assert_eq!(poisoned, 3);
    // Those that ran beside it are none the worse.
    judge(data, &[]).unwrap();
    let db = Sqlite::open(data.join("database.db")).unwrap();
    let (kind, attempts, cause): (String, u32, String) = db
        .query_row(
            "SELECT kind, attempts, cause FROM _dbm_job WHERE died IS NOT NULL",
            (),
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!((kind.as_str(), attempts), ("poison", 3));
    assert!(cause.contains("the process ended"), "{cause}");
}

/// By nothing but the sign of life that no longer comes.
#[test]
fn another_process_takes_over_the_jobs_of_one_that_was_killed() {
    let directory = tempfile::tempdir_in(TARGET).unwrap();
    let data = directory.path();
    // It is killed while it runs jobs, each time.
    let mut first = Running::start(data, &["want:1,200", "stay"]);
    assert!(first.says("wanted 60"));
    let mut second = Running::start(data, &["want:1001,1010", "stay"]);
    assert!(second.says("wanted 1010"));
    let said = std::mem::take(&mut first.said);
    drop(first);
    let began = Instant::now();
    let left = || -> i64 {
        let db = Sqlite::open(data.join("database.db")).unwrap();
        db.busy_timeout(Duration::from_secs(5)).unwrap();
        let sql = "SELECT count(*) FROM _dbm_job WHERE kind <> 'every_so_often'";
        db.query_row(sql, (), |row| row.get(0)).unwrap()
    };
    while left() > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{} are left",
            left()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let both: Vec<String> = said
        .into_iter()
        .chain(std::mem::take(&mut second.said))
        .collect();
    judge(data, &both).unwrap();
}

#[test]
fn what_another_process_enqueues_is_seen() {
    let directory = tempfile::tempdir_in(TARGET).unwrap();
    let data = directory.path();
    let mut worker = Running::start(data, &["want:1,1", "stay"]);
    assert!(worker.says("wanted 1"));
    let other = post(data, &["idle", "want:2,9", "drain"]).output().unwrap();
    assert!(String::from_utf8_lossy(&other.stdout).ends_with("end\n"));
    drop(worker);
    judge(data, &[]).unwrap();
}

/// Each of several processes has workers for all jobs.
#[test]
fn several_processes_share_the_jobs_of_one_file() {
    let directory = tempfile::tempdir_in(TARGET).unwrap();
    let data = directory.path();
    let starts = ["want:1,100", "want:101,200", "want:201,300"];
    let mut processes: Vec<Running> = starts
        .into_iter()
        .map(|want| Running::start(data, &[want, "drain"]))
        .collect();
    for process in &mut processes {
        assert!(process.says("end"), "{:?}", process.said);
    }
    let effects = effects(data);
    assert_eq!(effects.len(), 300);
    assert!(effects.values().all(|effect| *effect == (1, 1, 1)));
}
