impl Store {
    ::core::compile_error! {
        "write a duration above zero: \"250ms\", \"5s\", \"2m\" or \"1h\""
    }
    ::core::compile_error! {
        "the caller gives no `nmae`: name one of `name`"
    }
    async fn user(&self, name: Option<&str>) -> Result<Option<User>> {
        #[allow(unused_imports)]
        use required_argument as _;
        static __SITE: ::dbm_core::__private::Site = ::dbm_core::__private::Site::new(
                ::core::module_path!(),
                "user",
            )
            .one_statement();
        let __outcome = ::dbm_core::__private::call(&__SITE, self)
            .required_argument(&[])
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
                            "SELECT id, name FROM user WHERE name = ?1",
                            (name,),
                        )
                        .await
                }
            })
            .await;
        __outcome.into_result()
    }
}
