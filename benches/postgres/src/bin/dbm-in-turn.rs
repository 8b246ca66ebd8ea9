//! Each writer has a transaction of its own.

struct InTurn;

impl bench_postgres::Way for InTurn {
    const WRITERS: dbm_postgres::Writers = dbm_postgres::Writers::InTurn;
}

fn main() -> harness::Result<()> {
    harness::worker::<bench_postgres::Dbm<InTurn>>()
}
