//! The engine's threads. Without one of them the server only seems to run, so a panic ends the process.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that the whole process depends on.
///
/// # Errors
/// When the operating system starts none.
pub(super) fn start(
    name: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        let _ends = EndsProcess(name);
        run();
    })
}

/// Ends the process when its thread panics.
struct EndsProcess(&'static str);

impl Drop for EndsProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(
                thread = self.0,
                "a thread of the database has panicked; stopping, so that the server is started again"
            );
            std::process::exit(70);
        }
    }
}
