//! A server-monitoring bot on dbm.
fn main() {}
