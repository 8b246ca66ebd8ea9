//! Threads of the library's own.

/// Starts a thread for one job. The thread ends with that job. It has a name of its own: otherwise the system shows the name
/// of the thread that happened to start it. False if the system cannot start a thread.
pub(crate) fn start_thread(name: &str, job: impl FnOnce() + Send + 'static) -> bool {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(job).is_ok()
}
