//! SQLite: the file and its lock (`lockfile`), the connections to it (`opener`, `blocking`), rows in bulk (`bulk`).
pub(super) mod blocking;
pub(super) mod bulk;
pub(super) mod lockfile;
pub(super) mod opener;
