//! Patterns, attributes, documentation, visibility, and bodies of every kind.

use super::{Store, send, store};
use dbm_core::prelude::*;

struct Point {
    x: i64,
    y: i64,
}

mod inner {
    use dbm_core::prelude::*;

    #[derive(DbManager)]
    #[db_manager(version = "1.0.0")]
    pub(super) struct Private(ManagerCore);

    dbm_tests::schema!(Private);

    impl Private {
        /// Seen one module up.
        #[database_safe]
        pub(super) async fn one(&self, db: &mut ReadTransaction) -> Result<u64> {
            self.three().await?;
            db.query_one("SELECT 1", ()).await
        }

        #[database_safe]
        pub(in crate::parameters) async fn two(&self, db: &mut ReadTransaction) -> Result<u64> {
            db.query_one("SELECT 2", ()).await
        }

        #[database_safe]
        async fn three(&self, db: &mut ReadTransaction) -> Result<u64> {
            db.query_one("SELECT 3", ()).await
        }
    }
}

impl Store {
    #[database_safe]
    async fn patterns(
        &self,
        db: &mut ReadTransaction,
        Point { x, y }: Point,
        (a, _): (i64, i64),
        [first, ..]: [i64; 3],
        _: u8,
        mut counter: i64,
    ) -> Result<i64> {
        counter += 1;
        db.query_one("SELECT ?1 + ?2 + ?3 + ?4 + ?5", (x, y, a, first, counter))
            .await
    }

    #[database_safe]
    async fn mutable_handle(&self, mut db: &mut WriteTransaction) -> Result<u64> {
        let again = &mut db;
        again.query_one("SELECT 1", ()).await
    }

    #[database_safe]
    async fn handle_unused(&self, _: &mut Connection) -> Result<()> {
        Ok(())
    }

    #[database_safe]
    async fn handle_under_another_name(
        &self,
        tx: &mut dbm_core::ReadTransaction,
    ) -> dbm_core::Result<u64> {
        helper(tx).await
    }

    #[database_safe]
    async fn mutable_argument(&self, db: &mut ReadTransaction, out: &mut Vec<u64>) -> Result<()> {
        out.push(db.query_one("SELECT 1", ()).await?);
        Ok(())
    }

    #[database_safe]
    #[required_argument(r#type, name)]
    async fn r#match(
        &self,
        db: &mut ReadTransaction,
        r#type: Option<u64>,
        mut name: Option<&str>,
    ) -> Result<String> {
        let name = name.get_or_insert("nobody");
        db.query_one("SELECT ?1 || ?2", (r#type, &**name)).await
    }

    #[database_safe]
    #[required_argument(a, b)]
    async fn required_by_reference(
        &self,
        _: &mut ReadTransaction,
        a: &Option<String>,
        b: std::option::Option<u8>,
    ) -> Result<bool> {
        Ok(a.is_some() && b.is_some())
    }

    /// Documented.
    #[must_use = "it is a number"]
    #[database_safe]
    #[allow(clippy::too_many_arguments)]
    #[doc(hidden)]
    #[cfg(not(any()))]
    async fn attributes(
        &self,
        #[allow(unused_variables)] _db: &mut ReadTransaction,
        #[cfg(any())] gone: Gone,
    ) -> Result<u64> {
        #![allow(clippy::let_and_return)]
        let one = 1;
        Ok(one)
    }

    #[database_safe]
    #[cfg(any())]
    async fn not_compiled(&self, db: &mut Gone) -> Gone {}

    #[database_safe]
    async fn body_names_like_ours(
        &self,
        db: &mut ReadTransaction,
        __db: u64,
        __outcome: u64,
        __return: u64,
    ) -> Result<u64> {
        let __site = __db + __outcome + __return;
        db.query_one("SELECT ?1", (__site,)).await
    }

    #[database_safe]
    async fn body_returns_early(&self, db: &mut ReadTransaction, id: u64) -> Result<Option<u64>> {
        if id == 0 {
            return Ok(None);
        }
        let found = db.query_optional("SELECT ?1", (id,)).await?;
        return Ok(found);
    }

    #[database_safe]
    async fn body_coerces(
        &self,
        db: &mut ReadTransaction,
        boxed: bool,
    ) -> Result<Box<dyn Fn(u64) -> u64 + Send>> {
        let one: u64 = db.query_one("SELECT 1", ()).await?;
        if boxed {
            return Ok(Box::new(move |by| by + one));
        }
        Ok(Box::new(|by| by))
    }

    #[database_safe]
    async fn body_is_one_expression(&self, _db: &mut ReadTransaction) -> Result<u64> {
        match self.fallback() {
            9 => Ok("9".parse().unwrap()),
            other => Err(Error::other(format!("{other}"))),
        }
    }

    #[database_safe]
    async fn body_unfinished(&self, _db: &mut ReadTransaction) -> Result<u64> {
        todo!()
    }

    #[database_safe]
    #[fail_value({
        let least = values.iter().min();
        least.copied().unwrap_or(self.fallback())
    })]
    async fn fail_value_reads_arguments(
        &self,
        _db: &mut ReadTransaction,
        values: Vec<u64>,
    ) -> Result<u64> {
        Err(Error::other(format!("{} values", values.len())))
    }

    fn fallback(&self) -> u64 {
        9
    }

    #[timed]
    async fn nothing(&self) {}

    #[timed(slow = "1h")]
    async fn timed_only(&self, text: &str, out: &mut String) -> usize {
        out.push_str(text);
        out.len()
    }

    #[timed]
    #[required_argument(a, b)]
    async fn both_alone(&self, a: Option<String>, b: Option<u8>) -> Result<String> {
        a.map(|a| format!("{a}{b:?}"))
            .ok_or_else(|| Error::other("only b"))
    }
}

