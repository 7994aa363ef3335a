//! Signed tokens (JWT, RFC 7519): which keys count, and what a token must say.
//!
//! Leaves the static token to `auth`. Easy to get wrong: the algorithm is the key's, never the token's word; a token that
//! names another one is refused, so that a public key can't be used as a shared secret.
use crate::protocol::{
    names,
    principal::{BadToken, Grant, LOCAL_OWNER, Principal, Role},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;
use std::time::Duration;

pub mod signatures;

/// Shortest shared secret: as long as the hash, RFC 7518 section 3.2.
pub(super) const MIN_SECRET_BYTES: usize = 32;
/// Longest `sub`, in bytes.
pub(super) const MAX_USER_BYTES: usize = 128;

/// What makes up the door for signed tokens.
#[derive(Clone, Debug, Default)]
pub struct JwtOptions {
    /// Shared secret of HS256.
    pub secret: Option<Vec<u8>>,
    /// Public key in PEM: RSA for RS256, Ed25519 for EdDSA.
    pub public_key: Option<Vec<u8>>,
    /// When given, `iss` must be it.
    pub issuer: Option<String>,
    /// When given, `aud` must be or contain it.
    pub audience: Option<String>,
    /// How far this clock and the issuer's may disagree.
    pub leeway: Duration,
}

/// A key that can't be used. Serving without the door that somebody asked for is not an option.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadKey {
    /// The secret can be guessed.
    #[error("the secret of signed tokens has {0} bytes; HS256 takes at least {MIN_SECRET_BYTES}")]
    ShortSecret(usize),
    /// Neither an RSA nor an Ed25519 public key in PEM.
    #[error("the public key of signed tokens is neither RSA nor Ed25519 in PEM (BEGIN PUBLIC KEY): {0}")]
    NotAKey(String),
}

/// The keys in force.
pub struct Jwt {
    keys: Vec<(Algorithm, DecodingKey)>,
    validation: Validation,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    #[serde(default)]
    role: Option<String>,
}

impl Jwt {
    /// The door, or none when there is no key.
    ///
    /// # Errors
    /// See [`BadKey`].
    pub fn new(options: &JwtOptions) -> Result<Option<Self>, BadKey> {
        signatures::install();
        let mut keys = Vec::new();
        if let Some(secret) = &options.secret {
            if secret.len() < MIN_SECRET_BYTES {
                return Err(BadKey::ShortSecret(secret.len()));
            }
            keys.push((Algorithm::HS256, DecodingKey::from_secret(secret)));
        }
        if let Some(pem) = &options.public_key {
            keys.push(public_key(pem)?);
        }
        if keys.is_empty() {
            return Ok(None);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = options.leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["sub", "exp"]);
        // Without a name of ours to compare with, a token's audience is its issuer's affair.
        validation.validate_aud = false;
        if let Some(audience) = &options.audience {
            validation.validate_aud = true;
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".into());
        }
        if let Some(issuer) = &options.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".into());
        }
        Ok(Some(Self { keys, validation }))
    }

    /// The grant that this token proves.
    ///
    /// # Errors
    /// [`BadToken`] says why it proves none.
    pub fn verify(&self, token: &str) -> Result<Grant, BadToken> {
        let header = decode_header(token).map_err(|_| invalid("it is neither the server's token nor a signed one"))?;
        // RFC 7515, section 4.1.11: what must be understood and is not.
        if let Some(critical) = header.crit {
            return Err(invalid(format!(
                "its header demands {critical:?} (\"crit\"), which this server does not know"
            )));
        }
        let Some((algorithm, key)) = self.keys.iter().find(|(algorithm, _)| *algorithm == header.alg) else {
            return Err(invalid(format!("no key of this server takes the algorithm {:?}", header.alg)));
        };
        let mut validation = self.validation.clone();
        validation.algorithms = vec![*algorithm];
        let claims = match decode::<Claims>(token, key, &validation) {
            Ok(token) => token.claims,
            Err(error) => return Err(self.refusal(token, key, *algorithm, &error)),
        };
        grant(&claims)
    }

    /// What is wrong, in words; when only the time is, the time.
    fn refusal(
        &self,
        token: &str,
        key: &DecodingKey,
        algorithm: Algorithm,
        error: &jsonwebtoken::errors::Error,
    ) -> BadToken {
        match error.kind() {
            ErrorKind::ExpiredSignature => {
                let mut late = self.validation.clone();
                late.algorithms = vec![algorithm];
                late.validate_exp = false;
                match decode::<Claims>(token, key, &late) {
                    Ok(token) => BadToken::Expired { expired_at_ms: ms(token.claims.exp) },
                    Err(error) => invalid(error.to_string()),
                }
            }
            ErrorKind::InvalidSignature => invalid("its signature does not match"),
            ErrorKind::MissingRequiredClaim(claim) => invalid(format!("it has no usable {claim:?}")),
            ErrorKind::ImmatureSignature => invalid("it is not valid yet"),
            ErrorKind::InvalidIssuer => invalid("it comes from another issuer"),
            ErrorKind::InvalidAudience => invalid("it is meant for another audience"),
            ErrorKind::Json(error) => invalid(format!("its claims do not fit: {error}")),
            _ => invalid("it is not a well-formed signed token"),
        }
    }
}

fn invalid(text: impl Into<String>) -> BadToken {
    BadToken::Invalid(text.into())
}

fn ms(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}

fn grant(claims: &Claims) -> Result<Grant, BadToken> {
    let user = &claims.sub;
    if user.len() > MAX_USER_BYTES {
        return Err(invalid(format!("\"sub\" must have 1 to {MAX_USER_BYTES} bytes")));
    }
    names::check(user, MAX_USER_BYTES).map_err(|error| invalid(format!("\"sub\" {error}")))?;
    if user == LOCAL_OWNER {
        let text = format!("\"sub\": {LOCAL_OWNER:?} is the name of the server's own owner; no other user may have it");
        return Err(invalid(text));
    }
    let role = match &claims.role {
        None => Role::default(),
        Some(text) => text.parse().map_err(|error| invalid(format!("\"role\": {error}")))?,
    };
    let principal = Principal { user_id: user.clone(), role };
    Ok(Grant { principal, expires_at_ms: Some(ms(claims.exp)) })
}

fn public_key(pem: &[u8]) -> Result<(Algorithm, DecodingKey), BadKey> {
    if memchr::memmem::find(pem, b"PRIVATE").is_some() {
        return Err(BadKey::NotAKey("it is a private key, which belongs to the issuer alone".into()));
    }
    let as_rsa = match DecodingKey::from_rsa_pem(pem) {
        Ok(key) => {
            let bits = key.try_get_as_bytes().ok().and_then(signatures::rsa_bits);
            return match bits {
                Some(2048..=8192) => Ok((Algorithm::RS256, key)),
                Some(bits) => Err(BadKey::NotAKey(format!("RSA of {bits} bits, where 2048 to 8192 are taken"))),
                None => Err(BadKey::NotAKey("it says that it is RSA and holds no modulus".into())),
            };
        }
        Err(error) => error,
    };
    match DecodingKey::from_ed_pem(pem) {
        Ok(key) if key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() == 32) => Ok((Algorithm::EdDSA, key)),
        Ok(_) => Err(BadKey::NotAKey("it says that it is Ed25519 and does not have 32 bytes".into())),
        Err(as_ed) => Err(BadKey::NotAKey(format!("as RSA: {as_rsa}; as Ed25519: {as_ed}"))),
    }
}

#[cfg(test)]
mod tests;
