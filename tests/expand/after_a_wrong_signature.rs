impl Store {
    #[database_safe]
    #[fail_value(None)]
    fn user(&self, id: u64, db: &mut ReadTransaction) -> Result<Option<User>> {
        db.query_optional("SELECT id, name FROM user WHERE id = ?1", (id,))
            .await
    }
}
