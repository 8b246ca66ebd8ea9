//! Writers that wait share one transaction.

struct Sharing;

impl bench_postgres::Way for Sharing {
    const WRITERS: dbm_postgres::Writers = dbm_postgres::Writers::Sharing;
}

fn main() -> harness::Result<()> {
    harness::worker::<bench_postgres::Dbm<Sharing>>()
}
