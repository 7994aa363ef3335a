//! The page and its files, embedded in the binary: one line per file.
//!
//! Leaves what is in them to `console/`. Easy to get wrong: these answer without a token (the page asks for it), so
//! nothing that belongs to a user may ever be put into one.
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};
use std::sync::OnceLock;

struct Asset {
    path: &'static str,
    kind: &'static str,
    body: &'static [u8],
}

macro_rules! assets {
    ($($path:literal $kind:ident $file:literal;)+) => {
        const ASSETS: &[Asset] = &[$(Asset { path: $path, kind: $kind, body: include_bytes!(concat!("../../console/", $file)) }),+];
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

assets! {
    "/" HTML "index.html";
    "/style.css" CSS "style.css";
    "/favicon.svg" SVG "favicon.svg";
    "/theme.js" JS "theme.js";
    "/app.js" JS "app.js";
    "/api.js" JS "api.js";
    "/dom.js" JS "dom.js";
    "/format.js" JS "format.js";
    "/live.js" JS "live.js";
    "/views/explanation.js" JS "views/explanation.js";
    "/views/job.js" JS "views/job.js";
    "/views/project.js" JS "views/project.js";
    "/views/projects.js" JS "views/projects.js";
    "/views/results.js" JS "views/results.js";
    "/views/rules.js" JS "views/rules.js";
    "/views/sources.js" JS "views/sources.js";
}

/// No outside host, no inline code, no frame around it.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// The paths of the page's files.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    ASSETS.iter().map(|asset| asset.path)
}

/// Whether `path` is one of the page's files.
pub(super) fn is_asset(path: &str) -> bool {
    ASSETS.iter().any(|asset| asset.path == path)
}

/// The file at `path`, or 304 when the caller has it.
pub(super) fn serve(path: &str, headers: &HeaderMap) -> Response {
    static TAGS: OnceLock<Vec<HeaderValue>> = OnceLock::new();
    let tags = TAGS.get_or_init(|| ASSETS.iter().map(tag).collect());
    let Some(at) = ASSETS.iter().position(|asset| asset.path == path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (asset, tag) = (&ASSETS[at], &tags[at]);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let known = known.split(',').any(|one| one.trim().trim_start_matches("W/").as_bytes() == tag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        axum::body::Bytes::from_static(asset.body).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::ETAG, tag.clone());
    // The page belongs to the running binary: ask again each time, answered by 304.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

fn tag(asset: &Asset) -> HeaderValue {
    let hash = Sha256::digest(asset.body);
    let hex: String = hash[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{hex}\"")).expect("hexadecimal digits in quotes are a header value")
}
