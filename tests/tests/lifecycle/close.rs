//! A close lets running calls finish and leaves nothing behind; so does a manager that goes away without one.

use super::*;

#[test]
fn close_lets_queued_calls_finish_in_their_order() {
    run(async {
        let directory = TempDir::new().unwrap();
        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        let holder = held(&diary).await;
        let calls = queued(&diary, &["1", "2", "3", "4", "5"]).await;
        let closing = call(&diary, |diary| async move { diary.close().await });
        let mut status = diary.watch_status();
        within(status.wait_for(|status| *status == Status::Stopping))
            .await
            .unwrap();
        assert!(matches!(
            diary.append("too late").await,
            Err(Error::Closed { method: "append" })
        ));
        assert!(matches!(
            diary.lines().await,
            Err(Error::Closed { method: "lines" })
        ));
        assert!(matches!(
            diary.get_version().await,
            Err(Error::Closed { .. })
        ));
        diary.go_on.notify_one();
        for call in calls.into_iter().chain([holder]) {
            within(call).await.unwrap().unwrap();
        }
        within(closing).await.unwrap().unwrap();

        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        assert_eq!(
            diary.lines().await.unwrap(),
            ["held", "1", "2", "3", "4", "5"]
        );
        diary.close().await.unwrap();
    });
}

