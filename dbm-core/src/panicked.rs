//! A caught panic, as an error.

use std::any::Any;

use crate::error::Error;
use crate::value::bounded;

pub(crate) fn panicked(method: &'static str, panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::Panicked {
        method,
        message: bounded(text.unwrap_or("the panic had no message")),
    }
}
