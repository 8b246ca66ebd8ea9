//! Everything at once, at random, the same every time.

use std::collections::HashSet;
use std::sync::Arc;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{Dice, Moment, cut, run, run_on_one_thread, within};

use super::{ADD, Call, Store, config, next_item};

/// 64 tasks, 400 calls each, one in five failing, most dropped at some await point.
async fn storm(execution: Execution, seed: u64) {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), execution);
    let store = Store::new(config.clone()).await;
    let tasks = (0..64).map(|task| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut dice = Dice::new(seed.wrapping_mul(1_000).wrapping_add(task));
            let (mut told, mut undone) = (Vec::new(), Vec::new());
            for _ in 0..400 {
                let item = next_item();
                let fail = dice.one_in(5);
                let call: Call<'_> = match dice.below(6) {
                    0 => Box::pin(store.nest(item, fail)),
                    1 => Box::pin(store.add_by_new_text(item, fail)),
                    2 => Box::pin(store.yield_and_fail(item, fail)),
                    _ => Box::pin(store.fail_now_and_then(item, fail)),
                };
                let moment = Moment::ALL[dice.below(2)];
                let at = if dice.one_in(3) {
                    usize::MAX
                } else {
                    1 + dice.below(8)
                };
                match cut(at, moment, call).await {
                    Some(Ok(())) => told.push(item),
                    Some(Err(error)) => {
                        assert!(fail && error.to_string() == "undone", "{error}");
                        undone.push(item);
                    }
                    None if fail => undone.push(item),
                    None => {}
                }
            }
            (told, undone)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let (mut told, mut undone) = (HashSet::new(), HashSet::new());
    for task in tasks {
        let (more_told, more_undone) = within(task).await.unwrap();
        told.extend(more_told);
        undone.extend(more_undone);
    }
    assert!(!told.is_empty() && !undone.is_empty());
    within(store.close()).await.unwrap();

    let store = Store::new(config).await;
    let halves = store.all_halves().await.unwrap();
    assert!(halves.iter().all(|(_, count)| *count == 2), "half a write");
    let there: HashSet<i64> = halves.into_iter().map(|(item, _)| item).collect();
    assert!(
        told.is_subset(&there),
        "seed {seed}: acknowledged and missing"
    );
    assert!(undone.is_disjoint(&there), "seed {seed}: failed and there");
    within(store.close()).await.unwrap();
}

impl Store {
    #[database_safe]
    async fn add_by_new_text(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        fail: bool,
    ) -> Result<()> {
        for side in [1, 2] {
            db.execute(&format!("INSERT INTO half VALUES ({item}, {side})"), ())
                .await?;
        }
        if fail {
            Err(Error::other("undone"))
        } else {
            Ok(())
        }
    }

    #[database_safe]
    async fn yield_and_fail(&self, db: &mut WriteTransaction, item: i64, fail: bool) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        tokio::task::yield_now().await;
        db.execute(ADD, (item, 2)).await?;
        if fail {
            Err(Error::other("undone"))
        } else {
            Ok(())
        }
    }
}

#[test]
fn a_storm_of_dropped_calls_leaves_no_half_write_and_loses_nothing() {
    run(storm(Execution::Auto, 1));
}

#[test]
fn a_storm_of_dropped_calls_leaves_no_half_write_and_loses_nothing_with_everything_inline() {
    run(storm(Execution::Inline, 2));
}

#[test]
fn a_storm_of_dropped_calls_leaves_no_half_write_and_loses_nothing_with_everything_on_threads() {
    run(storm(Execution::Offload, 3));
}

#[test]
fn a_storm_of_dropped_calls_leaves_no_half_write_and_loses_nothing_on_one_thread() {
    run_on_one_thread(storm(Execution::Auto, 4));
}
