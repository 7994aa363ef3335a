//! The actor runtime: one dedicated thread, supervised actors, handles valid across restarts.
