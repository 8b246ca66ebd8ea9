impl Store {
    #[timed(slow = "1m")]
    async fn fetch(&self, url: &str) -> Result<String, reqwest::Error> {
        reqwest::get(url).await?.text().await
    }
}
