//! From inside a call or a hook no lifecycle operation can end: an error at once.

use super::*;

#[test]
fn lifecycle_operations_from_inside_a_call_are_an_error_at_once() {
    run(async {
        let diary = diary().await;
        let from_inside = |error: Error| match error {
            Error::FromInside { operation, method } => (operation, method),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            from_inside(within(diary.closes()).await.unwrap_err()),
            ("close", "closes")
        );
        let error = within(diary.closes_within()).await.unwrap_err();
        assert_eq!(from_inside(error), ("close_within", "closes_within"));
        let error = within(diary.waits_until_ready()).await.unwrap_err();
        assert_eq!(from_inside(error), ("ensure_ready", "waits_until_ready"));
        assert_eq!(diary.status(), Status::Running);
        within(diary.close()).await.unwrap();
    });
}

#[test]
fn lifecycle_operations_from_inside_a_hook_are_an_error_at_once() {
    run(async {
        let hooks: [Hooks; 3] = [
            Hooks {
                init: Some(|store, _| Box::pin(store.close())),
                ..Hooks::default()
            },
            Hooks {
                init: Some(|store, _| Box::pin(store.close_within(Duration::ZERO))),
                ..Hooks::default()
            },
            Hooks {
                init: Some(|store, _| Box::pin(store.ensure_ready())),
                ..Hooks::default()
            },
        ];
        for hooks in hooks {
            let error = within(Store::create_hooked(Config::in_memory(), hooks))
                .await
                .unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::FromInside {
                        method: "init_db",
                        ..
                    }
                ),
                "{error:?}"
            );
        }
    });
}
