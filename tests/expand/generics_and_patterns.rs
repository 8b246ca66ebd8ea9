impl<T: Row> Table<T> {
    #[database_safe]
    #[cfg(feature = "search")]
    pub(crate) async fn search<'a, K>(
        &'a self,
        _: &mut dbm_core::ReadTransaction,
        Point { x, y }: Point,
        mut keys: impl Iterator<Item = K> + Send,
    ) -> Result<impl Iterator<Item = (K, &'a str)>>
    where
        K: Send + 'a,
    {
        #![allow(clippy::many_single_char_names)]
        Ok(keys.map(move |key| (key, self.name(x, y))))
    }
}
