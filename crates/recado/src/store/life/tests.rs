//! Lives, step by step.
