//! A channel from a thread to a task, with room for one chunk of items. A thread that finds it full parks. It is
//! unparked once the task has taken that chunk or has closed the channel.

use std::task::{Context, Poll};
use std::thread::{self, Thread};

use crate::sync::{Mutex, MutexGuard, lock};
use crate::waking::Bell;

pub(crate) struct Channel<T> {
    state: Mutex<State<T>>,
    sent: Bell,
}

struct State<T> {
    chunk: Option<Vec<T>>,
    closed: bool,
    /// The thread that waits for room.
    sender: Option<Thread>,
}

/// Why a chunk was not sent.
pub(crate) enum Unsent<T> {
    /// It comes back. This thread will be unparked.
    Full(Vec<T>),
    Closed,
}

impl<T> Default for Channel<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                chunk: None,
                closed: false,
                sender: None,
            }),
            sent: Bell::default(),
        }
    }
}

impl<T> Channel<T> {
    pub(crate) fn try_send(&self, chunk: Vec<T>) -> Result<(), Unsent<T>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Unsent::Closed);
        }
        if state.chunk.is_some() {
            state.sender = Some(thread::current());
            return Err(Unsent::Full(chunk));
        }
        state.chunk = Some(chunk);
        drop(state);
        self.sent.ring();
        Ok(())
    }

    pub(crate) fn take(&self) -> Option<Vec<T>> {
        Self::take_from(self.lock())
    }

    fn take_from(mut state: MutexGuard<'_, State<T>>) -> Option<Vec<T>> {
        let (chunk, sender) = (state.chunk.take(), state.sender.take());
        drop(state);
        if let Some(sender) = sender {
            sender.unpark();
        }
        chunk
    }

    /// The next chunk; the task is woken when there is one.
    pub(crate) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Vec<T>> {
        loop {
            if let Some(chunk) = self.take() {
                return Poll::Ready(chunk);
            }
            if self.sent.poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Nothing is sent from here on, and what was not taken is dropped.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        drop(Self::take_from(state));
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tried between two threads")]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;
    use crate::test_support::run;

    #[test]
    fn every_chunk_arrives_once_and_in_order() {
        let channel = Arc::new(Channel::default());
        let sender = Arc::clone(&channel);
        let thread = thread::spawn(move || {
            for number in 0..1_000 {
                let mut chunk = vec![number];
                while let Err(Unsent::Full(back)) = sender.try_send(chunk) {
                    chunk = back;
                    thread::park();
                }
            }
        });
        run(async move {
            for number in 0..1_000 {
                let chunk = std::future::poll_fn(|context| channel.poll_take(context)).await;
                assert_eq!(chunk, [number]);
            }
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_closed_channel_drops_what_it_has_and_takes_nothing() {
        let (channel, item) = (Channel::default(), Arc::new(()));
        assert!(channel.try_send(vec![Arc::clone(&item)]).is_ok());
        channel.close();
        assert_eq!(Arc::strong_count(&item), 1);
        let unsent = channel.try_send(vec![Arc::clone(&item)]);
        assert!(matches!(unsent, Err(Unsent::Closed)));
        let mut nobody = Context::from_waker(Waker::noop());
        assert!(channel.poll_take(&mut nobody).is_pending());
    }

    #[test]
    fn a_sender_that_waits_goes_on_when_the_channel_is_closed() {
        let channel = Arc::new(Channel::default());
        assert!(channel.try_send(vec![1]).is_ok());
        let sender = Arc::clone(&channel);
        let (tell, told) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            while let Err(Unsent::Full(_)) = sender.try_send(vec![2]) {
                let _ = tell.send(());
                thread::park();
            }
        });
        told.recv().unwrap();
        channel.close();
        thread.join().unwrap();
    }
}
