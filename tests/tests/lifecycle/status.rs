//! The status, and who is told of it.

use super::*;

#[test]
fn the_status_goes_forward_only() {
    run(async {
        let diary = Diary::held_in_init(Config::in_memory());
        let mut status = diary.watch_status();
        assert_eq!(*status.borrow_and_update(), Status::Starting);
        within(diary.arrived.notified()).await;
        assert_eq!(diary.status(), Status::Starting);
        diary.go_on.notify_one();
        within(status.changed()).await.unwrap();
        assert_eq!(*status.borrow_and_update(), Status::Running);
        let holder = held(&diary).await;
        let closing = call(&diary, |diary| async move { diary.close().await });
        within(status.changed()).await.unwrap();
        assert_eq!(*status.borrow_and_update(), Status::Stopping);
        diary.go_on.notify_one();
        within(status.changed()).await.unwrap();
        assert_eq!(*status.borrow_and_update(), Status::Stopped);
        holder.await.unwrap().unwrap();
        closing.await.unwrap().unwrap();
        diary.close().await.unwrap();
        assert!(!status.has_changed().unwrap_or(false));
    });
}

#[test]
fn a_failed_manager_stays_failed() {
    run(async {
        let hooks = Hooks {
            init: Some(|_, _| Box::pin(async { Err(Error::other("on purpose")) })),
            ..Hooks::default()
        };
        let store = Store::start_hooked(Config::in_memory(), hooks);
        let mut status = store.watch_status();
        within(status.wait_for(|status| *status == Status::Failed))
            .await
            .unwrap();
        within(store.close()).await.unwrap();
        within(store.close_within(Duration::ZERO)).await.unwrap();
        assert_eq!(store.status(), Status::Failed);
        let Error::Failed {
            method: "ids",
            cause,
        } = store.ids().await.unwrap_err()
        else {
            panic!()
        };
        assert_eq!(cause.to_string(), "on purpose");
    });
}

#[test]
fn ensure_ready_gives_every_waiter_the_same_answer() {
    run(async {
        let diary = Diary::held_in_init(Config::in_memory());
        let early: Vec<_> = (0..5)
            .map(|_| call(&diary, |diary| async move { diary.ensure_ready().await }))
            .collect();
        within(diary.arrived.notified()).await;
        diary.go_on.notify_one();
        for waiter in early {
            within(waiter).await.unwrap().unwrap();
        }
        diary.ensure_ready().await.unwrap();
        diary.close().await.unwrap();
        diary.ensure_ready().await.unwrap();
    });
}

#[test]
fn the_version_joins_the_call_around_it() {
    run(async {
        let diary = diary().await;
        let newer = Version::new(1, 2, 3);
        assert_eq!(
            diary
                .sets_version(&newer, false)
                .await
                .unwrap_err()
                .to_string(),
            "1.2.3"
        );
        assert_eq!(diary.get_version().await.unwrap(), Version::new(1, 0, 0));
        assert_eq!(diary.sets_version(&newer, true).await.unwrap(), newer);
        assert_eq!(diary.get_version().await.unwrap(), newer);
        let refused = diary
            .update_version(&Version::parse("2.0.0-rc.1").unwrap())
            .await;
        assert!(matches!(refused, Err(Error::Config { .. })));
        diary.update_version(&Version::new(0, 0, 0)).await.unwrap();
        assert_eq!(diary.get_version().await.unwrap(), Version::new(0, 0, 0));
        diary.close().await.unwrap();
    });
}

#[test]
fn a_configuration_that_cannot_be_used_is_failed() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = || Config::new(directory.path());
        for config in [
            config().readers(0),
            config().readers(1_001),
            config().db_name(""),
            config().version(Version::parse("1.0.0-rc.1").unwrap()),
            config().version(Version::parse("1.0.0+build").unwrap()),
            config().version(Version::new(u64::MAX, 0, 0)),
        ] {
            let store = Store::start_hooked(config, Hooks::default());
            let error = within(store.ensure_ready()).await.unwrap_err();
            assert!(matches!(error, Error::Config { .. }), "{error:?}");
            assert_eq!(store.status(), Status::Failed);
        }
        assert_eq!(names(directory.path()), [""; 0]);
    });
}
