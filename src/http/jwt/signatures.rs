//! The signatures of tokens by ring, which TLS brings along: HS256, RS256 and EdDSA, and no other.
//!
//! jsonwebtoken's own choices bring a second set of cryptography with them. The server only checks; signing with HS256 and
//! EdDSA is for those who test against it.
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm};

static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };

/// Makes jsonwebtoken use these signatures in this process. It must be called before the process checks or signs its first
/// token; a provider that the program installed before stays.
pub fn install() {
    let _ = PROVIDER.install_default();
}

/// Signs with a shared secret.
struct Hs256(hmac::Key);

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        hmac::verify(&self.0, message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

/// Signs with an Ed25519 key.
struct Ed25519(Ed25519KeyPair);

impl Signer<Vec<u8>> for Ed25519 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Ed25519 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

/// Checks with a public key.
struct Public {
    algorithm: Algorithm,
    key: UnparsedPublicKey<Vec<u8>>,
}

impl Public {
    fn new(algorithm: Algorithm, by: &'static dyn VerificationAlgorithm, key: &DecodingKey) -> Result<Self, Error> {
        Ok(Self { algorithm, key: UnparsedPublicKey::new(by, key.try_get_as_bytes()?.to_vec()) })
    }
}

impl Verifier<Vec<u8>> for Public {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.key.verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Public {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// The key must be of the algorithm's family: a public key is no shared secret.
fn fits(algorithm: Algorithm, family: jsonwebtoken::AlgorithmFamily) -> Result<(), Error> {
    if algorithm.family() == family { Ok(()) } else { Err(ErrorKind::InvalidKeyFormat.into()) }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    fits(*algorithm, key.family())?;
    match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))),
        Algorithm::EdDSA => match Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.as_bytes()) {
            Ok(pair) => Ok(Box::new(Ed25519(pair))),
            Err(_) => Err(ErrorKind::InvalidEddsaKey.into()),
        },
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    fits(*algorithm, key.family())?;
    match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.try_get_as_bytes()?)))),
        Algorithm::RS256 => Ok(Box::new(Public::new(*algorithm, &RSA_PKCS1_2048_8192_SHA256, key)?)),
        Algorithm::EdDSA => Ok(Box::new(Public::new(*algorithm, &ED25519, key)?)),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

/// Bits of the modulus of an RSA public key in DER (PKCS#1); `None` when it is none.
pub(super) fn rsa_bits(der: &[u8]) -> Option<usize> {
    let (sequence, _) = element(der, 0x30)?;
    let (modulus, _) = element(sequence, 0x02)?;
    let first = modulus.iter().position(|byte| *byte != 0)?;
    Some(8 * (modulus.len() - first) - modulus[first].leading_zeros() as usize)
}

/// The content of the element with this tag that DER begins with, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..128 => (short, rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(long - 128)?;
            let length = bytes
                .iter()
                .try_fold(0_usize, |length, byte| length.checked_mul(256).map(|length| length + usize::from(*byte)))?;
            (length, rest)
        }
    };
    (*found == tag).then_some(())?;
    rest.split_at_checked(length)
}
