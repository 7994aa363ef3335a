//! The folder of customers' files: what lies in it, whose it is, and how a file leaves it.
//!
//! Reading order: the folder by path ([`Folder`]), the folder by handle ([`Opened`]), the marks of installations, the
//! trash, hashing while reading. It leaves what a file is for, and when it may go, to its callers.
mod folder;
mod hashing;
mod marks;
mod opened;
mod trash;

pub use folder::{Folder, UPLOADS, open_file};
pub use hashing::{Digest, Hashing, hex};
pub use marks::{MARKS, Owner, UNMARKED};
pub use opened::{Entry, Name, OpenError, Opened};
pub use trash::{TRASH, Trashed};
