//! What the store says when it does not do what it is asked.

use std::error::Error;

use depesche_server::media::blobs::BlobError;
use object_store::Error as StoreError;

/// The error of a request about an object that may be missing.
pub(crate) fn judge(what: &str, error: &StoreError) -> BlobError {
    let why = words(error);
    match error {
        // The bucket is not there, or not where the settings say: nothing is known about the object.
        StoreError::NotFound { .. } if !why.starts_with("NoSuchBucket") => BlobError::Missing,
        _ => BlobError::failed(what, why),
    }
}

/// The error of a request for which nothing has to be there but the bucket.
pub(crate) fn refused(what: &str, error: &StoreError) -> BlobError {
    BlobError::failed(what, words(error))
}

/// The store's own words, without the rest of its page; if it did not answer, why not.
fn words(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    match (element(&text, "Code"), element(&text, "Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => text.trim_start_matches("Generic S3 error: ").to_owned(),
    }
}

/// The text of an element of XML that has no other in it.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    Some(content)
}

#[cfg(test)]
mod tests {
    use depesche_server::media::blobs::BlobError;
    use object_store::Error as StoreError;

    use super::{judge, words};

    fn not_found(answer: &'static str) -> StoreError {
        StoreError::NotFound { path: "ab/abcd".to_owned(), source: answer.into() }
    }

    #[test]
    fn a_missing_bucket_is_no_missing_object() {
        let page =
            "status 404: <?xml?><Error><Code>NoSuchBucket</Code><Message>No such bucket</Message><Key>k</Key></Error>";
        let BlobError::Failed(why) = judge("cannot read", &not_found(page)) else { panic!("the bucket is missing") };
        assert_eq!(why, "cannot read: NoSuchBucket: No such bucket");
        let page = "status 404: <?xml?><Error><Code>NoSuchKey</Code><Message>No such key</Message></Error>";
        assert!(matches!(judge("cannot read", &not_found(page)), BlobError::Missing));
        assert!(matches!(judge("cannot read", &not_found("status 404")), BlobError::Missing));
    }

    #[test]
    fn causes_are_told_once() {
        let error = StoreError::Generic { store: "S3", source: "connection refused".into() };
        assert_eq!(words(&error), "connection refused");
    }
}
