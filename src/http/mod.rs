//! The doors: hyper accept loop, router, routes, WebSocket.
