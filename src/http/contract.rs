//! Routes with their contract: one call registers the handler and says what it takes and answers.
//!
//! Leaves the document to `openapi` and the list itself to `router`. Easy to get wrong: the schemas of what comes in
//! and of what goes out differ (a default makes a field optional only on its way in), so each has its generator.
use super::state::AppState;
use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// Makes the schema of one type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a body is.
#[derive(Clone)]
pub(super) enum Content {
    /// No body.
    Empty,
    /// JSON of this type.
    Json(SchemaOf),
    /// Other media types, without a schema.
    Raw(&'static [&'static str]),
}

/// A successful answer.
#[derive(Clone)]
pub(super) struct Answer {
    pub status: u16,
    pub content: Content,
    /// Carries `X-Tieout-Position`.
    pub position: bool,
}

/// A header that counts.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub name: &'static str,
    /// What it is for.
    pub text: &'static str,
    pub most_chars: Option<usize>,
    pub pattern: Option<&'static str>,
}

/// What one method at one path takes and answers. Refusals that follow from the rest (a token, a body, an id in the path)
/// are added by `openapi`.
#[derive(Clone)]
pub(super) struct Operation {
    pub method: Method,
    pub path: &'static str,
    pub id: &'static str,
    pub summary: &'static str,
    pub open: bool,
    pub query: Option<SchemaOf>,
    pub headers: &'static [Header],
    pub body: Content,
    pub answers: Vec<Answer>,
    /// Statuses of problems, and when they come.
    pub refusals: Vec<(u16, &'static str)>,
}

/// Begins the contract of an operation, with its name in the document and one sentence.
pub(super) fn operation(id: &'static str, summary: &'static str) -> Operation {
    Operation {
        method: Method::GET,
        path: "",
        id,
        summary,
        open: false,
        query: None,
        headers: &[],
        body: Content::Empty,
        answers: Vec::new(),
        refusals: Vec::new(),
    }
}

impl Operation {
    /// It answers without a token.
    pub(super) fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// It takes this query string.
    pub(super) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(T::json_schema);
        self
    }

    /// It takes these headers.
    pub(super) fn headers(mut self, named: &'static [Header]) -> Self {
        self.headers = named;
        self
    }

    /// It takes this JSON.
    pub(super) fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Content::Json(T::json_schema);
        self
    }

    /// It takes a body of these media types.
    pub(super) fn takes_raw(mut self, kinds: &'static [&'static str]) -> Self {
        self.body = Content::Raw(kinds);
        self
    }

    /// It answers this JSON.
    pub(super) fn json<T: JsonSchema>(self, status: u16) -> Self {
        self.answer(status, Content::Json(|generator| generator.subschema_for::<T>()))
    }

    /// It answers these media types.
    pub(super) fn raw(self, status: u16, kinds: &'static [&'static str]) -> Self {
        self.answer(status, Content::Raw(kinds))
    }

    /// It answers without a body.
    pub(super) fn empty(self, status: u16) -> Self {
        self.answer(status, Content::Empty)
    }

    /// It refuses with a problem of this status.
    pub(super) fn refuses(mut self, status: u16, when: &'static str) -> Self {
        self.refusals.push((status, when));
        self
    }

    /// The last answer says up to which event it is true.
    pub(super) fn positioned(mut self) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.position = true;
        }
        self
    }

    fn answer(mut self, status: u16, content: Content) -> Self {
        self.answers.push(Answer { status, content, position: false });
        self
    }
}

/// The routes and their contracts, which can't differ: both are made by the same call.
pub(super) struct Table {
    router: Router<AppState>,
    operations: Vec<Operation>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { router: Router::new(), operations: Vec::new() }
    }

    pub(super) fn get<H: Handler<T, AppState>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.at(Method::GET, path, on(MethodFilter::GET, handler), operation)
    }

    pub(super) fn post<H: Handler<T, AppState>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.at(Method::POST, path, on(MethodFilter::POST, handler), operation)
    }

    pub(super) fn patch<H: Handler<T, AppState>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.at(Method::PATCH, path, on(MethodFilter::PATCH, handler), operation)
    }

    pub(super) fn delete<H: Handler<T, AppState>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.at(Method::DELETE, path, on(MethodFilter::DELETE, handler), operation)
    }

    fn at(mut self, method: Method, path: &'static str, route: MethodRouter<AppState>, operation: Operation) -> Self {
        self.operations.push(Operation { method, path, ..operation });
        self.router = self.router.route(path, route);
        self
    }

    /// The router, and what it holds.
    pub(super) fn finish(self) -> (Router<AppState>, Vec<Operation>) {
        (self.router, self.operations)
    }
}
