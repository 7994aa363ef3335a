//! A test kit for actors: one thread, virtual time, probes, faults on demand. It needs the feature `test-kit`, which is for
//! tests only (`[dev-dependencies] tieout-runtime = { …, features = ["test-kit"] }`).
//!
//! * [`TestRuntime`]: a `Runtime` whose actors, watchdog and test share one thread and tokio's paused clock. Whenever all of them
//!   wait, time jumps to the next timer: a restart after ten seconds of backoff takes microseconds, and always the same turns.
//! * [`Probe`]: an actor that records what it is sent and answers as it is told.
//! * [`inject_panic`], [`stall`]: make any actor panic or get stuck, without a message of its own for that.
//! * [`TestRuntime::assert_clean`]: nothing lost, nothing left.
//!
//! ```
//! use std::time::Duration;
//! use actix::prelude::{Actor, Context, Handler, Message};
//! use tieout_runtime::{AskError, Backoff, ChildSpec, test_kit::{TestRuntime, inject_panic}};
//!
//! struct Sum(u64);
//! impl Actor for Sum {
//!     type Context = Context<Self>;
//! }
//! #[derive(Message)]
//! #[rtype(result = "u64")]
//! struct Add(u64);
//! impl Handler<Add> for Sum {
//!     type Result = u64;
//!     fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u64 {
//!         self.0 += n;
//!         self.0
//!     }
//! }
//!
//! let rt = TestRuntime::new();
//! rt.block_on(async {
//!     let backoff = Backoff { first: Duration::from_secs(8), jitter: 0.0, ..Backoff::default() };
//!     let sum = rt.supervise(ChildSpec::new("sum", |_: &mut Context<Sum>| Sum(0)).backoff(backoff)).await.unwrap();
//!     assert_eq!(sum.ask(Add(2)).await.unwrap(), 2);
//!     inject_panic(&sum).unwrap();
//!     let before = rt.now();
//!     assert_eq!(sum.ask(Add(1)).timeout(Duration::from_secs(20)).await.unwrap(), 1, "a new instance");
//!     assert!(rt.now() - before >= Duration::from_secs(8), "after the pause, which took no time at all");
//! });
//! rt.assert_clean();
//! ```
//!
//! Easy to get wrong: the test's own waiting must be on tokio (timers, channels, handles of this runtime). What waits for another
//! thread or for the operating system waits in real time, and virtual time may jump meanwhile.
mod fault;
mod local;
mod probe;

pub use fault::{INJECTED, inject_panic, stall};
pub use local::TestRuntime;
pub use probe::{Probe, Recorder, Reply};
