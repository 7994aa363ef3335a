//! Signed tokens that count and ones that must not. The keys were made for these tests and open nothing else.
use super::*;
use jsonwebtoken::{EncodingKey, Header, get_current_timestamp};
use serde_json::{Value, json};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

const ED_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEICoKHQL8cEvqdOdDxlVSxB7mSWsne3OmJMe0Yzptu515
-----END PRIVATE KEY-----
";
const ED_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAEh7pnUazr6aR5BNPozapQjSlPveLcbAag9WIhmxadiA=
-----END PUBLIC KEY-----
";
const RSA_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAycGW6TIkAsJKa2izIa9z
qd1OoS59N4s8NhPvmcQtBzwEg/Uyaq9zLp8ggjNTksv0Vn70wl+BZubzdOoztj7h
pS1d+EQqigs73QUKgpEcN5xNFp5ygpFA5VpbVxolA4xoSjRztnIHLct0LDf4C8Gi
YaOvp0u9etpN2S5tK3r/OcW1om/BseQZcgAuhFHl4lRBKvneGuArsO1q2ASHkpIi
f6IKxm+vNV4zThjdlo+mL+klrKo6j9YAjaFzx45euAbIXxZeusNG8GnpryCTxQYY
6A4sQT2Ziwb0NJZiMi/48gwdiUo8eZQHcvogj7ZSYt+oHJaWncIwueabIbkSJlc2
XQIDAQAB
-----END PUBLIC KEY-----
";
/// `rosa`, a reviewer until the year 2100, signed once by the private half of [`RSA_PUBLIC`].
const RSA_TOKEN: &str = concat!(
    "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCJ9.eyJzdWIiOiAicm9zYSIsICJleHAiOiA0MTAyNDQ0ODAwLCAicm9sZSI6ICJ",
    "yZXZpZXdlciJ9.mvLQ4pJ34pBabxNT82NNC0hWYSBQchVTo7puKzuguVHVjYxmpdW6k6vsOwZoV3AieZMRKBbOr8v-PoUY5_dagQ",
    "0ut2BqoVb5F_uNaPshQpAP2jPc2TG-fwn8y_5DVPmgLNK61zeHUoRKj87wTzLe-LIzpdyCzbHGydHJk487_y2fDbI-O2l94Apy03",
    "P9BFf-qxAKhFBfIE_rq1bxb8EgE87cgw7vkSobgEUf41e_0CROJ85w2-t373KTGAL4MSKi_Fb1a3wRCSDjPrpf58VgvQqyLuGJ9h",
    "s_yUL5Ei-gHqSH6DWj8ScZQF-KwUFE4-tRfVcKXQs_JF8Fcj06dfOYbw"
);

fn door(options: JwtOptions) -> Jwt {
    Jwt::new(&options).unwrap().expect("a key was given")
}

fn shared() -> JwtOptions {
    JwtOptions { secret: Some(SECRET.to_vec()), leeway: Duration::from_secs(5), ..JwtOptions::default() }
}

fn in_seconds(seconds: i64) -> i64 {
    get_current_timestamp() as i64 + seconds
}

fn encode(header: &Header, claims: &Value, key: &EncodingKey) -> jsonwebtoken::errors::Result<String> {
    signatures::install();
    jsonwebtoken::encode(header, claims, key)
}

