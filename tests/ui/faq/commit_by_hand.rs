use dbm_core::prelude::*;

async fn clear(db: &mut WriteTransaction) -> Result<()> {
    db.execute("DELETE FROM user", ()).await?;
    db.commit().await
}

fn main() {}
