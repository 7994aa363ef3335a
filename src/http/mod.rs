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
mod sse;
mod state;
mod tickets;
mod transfers;
mod upload;
pub mod ws;

pub use auth::Auth;
pub use jwt::{BadKey, Jwt, JwtOptions};
pub use options::{Limits, Options};
pub use server::{Bound, Server};
pub use sse::Streams;
pub use state::{AppState, Parts};
pub use tickets::Tickets;
