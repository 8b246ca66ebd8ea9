//! Nested calls while a stream is open.

use std::future::poll_fn;
use std::task::Poll;

use dbm_core::prelude::*;
use dbm_tests::{run, within};

use super::{COUNT, EXECUTIONS, Store, all};

#[test]
fn a_nested_call_in_the_loop_is_an_error_however_few_rows_there_are() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            for count in [1, 10, 30_000] {
                let write = store.write(async |db| {
                    let mut rows = db.stream::<i64>(COUNT, (count,));
                    assert!(rows.next().await?.is_some());
                    for nested in [store.add("").await.map(drop), store.count().await.map(drop)] {
                        let error = nested.unwrap_err();
                        assert!(matches!(error, Error::Nesting { .. }), "{error}");
                        assert!(error.to_string().contains("a stream"), "{error}");
                    }
                    while rows.next().await?.is_some() {}
                    store.add("after its end").await?;
                    drop(rows);

                    let mut rows = db.stream::<i64>(COUNT, (count,));
                    assert!(rows.next().await?.is_some());
                    drop(rows);
                    store.add("after it was dropped").await
                });
                within(write).await.unwrap();
            }
            assert_eq!(store.count().await.unwrap(), 6);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_nested_call_that_began_before_the_stream_is_waited_for() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            let written = store.write(async |db| {
                let nested = store.write(async |db| {
                    yields().await;
                    db.execute("INSERT INTO note (text) VALUES ('nested')", ())
                        .await
                });
                let (nested, texts) = tokio::join!(
                    biased;
                    nested,
                    all(db.stream::<String>("SELECT text FROM note", ()))
                );
                assert_eq!(nested?, 1);
                assert_eq!(texts?, ["nested"]);
                Ok(())
            });
            within(written).await.unwrap();
            store.close().await.unwrap();
        }
    });
}

async fn yields() {
    let mut left = 10;
    poll_fn(|context| {
        left -= 1;
        context.waker().wake_by_ref();
        if left == 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
