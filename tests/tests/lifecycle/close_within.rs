//! A close that does not wait for ever.

use super::*;

#[test]
fn close_within_gives_up_a_start_that_does_not_end() {
    run(async {
        let directory = TempDir::new().unwrap();
        let diary = Diary::held_in_init(Config::new(directory.path()));
        within(diary.arrived.notified()).await;
        within(diary.close_within(Duration::ZERO)).await.unwrap();
        assert!(matches!(diary.status(), Status::Failed | Status::Stopped));
        assert!(within(diary.lines()).await.is_err());
        assert!(open_files(directory.path()).is_empty());

        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        assert_eq!(diary.lines().await.unwrap(), [""; 0]);
        diary.close().await.unwrap();
    });
}

/// What it interrupts at a start: a hook's statement, whether its future goes away with the start or was leaked.
#[test]
fn close_within_interrupts_the_statement_of_a_hook() {
    static RUNS: Notify = Notify::const_new();
    fn endless(db: &mut WriteTransaction) -> impl Future<Output = Result<()>> + Send {
        db.call(|c| {
            RUNS.notify_one();
            Ok(c.query_row(ENDLESS, (), |_| Ok(()))?)
        })
    }
    run(async {
        let hooks = [
            Hooks {
                init: Some(|_, db| Box::pin(endless(db))),
                ..Hooks::default()
            },
            Hooks {
                init: Some(|_, db| {
                    Box::pin(async {
                        let mut leaked = Box::pin(endless(db));
                        assert!(waits(&mut leaked).await);
                        std::mem::forget(leaked);
                        std::future::pending().await
                    })
                }),
                ..Hooks::default()
            },
        ];
        for hooks in hooks {
            let directory = TempDir::new().unwrap();
            let store = Store::start_hooked(Config::new(directory.path()), hooks);
            within(RUNS.notified()).await;
            within(store.close_within(Duration::ZERO)).await.unwrap();
            assert_eq!(store.status(), Status::Failed);
            assert!(open_files(directory.path()).is_empty());
        }
    });
}

#[test]
fn close_within_interrupts_what_still_runs_and_refuses_what_is_queued() {
    run(async {
        let directory = TempDir::new().unwrap();
        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        diary.append("kept").await.unwrap();
        let reading = call(
            &diary,
            |diary| async move { diary.never_ends_reading().await },
        );
        let writing = call(
            &diary,
            |diary| async move { diary.never_ends_writing().await },
        );
        within(diary.arrived.notified()).await;
        let calls = queued(&diary, &["never"]).await;
        within(diary.close_within(Duration::from_millis(20)))
            .await
            .unwrap();
        assert_eq!(diary.status(), Status::Stopped);
        assert!(matches!(
            within(reading).await.unwrap(),
            Err(Error::Closed {
                method: "never_ends_reading"
            })
        ));
        assert!(matches!(
            within(writing).await.unwrap(),
            Err(Error::Closed {
                method: "never_ends_writing"
            })
        ));
        for call in calls {
            assert!(matches!(
                within(call).await.unwrap(),
                Err(Error::Closed { .. })
            ));
        }
        assert_eq!(names(directory.path()), ["database.db"]);
        assert!(open_files(directory.path()).is_empty());

        let diary = Diary::create(Config::new(directory.path())).await.unwrap();
        assert_eq!(diary.lines().await.unwrap(), ["kept"]);
        diary.close().await.unwrap();
    });
}

#[test]
fn close_within_takes_the_writer_from_a_call_that_waited_for_a_start_which_just_ended() {
    run_on_one_thread(async {
        // On a busy machine the close may give the start up first.
        while !start_ends_during_a_close().await {}
    });
}

/// False if the start was given up.
async fn start_ends_during_a_close() -> bool {
    // Once `init_db` goes on, nothing keeps the start from ending at once.
    let config = Config::in_memory().execution(Execution::Inline);
    let diary = Diary::held_in_init(config);
    within(diary.arrived.notified()).await;
    let waiting = call(&diary, |diary| async move { diary.append_held("").await });
    tokio::task::yield_now().await;
    let mut closing = Box::pin(diary.close_within(Duration::from_millis(1)));
    assert!(waits(&mut closing).await);
    let mut polls = 0;
    let closed = std::future::poll_fn(|context| {
        polls += 1;
        if polls == 2 {
            diary.go_on.notify_one();
        }
        closing.as_mut().poll(context)
    });
    within(closed).await.unwrap();
    diary.go_on.notify_one();
    let told = within(waiting).await.unwrap();
    if diary.status() == Status::Failed {
        assert!(matches!(told, Err(Error::Failed { .. })), "{told:?}");
        return false;
    }
    assert_eq!(diary.status(), Status::Stopped);
    assert!(matches!(told, Err(Error::Closed { .. })), "{told:?}");
    true
}

#[test]
fn close_within_refuses_a_read_that_was_about_to_begin() {
    run_on_one_thread(async {
        let diary = diary().await;
        let (begins, begun) = mpsc::channel();
        let mut read = Stalled::new(Box::pin(diary.never_ends_reading_once(begins)));
        assert!(!read.run_to(1).await, "its connection is being opened");
        let (inside, is_inside) = oneshot::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let blocking = call(&diary, |diary| async move {
            diary.blocks(inside, may_go_on).await
        });
        within(is_inside).await.unwrap();
        let queued = queued(&diary, &["never"]).await;
        let closing = call(&diary, |diary| async move {
            diary.close_within(Duration::ZERO).await
        });
        for call in queued {
            assert!(within(call).await.unwrap().is_err());
        }
        // The connections are not closed yet: the writer's thread is busy.
        let told = if read.run_to(2).await {
            Some(read.finish().await)
        } else {
            begun.recv_timeout(LIMIT).unwrap();
            None
        };
        go_on.send(()).unwrap();
        within(closing).await.unwrap().unwrap();
        assert!(within(blocking).await.unwrap().is_err());
        assert!(matches!(told, Some(Err(Error::Closed { .. }))), "{told:?}");
    });
}

#[test]
fn close_within_does_not_wait_for_a_body_that_waits_for_something_else() {
    run(async {
        let diary = diary().await;
        let holder = held(&diary).await;
        within(diary.close_within(Duration::ZERO)).await.unwrap();
        assert_eq!(diary.status(), Status::Stopped);
        diary.go_on.notify_one();
        let error = within(holder).await.unwrap().unwrap_err();
        assert!(
            matches!(
                error,
                Error::Closed {
                    method: "append_held"
                }
            ),
            "{error:?}"
        );
    });
}

#[test]
fn close_within_closes_at_once_when_nothing_runs() {
    run(async {
        let diary = diary().await;
        within(diary.close_within(Duration::MAX)).await.unwrap();
        assert_eq!(diary.status(), Status::Stopped);
    });
}
