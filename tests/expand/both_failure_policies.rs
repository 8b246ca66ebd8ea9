impl Store {
    #[fail_with_exception]
    #[fail_value((Vec::new(), None))]
    #[database_safe]
    async fn users(&self, db: &mut ReadTransaction) -> Result<(Vec<User>, Option<Error>)> {
        Ok((db.query("SELECT id, name FROM user", ()).await?, None))
    }
}
