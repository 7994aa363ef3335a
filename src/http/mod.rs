//! The doors: hyper's accept loop, the pipeline every request goes through, the routes, the WebSocket, the page.
//!
//! A request's way: [`listener`] accepts its connection, [`pipeline`] admits it ([`auth`]), [`router`] finds its handler
//! in [`routes`], [`error`] turns what went wrong into an answer.
mod auth;
mod commit;
mod console;
mod contract;
mod cors;
mod elsewhere;
pub(crate) mod error;
mod export;
mod extract;
mod frames;
mod jwt;
mod listener;
mod openapi;
mod options;
mod pipeline;
mod position;
mod request_id;
mod router;
mod routes;
mod server;
mod shares;
mod sse;
mod state;
mod streams;
mod tickets;
mod transfers;
mod upload;
mod wire;
pub mod ws;

pub use auth::Auth;
pub use jwt::{BadKey, Jwt, JwtOptions, signatures};
pub use options::{Limits, Options};
pub use server::{Bound, Server};
pub use sse::Streams;
pub use state::{AppState, PAGES_AT_ONCE, Parts};
pub use tickets::Tickets;
pub use transfers::Places;
