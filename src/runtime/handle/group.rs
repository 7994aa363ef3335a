//! Groups of actors that fail together: what a caller says and holds. Who is stopped and started is decided in `tree::node`
//! and done in `tree::restart`. Easy to get wrong: in a group the group's intensity counts; an actor's own holds only if it was given.
use std::{sync::Arc, time::Duration};

use actix::{Actor, Context};

use crate::{
    handle::{addr::Addr, error::StartError, spec::ChildSpec, watch::Watch},
    tree::{
        group_spec::{GroupSpec, GroupState},
        node::Node,
        shutdown::{self, StopReport},
        start,
    },
};

/// Handle to a group of supervised actors and groups. Dropping it stops nothing.
///
/// ```
/// use actix::prelude::{Actor, Context, Handler, Message};
/// use tieout_runtime::{ChildSpec, GroupSpec, Runtime, Strategy};
///
/// struct Store(u64);
/// impl Actor for Store {
///     type Context = Context<Self>;
/// }
/// #[derive(Message)]
/// #[rtype(result = "u64")]
/// struct Add(u64);
/// impl Handler<Add> for Store {
///     type Result = u64;
///     fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u64 {
///         assert!(n != 13, "unlucky");
///         self.0 += n;
///         self.0
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rt = Runtime::builder().start()?;
/// let pair = rt.group(GroupSpec::new("pair", Strategy::OneForAll))?;
/// let one = pair.supervise(ChildSpec::new("one", |_: &mut Context<Store>| Store(0))).await?;
/// let two = pair.supervise(ChildSpec::new("two", |_: &mut Context<Store>| Store(0))).await?;
/// assert_eq!(one.ask(Add(5)).await?, 5);
/// let mut again = pair.restarts();
/// assert!(two.ask(Add(13)).await.is_err());
/// again.wait_for(|n| *n == 1).await?;
/// assert_eq!(one.ask(Add(5)).await?, 5, "its sibling failed, so it started afresh too");
/// assert!(pair.stop(std::time::Duration::from_secs(5)).await.clean());
/// # rt.shutdown(std::time::Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Group {
    pub(crate) node: Arc<Node>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Group({})", self.node.name)
    }
}

impl Group {
    /// The group's name.
    pub fn name(&self) -> &str {
        &self.node.name
    }

    /// Starts an actor as the group's last member and awaits its `started()`. A failed first start is not retried and does
    /// not touch the group: it is the answer. While the group is being restarted this waits, within the `start_timeout`.
    ///
    /// Cancel safety: as of `Runtime::supervise`, while it waits for the group too.
    pub async fn supervise<A: Actor<Context = Context<A>>>(&self, spec: ChildSpec<A>) -> Result<Addr<A>, StartError> {
        start::supervise(&self.node.core()?, Some(&self.node), spec).await
    }

    /// Makes an empty group as the group's last member.
    pub fn group(&self, spec: GroupSpec) -> Result<Group, StartError> {
        start::group(&self.node.core()?, Some(&self.node), spec).map(|node| Group { node })
    }

    /// The group's state, now and on every change.
    pub fn watch(&self) -> Watch<GroupState> {
        Watch::new(&self.node.state)
    }

    /// How often members were restarted together, now and on every change.
    pub fn restarts(&self) -> Watch<u64> {
        Watch::new(&self.node.restarts)
    }

    /// Stops the members in reverse start order, each draining within its `stop_timeout` and all within `within`. None comes
    /// back.
    ///
    /// Cancel safety: from the first poll on it goes to its end whatever becomes of this future.
    pub async fn stop(&self, within: Duration) -> StopReport {
        shutdown::stop_group(&self.node, within).await
    }
}
