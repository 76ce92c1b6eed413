//! How a command ends.

/// How a command ended.
pub(crate) enum Exit {
    /// All of it was done.
    Complete,
    /// Some of it was done.
    Partial,
}

/// Why a command failed.
pub(crate) enum Failure {
    /// Wrong usage or settings: every problem.
    Usage(Vec<String>),
    /// Anything else.
    Other(anyhow::Error),
}

impl Failure {
    /// The reason, in one line.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Usage(problems) => problems.join("; "),
            Self::Other(error) => format!("{error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}
