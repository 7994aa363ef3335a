//! Who asks, what they are, and the one function that says whether they may.
//!
//! Every handler and every room join takes a [`Principal`] and calls [`authorise`]. It does not authenticate: the HTTP
//! layer turns a token or a ticket into a [`Grant`]. Easy to get wrong: a principal is who somebody is, a grant also says
//! until when that is proven; whoever keeps one longer than a request must look at the time.
use super::ids::ProjectId;
use std::{fmt, str::FromStr};

/// What a principal is in the installation. Each role may do what those above it in this list may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(u8)]
pub enum Role {
    /// May look.
    #[default]
    Viewer,
    /// May also claim, talk to the room and review.
    Reviewer,
    /// May do everything.
    Owner,
}

impl Role {
    /// Its name in tokens and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Reviewer => "reviewer",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Viewer, Self::Reviewer, Self::Owner]
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("{text:?} is none of owner, reviewer, viewer"))
    }
}

/// The name of the built-in owner. No signed token may name it: presence, claims and idempotency keys go by names.
pub const LOCAL_OWNER: &str = "owner";

/// An authenticated caller. `user_id` is the server's word, never the client's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// Stable name of the user, shown to others in the room.
    pub user_id: String,
    /// The user's role.
    pub role: Role,
}

impl Principal {
    /// The one local owner of an installation without accounts, and the bearer of its static token.
    pub fn local_owner() -> Self {
        Self { user_id: LOCAL_OWNER.into(), role: Role::Owner }
    }

    /// Whether this is the built-in owner.
    pub fn is_local_owner(&self) -> bool {
        self.user_id == LOCAL_OWNER
    }
}

/// A principal, and until when that is proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Who it is.
    pub principal: Principal,
    /// When the proof lapses, unix milliseconds; none for a static token.
    pub expires_at_ms: Option<i64>,
}

impl From<Principal> for Grant {
    /// A proof that does not lapse.
    fn from(principal: Principal) -> Self {
        Self { principal, expires_at_ms: None }
    }
}

/// Why a token proves nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadToken {
    /// It was good once.
    #[error("this token expired at {} (unix seconds)", .expired_at_ms / 1000)]
    Expired {
        /// When, unix milliseconds.
        expired_at_ms: i64,
    },
    /// It never was; the text says what is wrong without repeating it.
    #[error("this bearer token is not valid here: {0}")]
    Invalid(String),
}

/// What the caller wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Look at it, list it, join its room.
    Read,
    /// Claim, talk to the room, review.
    Review,
    /// Change it: sources, jobs.
    Write,
    /// Create, rename or delete it; speak for the server.
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

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("the server"),
            Self::Project(id) => write!(f, "project {id}"),
        }
    }
}

/// The caller may not do that.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{user_id}, a {role}, may not do that on {resource}: it takes the role {needed}")]
pub struct Forbidden {
    /// Who asked.
    pub user_id: String,
    /// What they are.
    pub role: Role,
    /// What for.
    pub action: Action,
    /// On what.
    pub resource: Resource,
    /// The least role that may.
    pub needed: Role,
}

/// Whether `principal` may do `action` on `resource`.
///
/// # Errors
/// [`Forbidden`] names who, what and which role it takes; callers show it as 403 or `FORBIDDEN`.
pub fn authorise(principal: &Principal, action: Action, resource: Resource) -> Result<(), Forbidden> {
    authorise_as(&principal.user_id, principal.role, action, resource)
}

/// The same for a user whose role is another now than when it came.
///
/// # Errors
/// As [`authorise`].
pub fn authorise_as(user_id: &str, role: Role, action: Action, resource: Resource) -> Result<(), Forbidden> {
    // Roles hold for the whole installation; members of single projects would be looked up here.
    let needed = match (action, resource) {
        (Action::Read, Resource::Server | Resource::Project(_)) => Role::Viewer,
        (Action::Review, Resource::Server | Resource::Project(_)) => Role::Reviewer,
        (Action::Write | Action::Manage, Resource::Server | Resource::Project(_)) => Role::Owner,
    };
    if role >= needed {
        return Ok(());
    }
    Err(Forbidden { user_id: user_id.to_owned(), role, action, resource, needed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_read_reviewers_also_review_and_owners_do_all() {
        use Action::{Manage, Read, Review, Write};
        for (role, allowed) in [
            (Role::Viewer, &[Read][..]),
            (Role::Reviewer, &[Read, Review]),
            (Role::Owner, &[Read, Review, Write, Manage]),
        ] {
            let principal = Principal { user_id: "ana".into(), role };
            for action in [Read, Review, Write, Manage] {
                for resource in [Resource::Server, Resource::Project(ProjectId::generate())] {
                    let may = authorise(&principal, action, resource);
                    assert_eq!(may.is_ok(), allowed.contains(&action), "{role} {action:?} {resource}: {may:?}");
                }
            }
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("admin".parse::<Role>().is_err());
    }
}
