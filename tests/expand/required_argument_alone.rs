impl Store {
    #[required_argument(id, name)]
    async fn find(&self, id: Option<u64>, name: Option<String>) -> Result<Vec<User>> {
        self.find_where(id.map(Key::Id).or(name.map(Key::Name)))
            .await
    }
}
