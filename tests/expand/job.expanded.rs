impl Store {
    async fn notify(&self, channel: u64) -> Result<()> {
        { self.send(channel).await }
    }
    ///A job that calls [`notify`](Self::notify).
    #[allow(dead_code, unused_variables, clippy::needless_pass_by_value)]
    fn notify_job(channel: u64) -> ::dbm_core::Job<Self> {
        ::dbm_core::__private::job("notify", &(&channel,)).unique(&(&channel,))
    }
    #[doc(hidden)]
    pub(crate) fn __job_notify() -> ::dbm_core::__private::JobKind<Self> {
        ::dbm_core::__private::listed::<Self, 12159772035601034300>();
        static __SITE: ::dbm_core::__private::Site = ::dbm_core::__private::Site::job(
            ::core::module_path!(),
            "notify_job",
        );
        ::dbm_core::__private::JobKind::new(
                "notify",
                &__SITE,
                |__manager, __arguments| {
                    ::std::boxed::Box::pin(async move {
                        let (channel,) = ::dbm_core::__private::arguments::<
                            (u64,),
                        >(__arguments)?;
                        ::dbm_core::__private::outcome(
                            Self::notify(__manager, channel).await,
                        )
                    })
                },
            )
            .attempts(3)
    }
}
