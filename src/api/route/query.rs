//! What is done with a request's query before ruma's type reads it.

use http::request::Parts;
use ruma::ServerName;
use url::form_urlencoded;

/// Whether a query has a field of this name.
pub fn has(head: &Parts, field: &str) -> bool {
    form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).any(|(name, _)| name == field)
}

/// Leaves out those values of these fields that are no server names.
pub fn without_unreadable_servers(head: &mut Parts, fields: &[&str]) {
    let Some(query) = head.uri.query().filter(|_| !fields.is_empty()) else { return };
    let is_kept = |pair: &&str| {
        form_urlencoded::parse(pair.as_bytes())
            .all(|(name, value)| !fields.contains(&&*name) || <&ServerName>::try_from(&*value).is_ok())
    };
    let kept = query.split('&').filter(is_kept).collect::<Vec<_>>().join("&");
    if kept.len() == query.len() {
        return;
    }
    // Only pieces were taken away, so what is left is as readable as it was.
    if let Ok(uri) = format!("{}?{kept}", head.uri.path()).parse() {
        head.uri = uri;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_keeps_the_servers_that_can_be_read() {
        for (query, kept) in [
            ("via=a.test&via=%21abc&x=%21abc", Some("via=a.test&x=%21abc")),
            ("server_name=&via=b.test%3A8448", Some("via=b.test%3A8448")),
            ("via=!abc", Some("")),
            ("x=1", Some("x=1")),
        ] {
            let (mut head, ()) = http::Request::get(format!("/join/a%2Fb?{query}")).body(()).unwrap().into_parts();
            without_unreadable_servers(&mut head, &["via", "server_name"]);
            assert_eq!((head.uri.path(), head.uri.query()), ("/join/a%2Fb", kept), "{query}");
        }
    }
}
