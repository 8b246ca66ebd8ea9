//! Writers run side by side, and a call that loses to another one is made again.

struct Serializable;

impl bench_postgres::Way for Serializable {
    const WRITERS: dbm_postgres::Writers = dbm_postgres::Writers::Serializable;
}

fn main() -> harness::Result<()> {
    harness::worker::<bench_postgres::Dbm<Serializable>>()
}
