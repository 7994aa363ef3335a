//! The doors: hyper's accept loop, the pipeline every request goes through, the routes, the WebSocket, the page.
//!
//! A request's way: [`connection`] accepts its connection, [`pipeline`] admits it ([`auth`]), [`router`] finds its handler
//! in [`routes`], [`error`] turns what went wrong into an answer.
mod auth;
mod commit;
mod connection;
mod console;
mod contract;
mod cors;
pub(crate) mod error;
mod export;
mod extract;
mod jwt;
pub mod live;
mod openapi;
mod options;
mod pipeline;
mod position;
mod request_id;
mod router;
mod routes;
mod server;
mod state;
mod transfers;
mod upload;

pub use auth::Auth;
pub use jwt::{BadKey, Jwt, JwtOptions, signatures};
pub use live::sse::Streams;
pub use live::tickets::Tickets;
pub use options::{Limits, Options};
pub use server::{Bound, Server};
pub use state::{AppState, PAGES_AT_ONCE, Parts};
pub use transfers::Places;
