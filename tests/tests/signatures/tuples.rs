//! Both failure policies: a tuple of 1 to 12 whose last place takes the cause.

use super::{Store, send, store};
use dbm_core::prelude::*;

macro_rules! arities {
    ($($name:ident: ($($element:tt)*)),* $(,)?) => {
        impl Store {
            $(
                #[database_safe]
                #[fail_value(($($element,)* None,))]
                #[fail_with_exception]
                async fn $name(&self, _db: &mut ReadTransaction, fail: bool) -> Result<($(arities!(@ty $element),)* Option<Error>,)> {
                    if fail { Err(Error::other("asked to")) } else { Ok(($($element,)* None,)) }
                }
            )*
        }

        #[tokio::test]
        async fn the_cause_is_in_the_last_place() {
            let store = store().await;
            $(
                let ($(arities!(@_ $element),)* cause,) = send(store.$name(true)).await;
                assert!(cause.unwrap().to_string().contains("asked to"));
                let ($(arities!(@_ $element),)* cause,) = send(store.$name(false)).await;
                assert!(cause.is_none());
            )*
        }
    };
    (@ty $element:tt) => { u8 };
    (@_ $element:tt) => { _ };
}

arities! {
    one: (),
    two: (0),
    three: (0 0),
    four: (0 0 0),
    five: (0 0 0 0),
    six: (0 0 0 0 0),
    seven: (0 0 0 0 0 0),
    eight: (0 0 0 0 0 0 0),
    nine: (0 0 0 0 0 0 0 0),
    ten: (0 0 0 0 0 0 0 0 0),
    eleven: (0 0 0 0 0 0 0 0 0 0),
    twelve: (0 0 0 0 0 0 0 0 0 0 0),
}

impl Store {
    #[fail_with_exception]
    #[database_safe]
    #[fail_value((self.limit(), "none given".to_owned(), None))]
    async fn with_self(
        &self,
        _db: &mut ReadTransaction,
    ) -> anyhow::Result<(u64, String, Option<anyhow::Error>)> {
        anyhow::bail!("the cause")
    }

    #[fail_value((0, None))]
    #[fail_with_exception]
    #[database_safe]
    async fn panics(&self, _db: &mut ReadTransaction) -> Result<(u8, Option<Error>)> {
        panic!("the cause")
    }

    fn limit(&self) -> u64 {
        3
    }
}

#[tokio::test]
async fn the_rest_is_the_fail_value() {
    let (limit, text, cause) = send(store().await.with_self()).await;
    assert_eq!(
        (limit, text.as_str(), cause.unwrap().to_string().as_str()),
        (3, "none given", "the cause")
    );
}

#[tokio::test]
async fn a_panic_is_a_cause() {
    let (value, cause) = send(store().await.panics()).await;
    assert_eq!(value, 0);
    assert!(matches!(cause, Some(Error::Panicked { .. })), "{cause:?}");
}
