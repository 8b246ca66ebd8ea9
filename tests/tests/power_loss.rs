//! The power fails after any change: what was not synced is gone, or half there. What was acknowledged is there, and
//! the next start heals.
//!
//! The disk is a model: it keeps what was synced; of the rest it keeps nothing, or sectors and names at random.

// Not on Windows: a preloaded library records what is written and synced.
#![cfg(unix)]

use std::fs;

use dbm_tests::Dice;
use dbm_tests::disk::{Change, Disk, read_record};
use dbm_tests::points::{busy, try_all};
use dbm_tests::shim::Shim;
use dbm_tests::story::{
    ADOPTION, Claims, FIRST_START, INLINE, JOURNAL, MIGRATION, NORMAL, RECOVERY, Story, Theatre,
    WRITES,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ledger");
const TARGET: &str = env!("CARGO_TARGET_TMPDIR");

/// Each with another half of what was not synced.
const SEEDS: u64 = 2;

#[derive(Debug)]
struct Point {
    after: usize,
    seed: Option<u64>,
}

/// What the program said must hold afterwards, where it is `durable`.
fn cut_everywhere(story: Story, durable: bool) {
    let Some(shim) = Shim::get(story.name, TARGET.as_ref()) else {
        return;
    };
    let theatre = Theatre::new(story, PROGRAM);
    let stage = theatre.stage();
    let before = Disk::of(&stage.watched());
    let record = stage.watched().with_extension("record");
    theatre.record(shim, &stage, &record).unwrap();
    let changes = read_record(&record);
    let points: Vec<_> = (0..=changes.len())
        .flat_map(|after| {
            let seeds = (0..SEEDS).map(Some).chain([None]);
            seeds.map(move |seed| Point { after, seed })
        })
        .collect();
    try_all(story.name, &points, busy(), |point| {
        let mut disk = before.clone();
        let mut claims = Claims::default();
        for change in &changes[..point.after] {
            disk.apply(change);
            if let Change::Say(text) = change
                && durable
            {
                claims.hear_lines(text.lines());
            }
        }
        let mut dice = point.seed.map(|seed| Dice::new(seed ^ point.after as u64));
        let image = disk.after_power_loss(&mut dice);
        let other = theatre.empty_stage();
        for (name, contents) in image {
            let name = other
                .watched()
                .join(name.strip_prefix(stage.watched()).unwrap());
            match contents {
                Some(contents) => fs::write(name, contents).unwrap(),
                None => fs::create_dir_all(name).unwrap(),
            }
        }
        theatre.judge(&other, &claims).map(|()| true)
    });
}

#[test]
fn the_power_fails_during_a_first_start() {
    cut_everywhere(FIRST_START, true);
}

#[test]
fn the_power_fails_during_a_migration() {
    cut_everywhere(MIGRATION, true);
}

#[test]
fn the_power_fails_during_an_adoption() {
    cut_everywhere(ADOPTION, true);
}

#[test]
fn the_power_fails_while_tasks_share_commits() {
    cut_everywhere(WRITES, true);
}

#[test]
fn the_power_fails_where_a_statement_commits_by_itself() {
    cut_everywhere(INLINE, true);
}

#[test]
fn the_power_fails_during_a_recovery() {
    cut_everywhere(RECOVERY, true);
}

#[test]
fn the_power_fails_during_the_rollback_of_a_hot_journal() {
    cut_everywhere(JOURNAL, true);
}

#[test]
fn the_power_fails_where_durability_was_given_up() {
    cut_everywhere(NORMAL, false);
}
