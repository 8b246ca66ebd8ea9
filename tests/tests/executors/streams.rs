//! Streams and long writes on executors of every kind. The thread that produces the rows wakes the task.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use dbm_core::prelude::*;
use dbm_tests::{run, within};

use super::Store;
use super::hostile::{Deed, Task, When, run_to_the_end};

const NUMBERS: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 10000)
    SELECT x FROM n";

impl Store {
    /// One stream is dropped, and one is read to its end.
    #[database_safe]
    async fn stream(&self, db: &mut ReadTransaction) -> Result<()> {
        let mut rows = db.stream::<i64>(NUMBERS, ());
        assert_eq!(rows.next().await?, Some(1));
        drop(rows);
        let mut rows = db.stream::<i64>(NUMBERS, ());
        let mut count = 0;
        while rows.next().await?.is_some() {
            count += 1;
        }
        assert_eq!(count, 10_000);
        Ok(())
    }

    #[database_safe]
    async fn change_many(&self, db: &mut WriteTransaction) -> Result<()> {
        let sql = "DELETE FROM number WHERE n = ?1 AND n IS NULL";
        db.execute_many(sql, (0..1_000).map(|n| (n,))).await?;
        Ok(())
    }
}

#[test]
fn whatever_the_executor_of_a_stream_does_others_go_on() {
    run(async {
        for deed in Deed::ALL {
            for when in [When::Woken, When::Dropped] {
                let store = Store::new(Config::in_memory().readers(1)).await;
                for at in 1..20 {
                    let streams = || {
                        let store = Arc::clone(&store);
                        async move {
                            store.stream().await?;
                            store.change_many().await
                        }
                    };
                    let [task, another] = [(); 2].map(|()| Task::new(streams()));
                    let ran = run_to_the_end(&task, at, &store, (deed, when), &another);
                    let (result, done) = within(async {
                        let (ran, other) = tokio::join!(ran, another.finish_anyhow());
                        if let Some(result) = other {
                            result.unwrap();
                        }
                        ran
                    })
                    .await;
                    if let Some(result) = result {
                        result.unwrap();
                    }
                    if !done && at > 8 {
                        break;
                    }
                }
                store.still_works().await;
            }
        }
    });
}

/// Such an executor knows nothing of tokio's budget.
#[test]
fn a_stream_is_read_by_an_executor_that_parks_its_thread() {
    struct Unparks(Thread);
    impl Wake for Unparks {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    run(async {
        let store = Store::new(Config::in_memory()).await;
        let here = Arc::clone(&store);
        let (done, is_done) = tokio::sync::oneshot::channel();
        thread::spawn(move || {
            let waker = Waker::from(Arc::new(Unparks(thread::current())));
            let mut stream = std::pin::pin!(async {
                here.stream().await?;
                here.change_many().await
            });
            let result = loop {
                match stream.as_mut().poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(result) => break result,
                    Poll::Pending => thread::park(),
                }
            };
            done.send(result).unwrap();
        });
        within(is_done).await.unwrap().unwrap();
        store.close().await.unwrap();
    });
}
