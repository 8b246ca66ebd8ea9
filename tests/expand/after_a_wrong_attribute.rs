impl Store {
    #[database_safe(timeout = "soon")]
    #[required_argument(nmae)]
    async fn user(&self, db: &mut ReadTransaction, name: Option<&str>) -> Result<Option<User>> {
        db.query_optional("SELECT id, name FROM user WHERE name = ?1", (name,))
            .await
    }
}
