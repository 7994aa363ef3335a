//! Several replicas as one: what a replica tells the others, what it makes of what they tell, and what it does when
//! they can't be heard.
//!
//! In reading order: what is said (`wire`), the handle (`link`), what is sent (`sending`), what comes (`receiving`),
//! questions and answers (`asking`), users sent away (`expelling`), signs of life (`beating`), rooms compared with the
//! store (`comparing`), limits (`limits`). The hub's decisions about it are in `rooms::core` and `rooms::remote`; the way to
//! the others is `cluster`'s. Easy to get wrong: whatever comes this way may be lost, doubled
//! or late, so nothing here is the only source of anything that must not be lost.
mod asking;
mod beating;
mod comparing;
mod expelling;
mod limits;
mod link;
mod receiving;
mod sending;
pub mod wire;

pub use asking::{Answerer, Asked, Said};
pub(in crate::actors) use beating::live;
pub use comparing::Comparing;
pub use limits::MeshLimits;
pub use link::{Mail, Mesh};
pub(in crate::actors) use receiving::receive;
pub(in crate::actors) use sending::send;
