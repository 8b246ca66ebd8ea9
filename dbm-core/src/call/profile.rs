//! What the library has learned about the methods of this program.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::site::Site;
use crate::engine::Sharing;
use crate::sync::lock;

/// Every method that has been called. The one with the number `n` is at `n - 1`.
static SITES: Mutex<Vec<&'static Site>> = Mutex::new(Vec::new());

/// What one method's calls have shown since the program began.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// The module of the method.
    pub module: &'static str,
    /// The name of the method.
    pub method: &'static str,
    /// Whether its calls share commits with others.
    pub sharing: Sharing,
    /// How many statements ran on a thread of the library, including those of nested calls. They were not known to be
    /// short, were closures, or had to wait. All others ran in the caller's task.
    pub offloaded: u64,
}

/// The profile of every method that has been called, sorted by module and name.
///
/// ```
/// # use dbm_core::prelude::*;
/// # #[derive(DbManager)]
/// # #[db_manager(version = "1.0.0")]
/// # struct Store { core: ManagerCore }
/// # impl Schema for Store {
/// #     async fn init_db(&self, _: &mut WriteTransaction) -> Result<()> { Ok(()) }
/// # }
/// # impl Store {
/// #     #[database_safe]
/// #     async fn count(&self, db: &mut ReadTransaction) -> Result<i64> {
/// #         db.query_one("SELECT count(*) FROM sqlite_schema", ()).await
/// #     }
/// # }
/// # #[tokio::main]
/// # async fn main() -> Result<()> {
/// # let store = Store::create(Config::in_memory()).await?;
/// store.count().await?;
/// for profile in dbm_core::profiles() {
///     println!("{}: {:?}, {} on threads", profile.method, profile.sharing, profile.offloaded);
/// }
/// # store.close().await }
/// ```
#[must_use]
pub fn profiles() -> Vec<Profile> {
    let mut profiles: Vec<_> = sites()
        .into_iter()
        .map(|site| Profile {
            module: site.module,
            method: site.method,
            sharing: site.share_policy.sharing(),
            offloaded: site.offloaded.load(Ordering::Relaxed),
        })
        .collect();
    profiles.sort_by_key(|profile| (profile.module, profile.method));
    profiles
}

/// Every method that has been called, in the order of their numbers.
pub(super) fn sites() -> Vec<&'static Site> {
    lock(&SITES).clone()
}

/// The number of a method, which it has from its first call on.
#[inline]
pub(super) fn number_of(site: &'static Site) -> u32 {
    match site.number.load(Ordering::Relaxed) {
        0 => note(site),
        number => number,
    }
}

#[cold]
fn note(site: &'static Site) -> u32 {
    let mut sites = lock(&SITES);
    // Another thread may have been first.
    let mut number = site.number.load(Ordering::Relaxed);
    if number == 0 {
        sites.push(site);
        number = u32::try_from(sites.len()).unwrap_or(u32::MAX);
        site.number.store(number, Ordering::Relaxed);
    }
    number
}
