impl Store {
    ::core::compile_error! {
        "an annotated method is async: write `async fn user`"
    }
    ::core::compile_error! {
        "the handle comes first: move this parameter to right after `&self`"
    }
    #[allow(unused_variables, unused_mut, unexpected_cfgs)]
    async fn user(&self, id: u64) -> Option<User> {
        #[allow(unused_imports)]
        use fail_value as _;
        #[cfg(rust_analyzer)]
        {
            let db: &mut ReadTransaction = loop {};
            { db.query_optional("SELECT id, name FROM user WHERE id = ?1", (id,)).await }
        }
        loop {}
    }
}
