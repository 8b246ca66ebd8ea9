impl Store {
    async fn find(&self, id: Option<u64>, name: Option<String>) -> Result<Vec<User>> {
        static __SITE: ::dbm_core::__private::Site = ::dbm_core::__private::Site::new(
            ::core::module_path!(),
            "find",
        );
        if let ::core::option::Option::Some(__missing) = ::dbm_core::__private::missing_argument::<
            Result<Vec<User>>,
        >(
            &__SITE,
            &[
                ("id", ::core::option::Option::is_some(&id)),
                ("name", ::core::option::Option::is_some(&name)),
            ],
        ) {
            return __missing;
        }
        { self.find_where(id.map(Key::Id).or(name.map(Key::Name))).await }
    }
}
