//! Serializable transactions, made again if they lose to another one.

fn main() -> harness::Result<()> {
    harness::worker::<bench_postgres::deadpool::Deadpool<true>>()
}
