#[automatically_derived]
impl<T: Tag> ::dbm_core::__private::Shareable for Store<T>
where
    Self: ::dbm_core::Schema + ::core::marker::Send + ::core::marker::Sync + 'static,
{}
#[automatically_derived]
impl<T: Tag> ::dbm_core::DbManager for Store<T>
where
    Self: ::dbm_core::Schema + ::core::marker::Send + ::core::marker::Sync + 'static,
{
    const VERSION: ::dbm_core::Version = ::dbm_core::Version::new(1, 2, 0);
    fn __core(&self) -> &::dbm_core::ManagerCore {
        &self.core
    }
    fn __begin(
        start: ::dbm_core::__private::Start<Self>,
        here: bool,
    ) -> ::std::sync::Arc<Self> {
        ::dbm_core::__private::begin::<Self>(start, here)
    }
}
#[automatically_derived]
impl<T: Tag> ::dbm_core::__private::FromCore for Store<T>
where
    for<'__put_off> Vec<T>: ::dbm_core::__private::DefaultField,
    for<'__put_off> IpAddr: ::dbm_core::__private::DefaultField,
{
    fn from_core(core: ::dbm_core::ManagerCore) -> Self {
        Self {
            core: core,
            tags: ::dbm_core::__private::DefaultField::make(),
            address: ::dbm_core::__private::DefaultField::make(),
        }
    }
}
