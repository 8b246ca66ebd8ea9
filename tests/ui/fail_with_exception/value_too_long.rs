use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    #[fail_with_exception]
    #[fail_value((0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None))]
    async fn ids(
        &self,
        db: &mut ReadTransaction,
    ) -> Result<(
        u8,
        u8,
        u8,
        u8,
        u8,
        u8,
        u8,
        u8,
        u8,
        u8,
        u8,
        u8,
        Option<Error>,
    )> {
        let _ = db;
        Ok((0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None))
    }
}

fn main() {}
