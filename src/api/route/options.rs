//! What is not the rule for an endpoint, said where it is listed.

use bytes::Bytes;
use depesche_rules::bounds::MAX_KEYS_BODY_BYTES;
use ruma::api::error::ErrorKind;

use super::{Course, Endpoint};

impl Endpoint {
    /// Takes a missing body for an empty object, as every `POST` does.
    pub fn optional_body(mut self) -> Self {
        self.optional_body = true;
        self
    }

    /// Ends when the client hangs up, as every `GET` does: it asks with a body, and changes nothing.
    pub fn reads(mut self) -> Self {
        self.course = Course::Read;
        self
    }

    /// Takes turns, as its answer may be large: one of each user is made at a time, a few of all.
    pub fn large_answer(mut self) -> Self {
        self.course = Course::LargeRead;
        self
    }

    /// Lets the body be as large as uploads of many keys or messages are.
    pub fn large_body(mut self) -> Self {
        self.body_limit = MAX_KEYS_BODY_BYTES;
        self
    }

    /// Refuses a body without a required field with `M_MISSING_PARAM`, as some endpoints have it, and not with
    /// `M_BAD_JSON`, the common code.
    pub fn missing_is_a_parameter(mut self) -> Self {
        self.missing_field = ErrorKind::MissingParam;
        self
    }

    /// Refuses a value of a wrong type or form with `M_INVALID_PARAM`, as some endpoints have it, and not with
    /// `M_BAD_JSON`, the common code.
    pub fn wrong_is_a_parameter(mut self) -> Self {
        self.wrong_value = ErrorKind::InvalidParam;
        self
    }

    /// Adds to a body what the endpoint's type requires and the specification does not.
    pub fn completes_the_body(mut self, complete: fn(Bytes) -> Bytes) -> Self {
        self.complete = complete;
        self
    }

    /// Takes the body of an HTML form, which is not JSON.
    pub fn form(mut self) -> Self {
        self.form = true;
        self
    }

    /// Takes `true` or `false` alone for an object with this one field, as some clients send it.
    pub fn flag_may_be_bare(mut self, field: &'static str) -> Self {
        self.bare_flag = Some(field);
        self
    }

    /// Refuses a body without this field before it is read as the endpoint's type: for types whose reader would panic.
    pub fn needs(mut self, field: &'static str) -> Self {
        self.needed_field = Some(field);
        self
    }

    /// Passes over values of these fields of the query that are no server names: they only hint at servers to ask.
    pub fn hints_at_servers(mut self, fields: &'static [&'static str]) -> Self {
        self.server_hints = fields;
        self
    }

    /// Refuses a request with this field in its query, of a proposal that is not served: without it, the request would
    /// be another.
    pub fn without(mut self, field: &'static str) -> Self {
        self.unserved_query = Some(field);
        self
    }

    /// Also serves the paths whose last argument is empty, with and without the slash before it. axum matches no empty
    /// segment, but clients ask for state with an empty key in both ways.
    pub fn last_may_be_empty(mut self) -> Self {
        let shortened = |path: &String| path.rfind("/{").map(|at| [path[..at].to_owned(), format!("{}/", &path[..at])]);
        let shorter: Vec<String> = self.paths.iter().filter_map(shortened).flatten().collect();
        self.paths.extend(shorter);
        self
    }

    /// Also serves accounts that an operator has locked, and who shows an access token that has expired.
    pub fn for_leaving(mut self) -> Self {
        self.admission.ends = true;
        self
    }
}
