impl Store {
    pub async fn user(&self, id: Option<u64>, name: Option<&str>) -> Option<User> {
        #[allow(unused_imports)]
        use {required_argument as _, fail_value as _, timed as _, during_init as _};
        static __SITE: ::dbm_core::__private::Site = ::dbm_core::__private::Site::new(
                ::core::module_path!(),
                "user",
            )
            .timeout_ms(5000)
            .timed()
            .slow_ms(100)
            .during_init()
            .one_statement();
        let __outcome = ::dbm_core::__private::call(&__SITE, self)
            .required_argument(
                &[
                    ("id", ::core::option::Option::is_some(&id)),
                    ("name", ::core::option::Option::is_some(&name)),
                ],
            )
            .on::<ReadTransaction>()
            .returning::<Result<Option<User>>>()
            .run(async |mut __db| {
                if let ::core::option::Option::Some(__return) = ::core::option::Option::None::<
                    Result<Option<User>>,
                > {
                    return __return;
                }
                let db = &mut __db;
                {
                    db.query_optional(
                            "SELECT id, name FROM user WHERE id = ?1 OR name = ?2",
                            (id, name),
                        )
                        .await
                }
            })
            .await;
        __outcome.fail_value(|| -> Option<User> { None })
    }
}
