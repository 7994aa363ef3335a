//! Who may come in: `Host`, `Origin`, bearer token; and the [`Caller`] that handlers get.
//!
//! Leaves what a principal may do to `protocol::principal::authorise`, and the `Auth` message of a WebSocket to `ws`,
//! which calls [`Auth::verify`]. Easy to get wrong: on loopback there is no token, so only the checks of `Host` (a
//! page whose name was rebound to 127.0.0.1) and `Origin` (a foreign page) stand between a browser and the data.
use super::{
    error::{ApiError, ApiResult},
    jwt::Jwt,
};
use crate::protocol::principal::{BadToken, Grant, Principal};
use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;

/// The rules of the door.
pub struct Auth {
    /// SHA-256 of the token, so that comparing takes the same time whatever its length.
    token: Option<[u8; 32]>,
    signed: Option<Jwt>,
    loopback: bool,
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Auth {
    /// `token` is required when given; elsewhere than on loopback it must be given.
    pub fn new(listen: SocketAddr, token: Option<&str>, hosts: &[String], origins: &[String]) -> Self {
        let lower = |words: &[String]| words.iter().map(|word| word.to_ascii_lowercase()).collect();
        Self {
            token: token.map(digest),
            signed: None,
            loopback: listen.ip().is_loopback(),
            hosts: lower(hosts),
            origins: lower(origins),
        }
    }

    /// Takes signed tokens too. With a door for them callers must prove who they are, also on loopback.
    #[must_use]
    pub fn signed(mut self, door: Option<Jwt>) -> Self {
        self.signed = door;
        self
    }

    /// Whether callers must prove who they are.
    pub fn token_required(&self) -> bool {
        self.token.is_some() || self.signed.is_some() || !self.loopback
    }

    /// What this token proves: the static one, the owner; a signed one, whom it names. Where no token is asked for, any
    /// proves the local owner.
    ///
    /// # Errors
    /// [`BadToken`] says what is wrong with it.
    pub fn verify(&self, token: &str) -> Result<Grant, BadToken> {
        if !self.token_required() {
            return Ok(Principal::local_owner().into());
        }
        let is_static = self.token.as_ref().is_some_and(|expected| bool::from(expected.ct_eq(&digest(token))));
        match &self.signed {
            _ if is_static => Ok(Principal::local_owner().into()),
            Some(signed) => signed.verify(token),
            None => Err(BadToken::Invalid("it is not the server's".into())),
        }
    }

    /// Checks `Host`, `Origin` and `Sec-Fetch-Site`. Holds for every request and upgrade, with or without a token.
    ///
    /// # Errors
    /// 400 without one plain host, 421 for a host that is not ours, 403 for a foreign page.
    pub fn check_source(&self, uri: &Uri, headers: &HeaderMap) -> ApiResult<()> {
        let host = host_of(uri, headers)?;
        if self.loopback && !is_loopback_name(name_of(&host)) && !self.knows_host(&host) {
            return Err(ApiError::new(
                StatusCode::MISDIRECTED_REQUEST,
                "forbidden_host",
                format!("{host:?} is not a name of this server; add it with --allowed-hosts if it should be"),
            ));
        }
        match origin_of(headers) {
            None if is_foreign_load(uri, headers) => Err(ApiError::forbidden(
                "a page of another origin asked for this without saying which; only the server's own page may",
            )),
            None => Ok(()),
            Some(origin) if same_origin(&origin, &host) || self.origins.contains(&origin) => Ok(()),
            Some(origin) => Err(ApiError::forbidden(format!(
                "pages of {origin:?} may not use this server; add it with --allowed-origins if they should"
            ))),
        }
    }

    /// Whether pages of other origins are let in at all.
    pub(super) fn shares(&self) -> bool {
        !self.origins.is_empty()
    }

    /// The `Origin` of a request, when it is one of those that are let in.
    pub(super) fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let allowed = self.origins.contains(&origin_of(headers)?);
        headers.get(header::ORIGIN).filter(|_| allowed).cloned()
    }

