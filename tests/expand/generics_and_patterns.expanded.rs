impl<T: Row> Table<T> {
    #[cfg(feature = "search")]
    #[allow(clippy::many_single_char_names)]
    pub(crate) async fn search<'a, K>(
        &'a self,
        Point { x, y }: Point,
        mut keys: impl Iterator<Item = K> + Send,
    ) -> Result<impl Iterator<Item = (K, &'a str)>>
    where
        K: Send + 'a,
    {
        static __SITE: ::dbm_core::__private::Site = ::dbm_core::__private::Site::new(
            ::core::module_path!(),
            "search",
        );
        let __outcome = ::dbm_core::__private::call(&__SITE, self)
            .on::<dbm_core::ReadTransaction>()
            .returning::<Result<_>>()
            .run(async |mut __db| {
                if let ::core::option::Option::Some(__return) = ::core::option::Option::None::<
                    Result<_>,
                > {
                    return __return;
                }
                let _ = &mut __db;
                { Ok(keys.map(move |key| (key, self.name(x, y)))) }
            })
            .await;
        __outcome.into_result()
    }
}
