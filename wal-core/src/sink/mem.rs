//! The in-memory sink.