#[test]
fn calls_against_a_close_are_kept_or_refused() {
    run(async {
        for seed in 0..10_u64 {
            let directory = TempDir::new().unwrap();
            let store = Store::create_hooked(Config::new(directory.path()), Hooks::default())
                .await
                .unwrap();
            let mut dice = Dice::new(seed);
            let mut calls = JoinSet::new();
            for id in 0..200 {
                let (store, pause) = (Arc::clone(&store), dice.below(40));
                calls.spawn(async move {
                    for _ in 0..pause {
                        tokio::task::yield_now().await;
                    }
                    (id, store.add(id, "x").await)
                });
            }
            for _ in 0..dice.below(40) {
                tokio::task::yield_now().await;
            }
            within(store.close()).await.unwrap();
            let mut kept = Vec::new();
            while let Some(result) = within(calls.join_next()).await {
                match result.unwrap() {
                    (id, Ok(())) => kept.push(id),
                    (_, Err(Error::Closed { .. })) => {}
                    (id, Err(error)) => panic!("{id}: {error:?}"),
                }
            }
            kept.sort_unstable();
            let store = Store::open(directory.path(), "1.0.0").await.unwrap();
            assert_eq!(store.ids().await.unwrap(), kept, "seed {seed}");
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_second_and_a_concurrent_close_wait_for_the_same_end() {
    run(async {
        let diary = diary().await;
        let holder = held(&diary).await;
        let mut closing = [0; 3].map(|_| Box::pin(diary.close()));
        for close in &mut closing {
            assert!(waits(close).await);
        }
        diary.go_on.notify_one();
        holder.await.unwrap().unwrap();
        for close in closing {
            within(close).await.unwrap();
            assert_eq!(diary.status(), Status::Stopped);
        }
        within(diary.close()).await.unwrap();
        within(diary.close_within(Duration::ZERO)).await.unwrap();
    });
}

#[test]
fn close_during_starting_waits_for_the_start_and_for_calls_that_came_before() {
    run(async {
        let directory = TempDir::new().unwrap();
        let diary = Diary::held_in_init(Config::new(directory.path()));
        within(diary.arrived.notified()).await;
        let early = queued(&diary, &["early"]).await;
        let mut closing = Box::pin(diary.close());
        assert!(waits(&mut closing).await);
        assert!(matches!(
            diary.append("late").await,
            Err(Error::Closed { .. })
        ));
        diary.go_on.notify_one();
        within(closing).await.unwrap();
        assert_eq!(diary.status(), Status::Stopped);
        for call in early {
            call.await.unwrap().unwrap();
        }
        assert_eq!(names(directory.path()), ["database.db"]);
        assert!(open_files(directory.path()).is_empty());
    });
}

#[test]
fn a_start_that_ends_after_close_was_called_is_stopping_while_calls_run() {
    run(async {
        let diary = Diary::held_in_init(Config::in_memory());
        within(diary.arrived.notified()).await;
        let mut held = Box::pin(diary.append_held("early"));
        assert!(waits(&mut held).await);
        let mut closing = Box::pin(diary.close());
        assert!(waits(&mut closing).await);
        diary.go_on.notify_one();
        let ((), result) = within(async {
            tokio::join!(
                async {
                    diary.arrived.notified().await;
                    let mut status = diary.watch_status();
                    let stopping = status.wait_for(|status| *status == Status::Stopping);
                    stopping.await.unwrap();
                    diary.go_on.notify_one();
                },
                held
            )
        })
        .await;
        result.unwrap();
        within(closing).await.unwrap();
        assert_eq!(diary.status(), Status::Stopped);
    });
}

#[test]
fn dropped_without_close_it_warns_and_loses_nothing() {
    run(async {
        let _ = logged();
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        for id in 0..20 {
            store.add(id, "x").await.unwrap();
        }
        drop(store);
        let path = directory.path().join("database.db").display().to_string();
        let warned = |line: &str| {
            line.contains("WARN") && line.contains("dropped without close") && line.contains(&path)
        };
        eventually(|| logged().lines().any(warned)).await;
        eventually(|| open_files(directory.path()).is_empty()).await;
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        assert_eq!(store.ids().await.unwrap(), (0..20).collect::<Vec<_>>());
        store.close().await.unwrap();
        assert_eq!(names(directory.path()), ["database.db"]);
    });
}

#[test]
fn close_leaves_no_side_files_and_no_descriptors() {
    run(async {
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        let mut calls = JoinSet::new();
        for id in 0..50 {
            let store = Arc::clone(&store);
            calls.spawn(async move {
                store.add(id, "x").await?;
                store.ids().await
            });
        }
        while let Some(result) = calls.join_next().await {
            result.unwrap().unwrap();
        }
        assert!(!open_files(directory.path()).is_empty());
        store.close().await.unwrap();
        assert_eq!(names(directory.path()), ["database.db"]);
        assert!(open_files(directory.path()).is_empty());
    });
}

#[test]
fn close_writes_the_log_into_the_file() {
    run(async {
        let (directory, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        Store::make(directory.path(), "1.0.0").await.unwrap();
        fs::copy(
            directory.path().join("database.db"),
            copy.path().join("database.db"),
        )
        .unwrap();
        let store = Store::open(copy.path(), "1.0.0").await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();
    });
}

#[test]
fn in_memory_leaves_nothing_behind() {
    run(async {
        for closes in [true, false] {
            let store = Store::create_hooked(Config::in_memory(), Hooks::default())
                .await
                .unwrap();
            store.add(1, "x").await.unwrap();
            let directory = store.path().and_then(Path::parent).unwrap().to_owned();
            assert!(directory.exists());
            if closes {
                store.close().await.unwrap();
                assert!(!directory.exists());
            }
            drop(store);
            eventually(|| !directory.exists()).await;
        }
        let hooks = Hooks {
            init: Some(|_, _| Box::pin(async { Err(Error::other("on purpose")) })),
            ..Hooks::default()
        };
        let store = Store::start_hooked(Config::in_memory(), hooks);
        store.ensure_ready().await.unwrap_err();
        assert_eq!(store.path(), None);
    });
}

#[test]
fn two_managers_in_memory_are_two_databases() {
    run(async {
        let (one, other) = (diary().await, diary().await);
        one.append("mine").await.unwrap();
        assert_eq!(other.lines().await.unwrap(), [""; 0]);
        one.close().await.unwrap();
        other.close().await.unwrap();
    });
}
