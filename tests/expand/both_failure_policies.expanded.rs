impl Store {
    async fn users(&self) -> (Vec<User>, Option<Error>) {
        #[allow(unused_imports)]
        use {fail_value as _, database_safe as _};
        static __SITE: ::dbm_core::__private::Site = ::dbm_core::__private::Site::new(
                ::core::module_path!(),
                "users",
            )
            .one_statement();
        let __outcome = ::dbm_core::__private::call(&__SITE, self)
            .on::<ReadTransaction>()
            .returning::<Result<(Vec<User>, Option<Error>)>>()
            .run(async |mut __db| {
                if let ::core::option::Option::Some(__return) = ::core::option::Option::None::<
                    Result<(Vec<User>, Option<Error>)>,
                > {
                    return __return;
                }
                let db = &mut __db;
                { Ok((db.query("SELECT id, name FROM user", ()).await?, None)) }
            })
            .await;
        __outcome
            .fail_value_with_exception(|| -> (Vec<User>, Option<Error>) {
                (Vec::new(), None)
            })
    }
}
