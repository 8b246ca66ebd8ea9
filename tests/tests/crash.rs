//! A process killed (SIGKILL) at every file-system call that changes anything: old or new, never between; what was
//! acknowledged is there; the next start heals by itself.

use dbm_tests::shim::{Fault, Shim};
use dbm_tests::story::{
    CHECKPOINTS, Claims, FIRST_START, JOURNAL, MIGRATION, RECOVERY, Story, Theatre, WRITES, try_all,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ledger");
const TARGET: &str = env!("CARGO_TARGET_TMPDIR");

/// Calls after which a dead process leaves something else behind than before. Reads and looks are left out.
const CHANGES: &str = "create,write,sync,truncate,unlink,rename,link,mkdir,chmod,lock,close";

/// A call and how the process ends there.
#[derive(Debug, Clone)]
struct Point {
    /// For the message.
    _call: String,
    at: usize,
    act: &'static str,
}

/// Before every `stride`-th call, in the middle of every such write, and after the last.
fn points(calls: &[String], stride: usize) -> Vec<Point> {
    let mut points = Vec::new();
    for (index, call) in calls.iter().enumerate().step_by(stride) {
        let point = |act| Point {
            _call: call.clone(),
            at: index + 1,
            act,
        };
        points.push(point("kill"));
        if call.starts_with("write ") {
            points.push(point("tear"));
        }
        if index + stride >= calls.len() {
            points.push(point("kill-after"));
        }
    }
    points
}

fn kill(story: Story, calls: &'static str, stride: usize) {
    let Some(shim) = Shim::build(story.name, TARGET.as_ref()) else {
        return;
    };
    let theatre = Theatre::new(story, PROGRAM);
    let all = theatre.calls(&shim, calls);
    let points = points(&all, stride);
    eprintln!("{}: {} points of {}", story.name, points.len(), all.len());
    try_all(story.name, &points, |point| {
        let stage = theatre.stage();
        let mut claims = Claims::default();
        let fault = Fault {
            calls,
            at: point.at,
            act: point.act.to_owned(),
            on: false,
        };
        claims.hear(&theatre.play(&shim, &stage, &fault, story.steps)?);
        theatre.judge(&stage, &claims)
    });
}

#[test]
fn a_first_start_is_killed_at_any_call() {
    kill(FIRST_START, CHANGES, 1);
}

#[test]
fn a_migration_is_killed_at_any_call() {
    kill(MIGRATION, CHANGES, 1);
}

#[test]
fn tasks_that_share_commits_are_killed_at_any_call() {
    kill(WRITES, CHANGES, 1);
}

#[test]
fn a_recovery_is_killed_at_any_call() {
    kill(RECOVERY, CHANGES, 1);
}

#[test]
fn a_rollback_of_a_hot_journal_is_killed_at_any_call() {
    kill(JOURNAL, CHANGES, 1);
}

#[test]
fn a_checkpoint_is_killed() {
    kill(CHECKPOINTS, "create,sync,truncate,unlink,lock,close", 3);
    kill(CHECKPOINTS, "write", 997);
}
