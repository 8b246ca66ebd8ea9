use dbm_core::prelude::*;

async fn sum(db: &mut ReadTransaction) -> Result<u64> {
    let (users, pets) = tokio::join!(
        db.query_one::<u64>("SELECT count(*) FROM user", ()),
        db.query_one::<u64>("SELECT count(*) FROM pet", ()),
    );
    Ok(users? + pets?)
}

fn main() {}
