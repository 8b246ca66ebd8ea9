//! How an error in a method's SQL becomes a compile error, if its manager has schema files and asks for the check.
//!
//! A method's macro sees only the method. It knows neither the manager nor whether that manager is checked, so it
//! leaves the question to the compiler. If the compiler can prove that `M` is checked against the folder,
//! [`Probe::WHOSE`] is the inherent constant. Otherwise it is the constant of the trait [`Otherwise`]: in a manager
//! with another folder or none, and in a trait, whose `Self` may be any type.

use std::marker::PhantomData;

/// A manager that is checked against a folder of schema files, identified by a number.
pub trait Checked<const FOLDER: u64> {}

/// Tells whether `M` is checked against a folder.
#[derive(Debug)]
pub struct Probe<M: ?Sized, const FOLDER: u64>(PhantomData<M>);

impl<M: ?Sized + Checked<FOLDER>, const FOLDER: u64> Probe<M, FOLDER> {
    /// `M` is checked against the folder.
    pub const WHOSE: PhantomData<()> = PhantomData;
}

/// The answer for every other `M`.
pub trait Otherwise {
    /// `M` is not checked against the folder, or the compiler cannot tell.
    const WHOSE: PhantomData<((),)> = PhantomData;
}

impl<M: ?Sized, const FOLDER: u64> Otherwise for Probe<M, FOLDER> {}
