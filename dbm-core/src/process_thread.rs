//! Threads that serve the whole process, whatever managers it has.

/// Starts a thread for a job of the whole process. The thread ends with that job. It has a name of its own: otherwise the
/// system shows the name of the thread that happened to start it. False if the system cannot start a thread.
pub(crate) fn start_thread(name: &str, job: impl FnOnce() + Send + 'static) -> bool {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(job).is_ok()
}
