//! With a lock on the row that it increments.

fn main() -> harness::Result<()> {
    harness::worker::<bench_postgres::deadpool::Deadpool<false>>()
}
