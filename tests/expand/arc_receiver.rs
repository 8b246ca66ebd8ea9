impl Store {
    #[database_safe]
    #[fail_with_exception]
    async fn vacuum(self: &Arc<Self>, db: &mut Connection) -> anyhow::Result<()> {
        db.execute_batch("VACUUM").await?;
        Ok(())
    }
}
