//! Writers that wait share one transaction.

fn main() -> harness::Result<()> {
    harness::worker::<bench_postgres::Dbm<true>>()
}