    /// The grant of a request by its `Authorization` header; `None` when there is none where one is needed.
    ///
    /// # Errors
    /// 401 for a header that is there and wrong, with the code `token_expired` when only the time is.
    pub fn identify(&self, headers: &HeaderMap) -> ApiResult<Option<Grant>> {
        if !self.token_required() {
            return Ok(Some(Principal::local_owner().into()));
        }
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default();
        let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) =
            token.ok_or_else(|| ApiError::unauthorized("the Authorization header must be: Bearer TOKEN"))?;
        Ok(Some(self.verify(token.trim())?))
    }

    fn knows_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| known == host || known == name_of(host))
    }
}

/// Paths that answer without a token, and for which a wrong one does not matter: the health checks and the page.
pub(super) fn is_open_path(method: &Method, path: &str) -> bool {
    matches!(path, "/api/health" | "/api/ready")
        || (matches!(*method, Method::GET | Method::HEAD) && super::console::is_asset(path))
}

/// Paths that find out by themselves who calls when no header says so: by a ticket, or by the first message.
pub(super) fn identifies_itself(path: &str) -> bool {
    matches!(path, "/ws" | "/events")
}

impl From<BadToken> for ApiError {
    fn from(error: BadToken) -> Self {
        let refused = Self::unauthorized(error.to_string());
        match error {
            BadToken::Expired { expired_at_ms } => refused.code("token_expired").with("expired_at_ms", expired_at_ms),
            BadToken::Invalid(_) => refused,
        }
    }
}

/// The caller of a request, as its token names them; without one the answer is 401.
pub(super) struct Caller(pub(super) Principal);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let found = parts.extensions.get::<Grant>().map(|grant| Self(grant.principal.clone()));
        found.ok_or_else(no_token)
    }
}

/// What a caller is told who must prove who they are and did not try.
pub(super) fn no_token() -> ApiError {
    ApiError::unauthorized("send a token of this server: Authorization: Bearer TOKEN")
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The host that a request names, in lower case.
fn host_of(uri: &Uri, headers: &HeaderMap) -> ApiResult<String> {
    let mut given = headers.get_all(header::HOST).iter();
    let (header, second) = (given.next(), given.next());
    // RFC 9112, section 3.2: whichever of two is taken, a proxy in front may have taken the other.
    if second.is_some() {
        return Err(ApiError::bad_request("the request has more than one Host header"));
    }
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => header
            .and_then(|host| host.to_str().ok())
            .ok_or_else(|| ApiError::bad_request("the request has no Host header"))?,
    };
    let port = host.strip_prefix(name_of(host)).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=[]:".contains(c);
    if !host.chars().all(plain) || !port.bytes().all(|c| c == b':' || c.is_ascii_digit()) {
        return Err(ApiError::bad_request(format!("{host:?} is not a host with a port, and nothing beside")));
    }
    Ok(host.to_ascii_lowercase())
}

fn origin_of(headers: &HeaderMap) -> Option<String> {
    headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("null").to_ascii_lowercase())
}

/// Whether a browser says that another site's page has this loaded, as an image or by a link, which send no `Origin`. That
/// page can't read the answer, but making it costs. The console itself may be linked to.
fn is_foreign_load(uri: &Uri, headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    matches!(site, Some(b"cross-site" | b"same-site")) && !super::console::is_asset(uri.path())
}