fn sign(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn why(result: Result<Grant, BadToken>) -> String {
    result.expect_err("the token must not count").to_string()
}

#[test]
fn a_signed_token_names_user_role_and_end() {
    let exp = in_seconds(600);
    let grant = door(shared()).verify(&sign(&json!({ "sub": "ana", "exp": exp, "role": "reviewer" }))).unwrap();
    assert_eq!(grant.principal, Principal { user_id: "ana".into(), role: Role::Reviewer });
    assert_eq!(grant.expires_at_ms, Some(exp * 1000));
    let grant = door(shared()).verify(&sign(&json!({ "sub": "ana", "exp": exp }))).unwrap();
    assert_eq!(grant.principal.role, Role::Viewer, "the least role where none is named");
}

#[test]
fn what_is_wrong_with_a_token_is_said() {
    let door = door(shared());
    let exp = in_seconds(600);
    for (claims, words) in [
        (json!({ "exp": exp }), "sub"),
        (json!({ "sub": "ana" }), "exp"),
        (json!({ "sub": "ana", "exp": "soon" }), "exp"),
        (json!({ "sub": "", "exp": exp }), "sub"),
        (json!({ "sub": "a\nb", "exp": exp }), "sub"),
        (json!({ "sub": "x".repeat(129), "exp": exp }), "sub"),
        (json!({ "sub": "an\u{200b}a", "exp": exp }), "U+200B"),
        (json!({ "sub": "ana", "exp": exp, "role": "admin" }), "admin"),
        (json!({ "sub": "ana", "exp": exp, "nbf": exp }), "not valid yet"),
    ] {
        let said = why(door.verify(&sign(&claims)));
        assert!(said.contains(words), "{claims}: {said}");
    }
    let forged = sign(&json!({ "sub": "ana", "exp": exp })).replace("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.", "x.");
    assert!(why(door.verify(&forged)).contains("neither"));
    let other = EncodingKey::from_secret(b"another secret of at least thirty-two bytes");
    let forged = encode(&Header::new(Algorithm::HS256), &json!({ "sub": "ana", "exp": exp }), &other).unwrap();
    assert!(why(door.verify(&forged)).contains("signature"));
    // {"alg":"none"} is no algorithm of any key.
    let unsigned =
        format!("eyJhbGciOiJub25lIn0.{}.", sign(&json!({ "sub": "ana", "exp": exp })).split('.').nth(1).unwrap());
    why(door.verify(&unsigned));
    why(door.verify(""));
}

#[test]
fn no_signed_token_is_the_built_in_owner() {
    for role in ["owner", "viewer"] {
        let said = why(door(shared()).verify(&sign(&json!({ "sub": "owner", "exp": in_seconds(600), "role": role }))));
        assert!(said.contains("server's own owner"), "{said}");
    }
}

#[test]
fn a_token_that_demands_an_extension_is_refused() {
    let claims = json!({ "sub": "ana", "exp": in_seconds(600) });
    for crit in [vec!["exp".to_owned()], vec!["b64".into(), "unknown".into()], Vec::new()] {
        let header = Header { crit: Some(crit), ..Header::new(Algorithm::HS256) };
        let token = encode(&header, &claims, &EncodingKey::from_secret(SECRET)).unwrap();
        assert!(why(door(shared()).verify(&token)).contains("crit"));
    }
}

#[test]
fn an_expired_token_is_told_apart_and_clocks_may_differ_by_the_leeway() {
    let door = door(shared());
    let late = in_seconds(-3);
    assert!(door.verify(&sign(&json!({ "sub": "ana", "exp": late }))).is_ok(), "within the leeway");
    let too_late = in_seconds(-60);
    let refused = door.verify(&sign(&json!({ "sub": "ana", "exp": too_late })));
    assert_eq!(refused, Err(BadToken::Expired { expired_at_ms: too_late * 1000 }));
}

#[test]
fn a_public_key_takes_only_its_own_algorithm() {
    let exp = in_seconds(600);
    let claims = json!({ "sub": "edda", "exp": exp, "role": "owner" });
    let ed = door(JwtOptions { public_key: Some(ED_PUBLIC.into()), ..JwtOptions::default() });
    let key = EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).unwrap();
    let token = encode(&Header::new(Algorithm::EdDSA), &claims, &key).unwrap();
    assert_eq!(ed.verify(&token).unwrap().principal, Principal { user_id: "edda".into(), role: Role::Owner });
    let rsa = door(JwtOptions { public_key: Some(RSA_PUBLIC.into()), ..JwtOptions::default() });
    assert_eq!(rsa.verify(RSA_TOKEN).unwrap().principal, Principal { user_id: "rosa".into(), role: Role::Reviewer });
    why(rsa.verify(&token));
    // The public key used as a shared secret: the classic forgery.
    let forged =
        encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(RSA_PUBLIC.as_bytes())).unwrap();
    assert!(why(rsa.verify(&forged)).contains("algorithm"));
    let mut broken = RSA_TOKEN.to_owned();
    broken.replace_range(RSA_TOKEN.len() - 20..RSA_TOKEN.len() - 19, "-");
    assert!(why(rsa.verify(&broken)).contains("signature"));
}

#[test]
fn issuer_and_audience_count_when_they_are_asked_for() {
    let exp = in_seconds(600);
    let strict = JwtOptions { issuer: Some("https://id.example".into()), audience: Some("tieout".into()), ..shared() };
    let door = door(strict);
    let good = json!({ "sub": "ana", "exp": exp, "iss": "https://id.example", "aud": ["x", "tieout"] });
    door.verify(&sign(&good)).unwrap();
    for (name, value) in
        [("iss", json!("https://evil.example")), ("aud", json!("x")), ("iss", json!(null)), ("aud", json!(null))]
    {
        let mut bad = good.clone();
        bad[name] = value;
        why(door.verify(&sign(&bad)));
    }
}

#[test]
fn a_key_that_protects_nothing_is_refused_at_the_start() {
    let short = JwtOptions { secret: Some(b"short".to_vec()), ..JwtOptions::default() };
    assert_eq!(Jwt::new(&short).err(), Some(BadKey::ShortSecret(5)));
    for pem in ["nonsense", ED_PRIVATE] {
        let bad = JwtOptions { public_key: Some(pem.into()), ..JwtOptions::default() };
        assert!(matches!(Jwt::new(&bad).err(), Some(BadKey::NotAKey(_))), "{pem}");
    }
    assert!(Jwt::new(&JwtOptions::default()).unwrap().is_none());
}

#[test]
fn an_rsa_key_that_is_too_short_is_refused_at_the_start() {
    const SHORT: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDH23z5rqUGswlC5UkDZuUVa6KD\n\
        WqzwWcPJDLueT2dfW1coBQhKEM2reFgnqht57Bro8hyP6084hGwy4/CYkR82vl4e\n\
        9WLNrLUv9+oLsRzU/5J9mgBpsznJFpaMi5Q3IED1XtWcXiQMDLk0xTHjAL9Cempo\n\
        0VPMtCsudDY9uU1xuwIDAQAB\n-----END PUBLIC KEY-----\n";
    let options = JwtOptions { public_key: Some(SHORT.as_bytes().to_vec()), ..JwtOptions::default() };
    let refused = Jwt::new(&options).err().expect("1,024 bits are too few").to_string();
    assert!(refused.contains("RSA of 1024 bits"), "{refused}");
}
