//! Shared causes, which make an error cloneable, and a limit on the length of texts.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A shared cause of any type. It derefs to the error, and [`source`](std::error::Error::source) sees through it.
#[derive(Clone)]
pub struct Cause(pub(super) Arc<dyn std::error::Error + Send + Sync>);

impl Deref for Cause {
    type Target = dyn std::error::Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Bounded(&self.0), f)
    }
}

/// A shared error of a known type. It derefs to that error.
#[derive(Debug)]
pub struct Shared<T>(pub(super) Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Shared<T> {
    fn from(error: T) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for Shared<std::io::Error> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Bounded(&*self.0), f)
    }
}

const MAX_TEXT: usize = 500;

/// Limits the length of an error text: some of SQLite's quote whole statements.
pub(super) struct Bounded<'a, T: ?Sized>(pub(super) &'a T);

impl<T: fmt::Display + ?Sized> fmt::Display for Bounded<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        if text.len() > MAX_TEXT {
            let end = text.floor_char_boundary(MAX_TEXT);
            text.truncate(end);
            text.push('…');
        }
        f.write_str(&text)
    }
}
