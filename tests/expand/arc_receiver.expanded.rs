impl Store {
    async fn vacuum(self: &Arc<Self>) -> anyhow::Result<()> {
        #[allow(unused_imports)]
        use fail_with_exception as _;
        static __SITE: ::dbm_core::__private::Site = ::dbm_core::__private::Site::new(
            ::core::module_path!(),
            "vacuum",
        );
        let __outcome = ::dbm_core::__private::call(&__SITE, &**self)
            .on::<Connection>()
            .returning::<anyhow::Result<()>>()
            .run(async |mut __db| {
                if let ::core::option::Option::Some(__return) = ::core::option::Option::None::<
                    anyhow::Result<()>,
                > {
                    return __return;
                }
                let db = &mut __db;
                {
                    db.execute_batch("VACUUM").await?;
                    Ok(())
                }
            })
            .await;
        __outcome.fail_with_exception()
    }
}
