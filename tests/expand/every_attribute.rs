impl Store {
    #[database_safe(timeout = "5s")]
    #[required_argument(id, name)]
    #[fail_value(None)]
    #[timed(slow = "100ms")]
    #[during_init]
    pub async fn user(
        &self,
        db: &mut ReadTransaction,
        id: Option<u64>,
        name: Option<&str>,
    ) -> Result<Option<User>> {
        db.query_optional(
            "SELECT id, name FROM user WHERE id = ?1 OR name = ?2",
            (id, name),
        )
        .await
    }
}
