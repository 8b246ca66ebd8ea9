impl Store {
    /// Adds a user.
    #[database_safe]
    pub async fn add_user(&self, db: &mut WriteTransaction, id: u64, name: &str) -> Result<()> {
        db.execute("INSERT INTO user VALUES (?1, ?2)", (id, name))
            .await?;
        Ok(())
    }
}
