//! Every file-system call fails, once or from then on: a typed error, never a panic or a hang; nothing acknowledged is
//! lost, nothing refused is kept; other managers do not notice; when the fault is over, so are its effects.

// Not on Windows: the faults are in a preloaded library.
#![cfg(unix)]

use dbm_tests::points::{busy, try_all};
use dbm_tests::shim::{Fault, Shim, Times};
use dbm_tests::story::{
    CHECKPOINTS, Claims, FIRST_START, INLINE, JOURNAL, MIGRATION, OFFLOAD, READS, RECOVERY, Story,
    Theatre, WRITES,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ledger");
const TARGET: &str = env!("CARGO_TARGET_TMPDIR");

/// An error, and the calls that may give it.
struct Cause {
    act: &'static str,
    calls: &'static str,
}

const CAUSES: &[Cause] = &[
    Cause {
        act: "5 EIO",
        calls: "create,open,read,write,truncate,sync,stat,unlink,link,rename,mkdir,chmod,mmap,close",
    },
    Cause {
        act: "28 ENOSPC",
        calls: "create,write,truncate,sync,mkdir,link,rename",
    },
    Cause {
        act: "24 EMFILE",
        calls: "create,open",
    },
    Cause {
        act: "13 EACCES",
        calls: "create,open,stat,unlink,link,rename,mkdir,chmod",
    },
    Cause {
        act: "30 EROFS",
        calls: "create,write,truncate,unlink,link,rename,mkdir,chmod",
    },
    Cause {
        act: "4 EINTR",
        calls: "create,open,read,write,truncate,sync,close",
    },
    Cause {
        act: "12 ENOMEM",
        calls: "mmap,open,create,stat",
    },
    Cause {
        act: "short",
        calls: "read,write",
    },
];

/// Any error of a lock is a busy file to SQLite, which tries again for about 10 s, and one that cannot be released
/// stays until the connections are closed.
const LOCKS: &[Cause] = &[Cause {
    act: "37 ENOLCK",
    calls: "lock",
}];

/// Of the many calls of a large log, those that are few.
const RARE: &[Cause] = &[Cause {
    act: "5 EIO",
    calls: "create,open,truncate,sync,stat,unlink,mmap,close",
}];

const FREQUENT: &[Cause] = &[
    Cause {
        act: "5 EIO",
        calls: "read,write",
    },
    Cause {
        act: "28 ENOSPC",
        calls: "write",
    },
];

#[derive(Debug)]
struct Point {
    act: &'static str,
    calls: &'static str,
    at: usize,
    times: Times,
}

/// Every `stride`-th point of all that there are; with `DBM_EVERY_POINT` set all of them, where they are not too many.
fn points(theatre: &Theatre, shim: &Shim, causes: &[Cause], stride: usize) -> Vec<Point> {
    let every = std::env::var_os("DBM_EVERY_POINT").is_some();
    let mut points = Vec::new();
    for Cause { act, calls } in causes {
        for at in 1..=theatre.calls(shim, calls).len() {
            // No system interrupts every call, and programs try again for ever.
            for times in [Times::Once, Times::FromThenOn, Times::Thrice]
                .into_iter()
                .take(if act.contains("EINTR") { 1 } else { 3 })
            {
                points.push(Point {
                    act,
                    calls,
                    at,
                    times,
                });
            }
        }
    }
    let stride = if every { stride.div_ceil(40) } else { stride };
    points.into_iter().step_by(stride).collect()
}

/// When the fault comes to an end, the program must get over it before it closes.
fn steps(story: &Story, times: Times) -> Vec<&'static str> {
    let mut steps = vec!["other"];
    for step in story.steps {
        if *step == "close" && times != Times::FromThenOn {
            steps.push("recovered-reads");
            if story.steps.iter().any(|step| step.starts_with("write")) {
                steps.push("recovered:900000");
            }
        }
        steps.push(step);
        if *step == "start" && times != Times::FromThenOn {
            steps.push("start-again");
        }
    }
    steps
}

fn fail(story: Story, causes: &[Cause], workers: usize, stride: usize) {
    let Some(shim) = Shim::get(story.name, TARGET.as_ref()) else {
        return;
    };
    let theatre = Theatre::new(story, PROGRAM);
    let points = points(&theatre, shim, causes, stride);
    try_all(story.name, &points, workers, |point| {
        let stage = theatre.stage();
        let fault = Fault {
            calls: point.calls,
            at: point.at,
            act: point.act.to_owned(),
            times: point.times,
        };
        let outcome = theatre.play(shim, &stage, &fault, &steps(&story, point.times))?;
        let mut claims = Claims::default();
        claims.hear(&outcome);
        match theatre.judge(&stage, &claims) {
            Ok(()) => Ok(!outcome.calls.is_empty()),
            Err(failure) => Err(format!("{failure}; {}", outcome.report())),
        }
    });
}

#[test]
fn a_first_start_meets_an_error_at_any_call() {
    fail(FIRST_START, CAUSES, busy(), 7);
}

#[test]
fn a_migration_meets_an_error_at_any_call() {
    fail(MIGRATION, CAUSES, busy(), 19);
}

#[test]
fn tasks_that_share_commits_meet_an_error_at_any_call() {
    fail(WRITES, CAUSES, busy(), 17);
}

#[test]
fn statements_on_either_side_meet_an_error_at_any_call() {
    fail(INLINE, CAUSES, busy(), 29);
    fail(OFFLOAD, CAUSES, busy(), 29);
}

#[test]
fn a_recovery_meets_an_error_at_any_call() {
    fail(RECOVERY, CAUSES, busy(), 11);
}

#[test]
fn a_log_that_is_only_read_meets_an_error_at_any_call() {
    fail(READS, CAUSES, busy(), 5);
}

#[test]
fn a_rollback_of_a_hot_journal_meets_an_error_at_any_call() {
    fail(JOURNAL, CAUSES, busy(), 37);
}

#[test]
fn a_checkpoint_meets_an_error() {
    fail(CHECKPOINTS, RARE, busy(), 17);
    fail(CHECKPOINTS, FREQUENT, busy(), 7_499);
}

#[test]
fn a_lock_is_refused() {
    // They sleep most of the time.
    fail(RECOVERY, LOCKS, 16, 19);
}

/// Some file systems have no links: the backup gets its name in another way.
#[test]
fn a_migration_where_files_cannot_be_linked_keeps_its_backup() {
    let Some(shim) = Shim::get("no links", TARGET.as_ref()) else {
        return;
    };
    let theatre = Theatre::new(MIGRATION, PROGRAM);
    let stage = theatre.stage();
    let fault = Fault {
        calls: "link",
        at: 1,
        act: "1 EPERM".to_owned(),
        times: Times::FromThenOn,
    };
    let outcome = theatre
        .play(shim, &stage, &fault, MIGRATION.steps)
        .unwrap_or_else(|why| panic!("{why}"));
    let mut claims = Claims::default();
    claims.hear(&outcome);
    assert!(claims.started, "{}", outcome.report());
    assert!(!outcome.calls.is_empty(), "nothing was to be linked");
    let judged = theatre.judge(&stage, &claims);
    assert!(judged.is_ok(), "{judged:?}; {}", outcome.report());
}
