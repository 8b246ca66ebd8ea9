impl Store {
    #[dbm_core::database_safe]
    #[dbm_core::fail_value(0)]
    async fn count(&self, db: &mut ReadTransaction) -> Reply<u64> {
        Ok(db.query_one("SELECT count(*) FROM user", ()).await?)
    }
}
