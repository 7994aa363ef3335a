//! Who asks, and the one function that says whether they may.
//!
//! Every handler and every room join takes a [`Principal`] and calls [`authorise`]. Today there is one local
//! owner; accounts, roles and project members come through this same door. It does not authenticate: the
//! HTTP layer turns a request into a principal.
use super::ids::ProjectId;

/// What a principal is in the installation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// May do everything.
    Owner,
}

/// An authenticated caller. `user_id` is the server's word, never the client's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// Stable name of the user, shown to others in the room.
    pub user_id: String,
    /// The user's role.
    pub role: Role,
}

impl Principal {
    /// The one local owner of an installation without accounts.
    pub fn local_owner() -> Self {
        Self { user_id: "owner".into(), role: Role::Owner }
    }
}

/// What the caller wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Look at it, list it, join its room.
    Read,
    /// Change it, settle it, claim it.
    Write,
    /// Create or delete it.
    Manage,
}

/// What the action is done to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    /// The installation: its list of projects, its metrics.
    Server,
    /// One project and all that belongs to it.
    Project(ProjectId),
}

/// The caller may not do that.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{user_id} may not {action:?} {resource:?}")]
pub struct Forbidden {
    /// Who asked.
    pub user_id: String,
    /// What for.
    pub action: Action,
    /// On what.
    pub resource: Resource,
}

/// Whether `principal` may do `action` on `resource`.
///
/// # Errors
/// [`Forbidden`] names all three; callers show it as 403 or `FORBIDDEN`.
pub fn authorise(principal: &Principal, action: Action, resource: Resource) -> Result<(), Forbidden> {
    match (principal.role, action, resource) {
        (Role::Owner, Action::Read | Action::Write | Action::Manage, Resource::Server | Resource::Project(_)) => Ok(()),
    }
}
