impl Store {
    #[job(attempts = 3, unique)]
    async fn notify(&self, channel: u64) -> Result<()> {
        self.send(channel).await
    }
}
