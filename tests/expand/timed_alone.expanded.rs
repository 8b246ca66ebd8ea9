impl Store {
    async fn fetch(&self, url: &str) -> Result<String, reqwest::Error> {
        static __SITE: ::dbm_core::__private::Site = ::dbm_core::__private::Site::new(
                ::core::module_path!(),
                "fetch",
            )
            .timed()
            .slow_ms(60000);
        ::dbm_core::__private::timed(
                &__SITE,
                async {
                    if let ::core::option::Option::Some(__return) = ::core::option::Option::None::<
                        Result<String, reqwest::Error>,
                    > {
                        return __return;
                    }
                    { reqwest::get(url).await?.text().await }
                },
            )
            .await
    }
}
