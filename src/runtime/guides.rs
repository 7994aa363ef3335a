//! The pages that show code of the runtime, so that `cargo test --doc` compiles and runs it. Nothing of this is in any
//! build. Easy to get wrong: rustdoc takes a block without a language for Rust; what is not says `text`.

#[doc = include_str!("README.md")]
pub struct Readme;

#[doc = include_str!("../../docs/RUNTIME.md")]
pub struct RuntimePage;

#[doc = include_str!("../../docs/guides/from-actix-web.md")]
pub struct FromActixWeb;
