//! Each writer has a transaction of its own.

fn main() -> harness::Result<()> {
    harness::worker::<bench_postgres::Dbm<false>>()
}
