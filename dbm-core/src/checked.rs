//! How the SQL of a method becomes an error of its manager, when that has files and asks to be checked.
//!
//! The macro of a method sees no more than the method: not whose it is, nor whether that manager is checked. So it asks
//! the compiler. [`Probe::WHOSE`] is an inherent constant where the compiler can prove that `M` is checked against the
//! folder, and that of the trait [`Otherwise`] where it cannot: in a manager of another folder or of none, and in a trait,
//! whose `Self` may be anything.

use std::marker::PhantomData;

/// A manager that is checked against a folder of files, by its number.
pub trait Checked<const FOLDER: u64> {}

/// Whether `M` is checked against a folder.
#[derive(Debug)]
pub struct Probe<M: ?Sized, const FOLDER: u64>(PhantomData<M>);

impl<M: ?Sized + Checked<FOLDER>, const FOLDER: u64> Probe<M, FOLDER> {
    /// It is.
    pub const WHOSE: PhantomData<()> = PhantomData;
}

/// The answer for every other `M`.
pub trait Otherwise {
    /// It is not, or nobody knows.
    const WHOSE: PhantomData<((),)> = PhantomData;
}

impl<M: ?Sized, const FOLDER: u64> Otherwise for Probe<M, FOLDER> {}
