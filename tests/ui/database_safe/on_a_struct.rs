use dbm_core::prelude::*;

#[database_safe]
struct User {
    id: u64,
}

fn main() {
    let _ = User { id: 1 }.id;
}
