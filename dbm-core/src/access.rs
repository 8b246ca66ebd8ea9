//! What a call may do with the database.

/// What a call may do: the kind of its handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// One consistent snapshot, which cannot write: a [`ReadTransaction`](crate::ReadTransaction).
    Read,
    /// The write transaction: a [`WriteTransaction`](crate::WriteTransaction).
    Write,
    /// No transaction: a [`Connection`](crate::Connection). Each statement commits by itself.
    Connection,
}
