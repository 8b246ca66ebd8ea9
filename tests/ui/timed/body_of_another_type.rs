use dbm_core::prelude::*;

dbm_tests::manager!(Store);

impl Store {
    #[timed]
    async fn sum(&self, a: u64) -> Result<u64> {
        if a == 0 {
            return a;
        }
        Ok(a + 1)
    }
}

fn main() {}
