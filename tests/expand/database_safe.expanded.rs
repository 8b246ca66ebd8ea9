impl Store {
    /// Adds a user.
    pub async fn add_user(&self, id: u64, name: &str) -> Result<()> {
        static __SITE: ::dbm_core::__private::Site = ::dbm_core::__private::Site::new(
                ::core::module_path!(),
                "add_user",
            )
            .one_statement();
        let __outcome = ::dbm_core::__private::call(&__SITE, self)
            .on::<WriteTransaction>()
            .returning::<Result<()>>()
            .run(async |mut __db| {
                if let ::core::option::Option::Some(__return) = ::core::option::Option::None::<
                    Result<()>,
                > {
                    return __return;
                }
                let db = &mut __db;
                {
                    db.execute("INSERT INTO user VALUES (?1, ?2)", (id, name)).await?;
                    Ok(())
                }
            })
            .await;
        __outcome.into_result()
    }
}
