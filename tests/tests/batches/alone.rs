//! Calls that are left alone, neither polled nor dropped, on two runtimes: those that are awaited end all the same.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{Dice, poll_once, run, run_on_one_thread, within};
use tokio::task::{JoinSet, spawn_blocking, yield_now};

use super::{Call, Store, config, next_item};

/// What became of an item, as far as its caller was told.
#[derive(Default)]
struct Told {
    kept: HashSet<i64>,
    undone: HashSet<i64>,
}

impl Told {
    fn note(&mut self, item: i64, fail: bool, result: Result<()>) {
        match result {
            Ok(()) => self.kept.insert(item),
            Err(error) => {
                assert!(fail && error.to_string() == "undone", "{error}");
                self.undone.insert(item)
            }
        };
    }
}

async fn leave_some_alone(store: &Store, seed: u64, told: &Mutex<Told>) {
    let mut dice = Dice::new(seed);
    let mut alone: Vec<(i64, bool, Call<'_>)> = Vec::new();
    for _ in 0..200 {
        let (item, fail) = (next_item(), dice.one_in(8));
        if dice.one_in(12) {
            // One of those that run alone.
            within(store.bare()).await.unwrap();
        }
        let mut call: Call<'_> = if dice.one_in(8) {
            Box::pin(store.nest(item, fail))
        } else {
            Box::pin(store.fail_now_and_then(item, fail))
        };
        if dice.one_in(12) {
            // A body that has its turn is not left alone: the first poll is its end, with all of a task's budget.
            yield_now().await;
            if poll_once(&mut call).await.is_pending() {
                alone.push((item, fail, call));
            }
            continue;
        }
        let result = within(call).await;
        told.lock().unwrap().note(item, fail, result);
        if dice.one_in(30)
            && let Some((item, fail, call)) = alone.pop()
        {
            match dice.below(3) {
                0 => drop(call),
                1 => mem::forget(call),
                _ => {
                    let result = within(call).await;
                    told.lock().unwrap().note(item, fail, result);
                }
            }
        }
    }
    mem::forget(alone);
}

#[test]
fn calls_that_are_left_alone_hold_nobody_up() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), Execution::Inline);
        let store = Store::new(config.clone()).await;
        let told = Arc::new(Mutex::new(Told::default()));
        let mut runtimes = JoinSet::new();
        for (seed, start) in [(100, run as fn(_)), (200, run_on_one_thread)] {
            let (store, told) = (Arc::clone(&store), Arc::clone(&told));
            let calls = Box::pin(async move {
                let mut tasks = JoinSet::new();
                for task in 0..6 {
                    let (store, told) = (Arc::clone(&store), Arc::clone(&told));
                    tasks.spawn(async move { leave_some_alone(&store, seed + task, &told).await });
                }
                while let Some(task) = tasks.join_next().await {
                    task.unwrap();
                }
            });
            runtimes.spawn(async move { spawn_blocking(move || start(calls)).await });
        }
        while let Some(runtime) = within(runtimes.join_next()).await {
            runtime.unwrap().unwrap();
        }
        within(store.close_within(Duration::ZERO)).await.unwrap();

        let store = Store::new(config).await;
        let halves = store.all_halves().await.unwrap();
        assert!(halves.iter().all(|(_, count)| *count == 2), "half a write");
        let there: HashSet<i64> = halves.into_iter().map(|(item, _)| item).collect();
        let told = mem::take(&mut *told.lock().unwrap());
        assert!(told.kept.is_subset(&there), "acknowledged and missing");
        assert!(told.undone.is_disjoint(&there), "failed and there");
        within(store.close()).await.unwrap();
    });
}
