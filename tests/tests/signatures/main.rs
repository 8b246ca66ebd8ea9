//! Every shape of method that may be annotated, called and spawned. What compiles here is the test; what is asserted
//! beside it shows that the method still does what its body says.

#![deny(warnings)]
#![allow(clippy::unwrap_used)]

mod errors;
mod generics;
mod imports;
mod managers;
mod parameters;
mod receivers;
mod traits;
mod tuples;

use dbm_core::prelude::*;
use std::sync::Arc;

dbm_tests::manager!(Store);

async fn store() -> Arc<Store> {
    Store::create(Config::in_memory()).await.unwrap()
}

/// The future is `Send`: it can be spawned.
fn send<F: Future + Send>(future: F) -> F {
    future
}
