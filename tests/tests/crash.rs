//! A process killed (SIGKILL) at every file-system call that changes anything: old or new, never between; what was
//! acknowledged is there; the next start heals by itself.

// Not on Windows: the process is killed by a signal, at a call of the file system that a preloaded library counts.
#![cfg(unix)]

use std::thread;

use dbm_tests::Dice;
use dbm_tests::points::{busy, try_all};
use dbm_tests::shim::{Fault, Shim};
use dbm_tests::story::{
    ADOPTION, CHECKPOINTS, Claims, FIRST_START, INLINE, JOURNAL, MIGRATION, RECOVERY, Story,
    Theatre, WRITES,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ledger");
const TARGET: &str = env!("CARGO_TARGET_TMPDIR");

/// Calls after which a dead process leaves something else behind than before. Reads and looks are left out.
const CHANGES: &str = "create,write,sync,truncate,unlink,rename,link,mkdir,chmod,lock,close";

/// Where a process is killed, and where again each time it is started anew.
#[derive(Debug)]
struct Point(Vec<Kill>);

#[derive(Debug, Clone, Copy)]
struct Kill {
    at: usize,
    act: &'static str,
}

/// Before every `stride`-th call, in the middle of every such write, and after the last.
fn everywhere(calls: &[String], stride: usize) -> Vec<Point> {
    let mut points = Vec::new();
    for (index, call) in calls.iter().enumerate().step_by(stride) {
        let mut add = |act| points.push(Point(vec![Kill { at: index + 1, act }]));
        add("kill");
        if call.starts_with("write ") {
            add("tear");
        }
        if index + stride >= calls.len() {
            add("kill-after");
        }
    }
    points
}

/// After about so many calls a start has healed what a crash has left.
const RECOVERY_CALLS: usize = 40;

/// First anywhere, then during the recovery, up to three times.
fn again_and_again(calls: &[String], points: usize) -> Vec<Point> {
    let mut dice = Dice::new(7);
    let mut kill = |calls| Kill {
        at: 1 + dice.below(calls),
        act: ["kill", "tear", "kill-after"][dice.below(3)],
    };
    (0..points)
        .map(|number| {
            let first = kill(calls.len());
            let later = (0..=number % 3).map(|_| kill(RECOVERY_CALLS));
            Point([first].into_iter().chain(later).collect())
        })
        .collect()
}

fn kill(story: Story, calls: &'static str, choose: impl Fn(&[String]) -> Vec<Point>) {
    let Some(shim) = Shim::get(story.name, TARGET.as_ref()) else {
        return;
    };
    let theatre = Theatre::new(story, PROGRAM);
    let points = choose(&theatre.calls(shim, calls));
    try_all(story.name, &points, busy(), |Point(kills)| {
        let stage = theatre.stage();
        let mut claims = Claims::default();
        let mut killed = 0;
        for Kill { at, act } in kills {
            let fault = Fault {
                calls,
                at: *at,
                act: (*act).to_owned(),
                ..Fault::default()
            };
            let outcome = theatre.play(shim, &stage, &fault, story.steps)?;
            claims.hear(&outcome);
            killed += usize::from(outcome.killed);
        }
        // What a killed process has written without a word is refused to the next one.
        claims.absent.clear();
        theatre.judge(&stage, &claims)?;
        Ok(killed >= kills.len().min(2))
    });
}

#[test]
fn a_first_start_is_killed_at_any_call() {
    kill(FIRST_START, CHANGES, |calls| everywhere(calls, 1));
}

#[test]
fn a_migration_is_killed_at_any_call() {
    kill(MIGRATION, CHANGES, |calls| everywhere(calls, 1));
}

#[test]
fn an_adoption_is_killed_at_any_call() {
    kill(ADOPTION, CHANGES, |calls| everywhere(calls, 1));
}

#[test]
fn tasks_that_share_commits_are_killed_at_any_call() {
    kill(WRITES, CHANGES, |calls| everywhere(calls, 1));
}

#[test]
fn a_statement_that_commits_by_itself_is_killed_at_any_call() {
    kill(INLINE, CHANGES, |calls| everywhere(calls, 1));
}

#[test]
fn a_recovery_is_killed_at_any_call() {
    kill(RECOVERY, CHANGES, |calls| everywhere(calls, 1));
}

#[test]
fn a_rollback_of_a_hot_journal_is_killed_at_any_call() {
    kill(JOURNAL, CHANGES, |calls| everywhere(calls, 1));
}

#[test]
fn a_checkpoint_is_killed() {
    const NOT_WRITES: &str = "create,sync,truncate,unlink,lock,close";
    kill(CHECKPOINTS, NOT_WRITES, |calls| everywhere(calls, 3));
    kill(CHECKPOINTS, "write", |calls| everywhere(calls, 997));
}

#[test]
fn it_is_killed_again_while_it_recovers() {
    for story in [FIRST_START, MIGRATION, WRITES, JOURNAL] {
        kill(story, CHANGES, |calls| again_and_again(calls, 100));
    }
}

#[test]
fn another_start_waits_for_a_process_that_is_killed() {
    for (story, stride) in [(FIRST_START, 7), (MIGRATION, 9)] {
        let Some(shim) = Shim::get(story.name, TARGET.as_ref()) else {
            return;
        };
        let theatre = Theatre::new(story, PROGRAM);
        let calls = theatre.calls(shim, CHANGES).len();
        let points: Vec<_> = (1..=calls).step_by(stride).collect();
        try_all(story.name, &points, busy(), |at| {
            let stage = theatre.stage();
            let fault = Fault {
                calls: CHANGES,
                at: *at,
                act: "kill".to_owned(),
                ..Fault::default()
            };
            let (killed, other) = thread::scope(|scope| {
                let other = scope.spawn(|| theatre.accompany(&stage));
                (
                    theatre.play(shim, &stage, &fault, story.steps),
                    other.join(),
                )
            });
            let (killed, other) = (killed?, other.unwrap()?);
            let mut claims = Claims::default();
            claims.hear(&killed);
            claims.hear_lines(other.iter().map(String::as_str));
            theatre.judge(&stage, &claims).map(|()| true)
        });
    }
}
