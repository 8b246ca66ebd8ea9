impl Store {
    async fn count(&self) -> ::dbm_core::ValueOf<Reply<u64>> {
        #[allow(unused_imports)]
        use dbm_core::fail_value as _;
        static __SITE: ::dbm_core::__private::Site = ::dbm_core::__private::Site::new(
                ::core::module_path!(),
                "count",
            )
            .one_statement();
        let __outcome = ::dbm_core::__private::call(&__SITE, self)
            .on::<ReadTransaction>()
            .returning::<Reply<u64>>()
            .run(async |mut __db| {
                if let ::core::option::Option::Some(__return) = ::core::option::Option::None::<
                    Reply<u64>,
                > {
                    return __return;
                }
                let db = &mut __db;
                { Ok(db.query_one("SELECT count(*) FROM user", ()).await?) }
            })
            .await;
        __outcome.fail_value(|| -> ::dbm_core::ValueOf<Reply<u64>> { 0 })
    }
}
