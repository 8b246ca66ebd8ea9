//! Calls from the hooks, and while the manager stops.

use std::sync::Mutex;

use dbm_core::prelude::*;
use dbm_tests::{poll_once, run, run_on_one_thread, within};
use tokio::sync::Notify;

use super::{EXECUTIONS, Hook, Store};

// Start-up and the end.

#[test]
fn an_unmarked_method_called_from_a_hook_is_an_error_at_once() {
    run(async {
        let store = Store::start_with(Config::in_memory(), |core| Store {
            core,
            hook: Hook::CallUnmarked,
            seen: Mutex::default(),
        });
        within(store.ensure_ready()).await.unwrap();
        let seen = store.seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 2);
        assert!(
            seen[0].starts_with("add was called from init_db or migrate_db"),
            "{seen:?}"
        );
        assert!(
            seen[1].starts_with("numbers was called from init_db or migrate_db"),
            "{seen:?}"
        );
        assert!(store.numbers().await.unwrap().is_empty());
        store.close().await.unwrap();
    });
}

#[test]
fn a_marked_method_called_from_a_hook_joins_its_transaction() {
    run(async {
        for execution in EXECUTIONS {
            let directory = tempfile::tempdir().unwrap();
            let config = Config::new(directory.path()).execution(execution);
            let build = |core| Store {
                core,
                hook: Hook::CallMarked,
                seen: Mutex::default(),
            };
            let store = Store::create_with(config.clone(), build).await.unwrap();
            assert_eq!(*store.seen.lock().unwrap(), ["1.0.0"]);
            assert_eq!(store.numbers().await.unwrap(), [1]);
            store.numbers_early().await.unwrap();
            store.close().await.unwrap();

            // The hook fails in a migration, for 1 is there already: all of it is undone.
            let config = config.version(Version::new(2, 0, 0));
            let store = Store::start_with(config, build);
            within(store.ensure_ready()).await.unwrap_err();
            let store = Store::create(Config::new(directory.path())).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1]);
            assert_eq!(store.get_version().await.unwrap(), Version::new(1, 0, 0));
            store.close().await.unwrap();
        }
    });
}

#[test]
fn another_task_waits_for_running_also_with_a_marked_method() {
    run_on_one_thread(async {
        let store = Store::start_with(Config::in_memory(), |core| Store {
            core,
            hook: Hook::WaitForOutsider,
            seen: Mutex::default(),
        });
        let mut early = Box::pin(store.add_early(1));
        assert!(poll_once(&mut early).await.is_pending());
        assert_eq!(store.status(), Status::Starting);
        within(early).await.unwrap();
        assert_eq!(store.status(), Status::Running);
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn nest_when_told(
        &self,
        db: &mut WriteTransaction,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        inside.notify_one();
        go_on.notified().await;
        self.add(2).await?;
        assert_eq!(self.numbers().await?, [1, 2]);
        Ok(())
    }

    #[database_safe]
    async fn read_twice_when_told(
        &self,
        db: &mut ReadTransaction,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<usize> {
        inside.notify_one();
        go_on.notified().await;
        let one: Vec<i64> = db.query("SELECT n FROM number", ()).await?;
        Ok(one.len() + self.numbers().await?.len())
    }
}

#[test]
fn an_inner_call_passes_with_its_outer_one_while_stopping() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(Config::new(directory.path())).await.unwrap();
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut write = Box::pin(store.nest_when_told(&inside, &go_on));
        let mut read = Box::pin(store.read_twice_when_told(&inside, &go_on));
        for _ in 0..2 {
            tokio::select! {
                result = &mut write => panic!("{result:?}"),
                result = &mut read => panic!("{result:?}"),
                () = inside.notified() => {}
            }
        }
        let mut close = Box::pin(store.close());
        assert!(poll_once(&mut close).await.is_pending());
        assert_eq!(store.status(), Status::Stopping);
        assert!(matches!(store.add(9).await, Err(Error::Closed { .. })));
        go_on.notify_one();
        go_on.notify_one();
        let (write, read, close) = within(async {
            tokio::join!(
                write,
                async {
                    go_on.notify_one();
                    read.await
                },
                close
            )
        })
        .await;
        write.unwrap();
        assert_eq!(read.unwrap(), 0, "its snapshot is older");
        close.unwrap();
        let store = Store::create(Config::new(directory.path())).await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [1, 2]);
        store.close().await.unwrap();
    });
}