/// The host without its port; `[::1]:2000` gives `[::1]`.
fn name_of(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn is_loopback_name(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a page of `origin` was served by `host`. The scheme may differ: TLS may end at a proxy.
fn same_origin(origin: &str, host: &str) -> bool {
    let (default_port, authority) = match origin.split_once("://") {
        Some(("http", authority)) => (":80", authority),
        Some(("https", authority)) => (":443", authority),
        _ => return false,
    };
    let plain = |authority: &str| authority.strip_suffix(default_port).unwrap_or(authority).to_owned();
    !authority.is_empty() && plain(authority) == plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(auth: &Auth, host: &str, origin: Option<&str>) -> Option<u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        auth.check_source(&Uri::from_static("/"), &headers).err().map(|error| error.status().as_u16())
    }

    #[test]
    fn only_loopback_names_and_allowed_hosts_reach_a_loopback_server() {
        let auth = Auth::new("127.0.0.1:2000".parse().unwrap(), None, &["Box.Example".into()], &[]);
        for host in ["localhost", "LOCALHOST:2000", "127.0.0.1:2000", "127.8.8.8", "[::1]:2000", "box.example:99"] {
            assert_eq!(check(&auth, host, None), None, "{host}");
        }
        for host in ["attacker.example", "localhost.attacker.example", "10.0.0.1:2000", "127.0.0.1.example", "", "::1"]
        {
            assert_eq!(check(&auth, host, None), Some(421), "{host}");
        }
    }

    #[test]
    fn a_host_is_named_once_and_alone() {
        let auth = Auth::new("127.0.0.1:2000".parse().unwrap(), None, &[], &[]);
        for host in [
            "127.0.0.1:1@evil.example",
            "evil@127.0.0.1",
            "[::1]@evil.example",
            "127.0.0.1:evil.example",
            "[::1].evil.example",
            "127.0.0.1/evil",
            "127.0.0.1?x",
            "local host",
        ] {
            assert_eq!(check(&auth, host, None), Some(400), "{host}");
        }
        let status = |uri: &str, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            auth.check_source(&uri.parse().unwrap(), &headers).err().map(|error| error.status().as_u16())
        };
        assert_eq!(status("/", &["localhost", "localhost"]), Some(400));
        assert_eq!(status("http://localhost:2000/", &["localhost:2000", "evil.example"]), Some(400));
        assert_eq!(status("http://127.0.0.1:1@evil.example/", &["localhost"]), Some(400));
        assert_eq!(status("http://ana@localhost/", &["localhost"]), Some(400));
        assert_eq!(status("/", &[]), Some(400));
        assert_eq!(status("http://localhost:2000/", &["localhost:2000"]), None);
    }

    #[test]
    fn what_another_site_has_a_browser_load_is_refused_but_for_the_page_itself() {
        let auth = Auth::new("127.0.0.1:2000".parse().unwrap(), None, &[], &["https://ok.example".into()]);
        let status = |path: &str, site: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "localhost:2000".parse().unwrap());
            headers.insert("sec-fetch-site", site.parse().unwrap());
            headers.extend(origin.map(|origin| (header::ORIGIN, origin.parse().unwrap())));
            auth.check_source(&path.parse().unwrap(), &headers).err().map(|error| error.status().as_u16())
        };
        for site in ["cross-site", "same-site"] {
            assert_eq!(status("/api/v1/jobs/1/export", site, None), Some(403), "{site}");
            assert_eq!(status("/", site, None), None, "{site}");
            assert_eq!(status("/api/v1/projects", site, Some("https://ok.example")), None, "{site}");
        }
        for site in ["same-origin", "none"] {
            assert_eq!(status("/api/v1/jobs/1/export", site, None), None, "{site}");
        }
    }

    #[test]
    fn an_origin_must_be_the_host_itself_or_allowed() {
        let auth = Auth::new("127.0.0.1:2000".parse().unwrap(), None, &[], &["https://ok.example".into()]);
        for origin in ["http://localhost:2000", "https://localhost:2000", "https://OK.example"] {
            assert_eq!(check(&auth, "localhost:2000", Some(origin)), None, "{origin}");
        }
        assert_eq!(check(&auth, "localhost", Some("http://localhost:80")), None);
        for origin in ["null", "http://localhost", "http://localhost:2001", "http://evil", "file://localhost:2000", ""]
        {
            assert_eq!(check(&auth, "localhost:2000", Some(origin)), Some(403), "{origin}");
        }
    }

    #[test]
    fn a_token_is_required_where_it_is_given_or_the_address_is_open() {
        let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert!(!Auth::new(here, None, &[], &[]).token_required());
        assert!(Auth::new(here, Some("t"), &[], &[]).token_required());
        let everywhere = Auth::new("0.0.0.0:1".parse().unwrap(), None, &[], &[]);
        assert!(everywhere.token_required() && everywhere.verify("").is_err());
        let auth = Auth::new(here, Some("secret"), &[], &[]);
        assert!(auth.verify("secret").is_ok());
        for wrong in ["", "secre", "secret ", "secretx"] {
            assert!(auth.verify(wrong).is_err(), "{wrong}");
        }
    }
}
