use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::Result;

/// The least a pool can be, for peers that bring none: whoever comes waits for one of a few connections.
#[derive(Debug)]
pub struct Slots<T> {
    free: Mutex<Vec<T>>,
    permits: Semaphore,
}

/// A connection on loan; it goes back when this is dropped.
#[derive(Debug)]
pub struct Slot<'a, T> {
    /// Filled until the drop.
    connection: Option<T>,
    slots: &'a Slots<T>,
    _permit: SemaphorePermit<'a>,
}

impl<T> Slots<T> {
    pub fn new(connections: Vec<T>) -> Self {
        Self {
            permits: Semaphore::new(connections.len()),
            free: Mutex::new(connections),
        }
    }

    /// # Errors
    /// Never, as long as nobody holds more than one slot.
    pub async fn take(&self) -> Result<Slot<'_, T>> {
        let permit = self.permits.acquire().await?;
        let connection = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        Ok(Slot {
            connection: Some(connection.ok_or("no connection is free")?),
            slots: self,
            _permit: permit,
        })
    }
}

impl<T> Drop for Slot<'_, T> {
    fn drop(&mut self) {
        let mut free = self
            .slots
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        free.extend(self.connection.take());
    }
}

impl<T> Deref for Slot<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.connection
            .as_ref()
            .unwrap_or_else(|| unreachable!("filled until the drop"))
    }
}

impl<T> DerefMut for Slot<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.connection
            .as_mut()
            .unwrap_or_else(|| unreachable!("filled until the drop"))
    }
}