#[timed]
async fn not_even_a_method(left: u64, right: u64) -> u64 {
    left + right
}

#[required_argument(left)]
async fn not_even_a_method_required(left: Option<u64>) -> Result<u64> {
    Ok(left.unwrap_or_default())
}

async fn helper(db: &mut ReadTransaction) -> Result<u64> {
    db.query_one("SELECT 1", ()).await
}

#[tokio::test]
async fn they_do_what_their_bodies_say() {
    let store = store().await;
    assert_eq!(
        send(store.patterns(Point { x: 1, y: 2 }, (3, 0), [4, 0, 0], 0, 5))
            .await
            .unwrap(),
        16
    );
    assert_eq!(send(store.mutable_handle()).await.unwrap(), 1);
    send(store.handle_unused()).await.unwrap();
    assert_eq!(send(store.handle_under_another_name()).await.unwrap(), 1);
    let mut out = Vec::new();
    send(store.mutable_argument(&mut out)).await.unwrap();
    assert_eq!(out, [1]);
    assert_eq!(send(store.r#match(Some(1), None)).await.unwrap(), "1nobody");
    assert!(
        send(store.required_by_reference(&Some(String::new()), Some(1)))
            .await
            .unwrap()
    );
    assert_eq!(send(store.attributes()).await.unwrap(), 1);
    assert_eq!(send(store.body_names_like_ours(1, 2, 3)).await.unwrap(), 6);
    assert_eq!(send(store.body_returns_early(0)).await.unwrap(), None);
    assert_eq!(send(store.body_returns_early(3)).await.unwrap(), Some(3));
    assert_eq!(send(store.fail_value_reads_arguments(vec![4, 3])).await, 3);
    assert_eq!(send(store.fail_value_reads_arguments(vec![])).await, 9);
    assert_eq!(send(store.body_coerces(true)).await.unwrap()(4), 5);
    assert_eq!(send(store.body_is_one_expression()).await.unwrap(), 9);
    send(store.nothing()).await;
    assert_eq!(
        send(store.timed_only("ab", &mut String::from("c"))).await,
        3
    );
    assert_eq!(not_even_a_method(1, 2).await, 3);
    assert_eq!(not_even_a_method_required(Some(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_missing_argument_is_named() {
    let store = store().await;
    let message = store.r#match(None, None).await.unwrap_err().to_string();
    assert!(
        message.contains("match") && message.contains("type, name") && !message.contains("r#"),
        "{message}"
    );
    assert!(matches!(
        store.both_alone(None, None).await,
        Err(Error::MissingArgument { .. })
    ));
    assert!(matches!(
        not_even_a_method_required(None).await,
        Err(Error::MissingArgument { .. })
    ));
    assert_eq!(
        store.both_alone(Some("a".into()), None).await.unwrap(),
        "aNone"
    );
}

#[tokio::test]
async fn visibility_is_kept() {
    let private = inner::Private::create(Config::in_memory()).await.unwrap();
    assert_eq!(private.one().await.unwrap(), 1);
    assert_eq!(private.two().await.unwrap(), 2);
}

#[tokio::test]
#[should_panic = "not yet implemented"]
async fn an_unfinished_body_compiles() {
    let _ = store().await.body_unfinished().await;
}
