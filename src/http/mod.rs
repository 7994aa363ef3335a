//! The doors: hyper accept loop, router, routes, WebSocket.
pub mod ws;
