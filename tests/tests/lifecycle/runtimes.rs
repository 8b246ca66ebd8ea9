//! Which runtimes a manager starts on, and what becomes of it when they end.

use std::sync::atomic::AtomicU64;

use super::*;

#[test]
fn start_outside_of_a_runtime_is_failed() {
    watch(|| {
        let diary = Diary::held_in_init(Config::in_memory());
        assert_eq!(diary.status(), Status::Failed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let error = runtime.block_on(diary.ensure_ready()).unwrap_err();
        assert!(matches!(error, Error::Runtime { .. }), "{error:?}");
        assert!(matches!(
            runtime.block_on(diary.lines()),
            Err(Error::Failed {
                method: "lines",
                ..
            })
        ));
        runtime.block_on(diary.close()).unwrap();
    });
}

#[test]
fn create_begins_when_it_is_polled() {
    watch(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap();
        let diary = runtime
            .block_on(Diary::create(Config::in_memory()))
            .unwrap();
        runtime.block_on(diary.close()).unwrap();
        let store = Store::create_hooked(Config::in_memory(), Hooks::default());
        let store = runtime.block_on(store).unwrap();
        runtime.block_on(store.close()).unwrap();
    });
}

#[test]
fn a_runtime_without_time_will_do_and_nothing_panics() {
    watch(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        static PANICS: AtomicU64 = AtomicU64::new(0);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map(|place| place.file().to_owned());
            if place.is_some_and(|file| file.contains("tokio")) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(info);
        }));
        runtime.block_on(async {
            let config = Config::in_memory().acquire_timeout(Duration::from_millis(50));
            let diary = Diary::create(config).await.unwrap();
            diary.append("without time").await.unwrap();
            let mut first = Box::pin(diary.append_held("held"));
            tokio::select! {
                result = &mut first => panic!("{result:?}"),
                () = diary.arrived.notified() => {}
            }
            let error = diary.append("in vain").await.unwrap_err();
            assert!(matches!(error, Error::AcquireTimeout { .. }), "{error}");
            drop(first);
            assert_eq!(diary.lines().await.unwrap(), ["without time"]);
            diary.close_within(Duration::from_millis(50)).await.unwrap();
        });
        assert_eq!(PANICS.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_runtime_that_ends_during_the_start_is_failed() {
    watch(|| {
        let directory = TempDir::new().unwrap();
        let runtime = || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_time()
                .build()
                .unwrap()
        };
        let first = runtime();
        let diary = first.block_on(async {
            let diary = Diary::held_in_init(Config::new(directory.path()));
            within(diary.arrived.notified()).await;
            diary
        });
        drop(first);
        let second = runtime();
        let error = second.block_on(within(diary.ensure_ready())).unwrap_err();
        assert!(matches!(error, Error::Runtime { .. }), "{error:?}");
        assert_eq!(diary.status(), Status::Failed);
        assert!(open_files(directory.path()).is_empty());
        let diary = second
            .block_on(async { within(Diary::create(Config::new(directory.path()))).await })
            .unwrap();
        second.block_on(diary.close()).unwrap();
    });
}

#[test]
fn a_manager_outlives_the_runtime_it_was_started_on() {
    watch(|| {
        let runtime = || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_time()
                .build()
                .unwrap()
        };
        let first = runtime();
        let diary = first.block_on(diary());
        first.block_on(diary.append("from the first")).unwrap();
        drop(first);
        let second = runtime();
        second
            .block_on(within(diary.append("from the second")))
            .unwrap();
        assert_eq!(
            second.block_on(within(diary.lines())).unwrap(),
            ["from the first", "from the second"]
        );
        second.block_on(within(diary.close())).unwrap();
    });
}

#[test]
fn two_runtimes_share_a_manager() {
    run(async {
        let diary = diary().await;
        let other = Arc::clone(&diary);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(within(async {
                for _ in 0..100 {
                    other.append("there").await?;
                }
                other.lines().await
            }))
        });
        for _ in 0..100 {
            within(diary.append("here")).await.unwrap();
        }
        within(tokio::task::spawn_blocking(|| thread.join().unwrap()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(diary.lines().await.unwrap().len(), 200);
        diary.close().await.unwrap();
    });
}

#[test]
fn everything_works_on_a_current_thread_runtime() {
    run_on_one_thread(async {
        let directory = TempDir::new().unwrap();
        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        let holder = held(&diary).await;
        let calls = queued(&diary, &["1", "2", "3"]).await;
        let closing = call(&diary, |diary| async move { diary.close().await });
        diary.go_on.notify_one();
        for call in calls.into_iter().chain([holder]) {
            within(call).await.unwrap().unwrap();
        }
        within(closing).await.unwrap().unwrap();
        assert_eq!(names(directory.path()), ["database.db"]);

        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        let reading = call(
            &diary,
            |diary| async move { diary.never_ends_reading().await },
        );
        tokio::task::yield_now().await;
        within(diary.close_within(Duration::from_millis(20)))
            .await
            .unwrap();
        assert!(within(reading).await.unwrap().is_err());
    });
}
