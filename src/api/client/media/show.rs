//! Answers that are files: their headers, and their bytes as they are read.
//!
//! A file may be anything, and browsers run what they can. So each answer says that it is nothing to guess at, to run or
//! to frame, and is shown inline only if its type is one of those that the specification calls harmless.
//!
//! Spec: [serving inline content](https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content).

use std::time::Duration;

use axum::{body::Body, response::Response};
use depesche_server::media::{Content, Dimensions, ImageFormat, blobs::BlobName, thumbnails::ShownBytes};
use futures::TryStreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use ruma::{
    OwnedServerName, UInt,
    http_headers::{ContentDisposition, ContentDispositionType},
    media::Method,
};

use super::range::{Part, part};
use crate::{caller::User, error::Error, route::Context};

/// The types that may be shown inline. Spec: serving inline content.
const INLINE: [&str; 26] = [
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

/// What a file is that nobody said anything of. Spec: the `Content-Type` of a download.
const UNKNOWN: &str = "application/octet-stream";

/// On every file. The policy is the specification's; a file never changes, but may be removed.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; \
             style-src 'unsafe-inline'; object-src 'self';",
        ),
    ),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=86400, immutable")),
    (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
];

/// Which file is asked for.
pub(crate) struct File {
    pub server_name: OwnedServerName,
    pub media_id: String,
    /// How long to wait for one that was announced.
    pub wait: Duration,
    /// Its name, if the caller has another for it.
    pub filename: Option<String>,
}

/// Which thumbnail is asked for.
pub(crate) struct Size {
    pub method: Option<Method>,
    pub width: UInt,
    pub height: UInt,
    pub animated: Option<bool>,
}

/// A file.
pub(crate) async fn file(context: &Context, file: File, asked: &HeaderMap) -> Result<Response, Error> {
    let content = find(context, &file).await?;
    let kind = content.content_type.as_deref().unwrap_or(UNKNOWN);
    let filename = file.filename.or(content.filename);
    let bytes = ShownBytes::Blob(BlobName(content.blob), content.size);
    answer(context, bytes, kind, disposition(kind, filename), asked).await
}

/// A thumbnail of a file.
pub(crate) async fn thumbnail(
    context: &Context,
    user: Option<&User>,
    file: File,
    size: Size,
    asked: &HeaderMap,
) -> Result<Response, Error> {
    let crop = match size.method {
        None | Some(Method::Scale) => false,
        Some(Method::Crop) => true,
        Some(_) => return Err(Error::invalid_param("The method is \"crop\" or \"scale\"")),
    };
    let pixels = |length: UInt| u32::try_from(u64::from(length)).unwrap_or(u32::MAX);
    let (width, height) = (pixels(size.width), pixels(size.height));
    let wanted = Dimensions { width, height, crop, animated: size.animated == Some(true) };
    let content = find(context, &file).await?;
    let asker = match (user, context.client_address) {
        (Some(user), _) => user.user_id.to_string(),
        (None, address) => address.map(|address| address.to_string()).unwrap_or_default(),
    };
    let shown = context.app.server.media.thumbnail(&content, wanted, &asker).await?;
    let (kind, name) = match shown.format {
        ImageFormat::Jpeg => ("image/jpeg", "thumbnail.jpg"),
        ImageFormat::Png => ("image/png", "thumbnail.png"),
        ImageFormat::Gif => ("image/gif", "thumbnail.gif"),
        ImageFormat::Webp => ("image/webp", "thumbnail.webp"),
    };
    answer(context, shown.bytes, kind, disposition(kind, Some(name.to_owned())), asked).await
}

async fn find(context: &Context, file: &File) -> Result<Content, Error> {
    Ok(context.app.server.media.find(&file.server_name, &file.media_id, file.wait).await?)
}

/// Whether it is shown or saved, and under which name.
fn disposition(kind: &str, filename: Option<String>) -> ContentDisposition {
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let how = if INLINE.contains(&essence.as_str()) {
        ContentDispositionType::Inline
    } else {
        ContentDispositionType::Attachment
    };
    ContentDisposition::new(how).with_filename(filename)
}

/// All of it, a part of it, or that the caller has it already.
async fn answer(
    context: &Context,
    bytes: ShownBytes,
    kind: &str,
    disposition: ContentDisposition,
    asked: &HeaderMap,
) -> Result<Response, Error> {
    let (blob, size) = match bytes {
        ShownBytes::Blob(blob, size) => (blob, size),
        ShownBytes::Fresh(bytes) => {
            let length = bytes.len() as u64;
            return whole(Body::from(bytes), length, kind, &disposition);
        }
    };
    // Bytes are kept under their hash, which therefore says whether they are the same.
    let tag = HeaderValue::try_from(format!("\"{blob}\"")).map_err(Error::internal)?;
    if asked.get(header::IF_NONE_MATCH).is_some_and(|known| names(known, &tag)) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().extend(HEADERS);
        response.headers_mut().insert(header::ETAG, tag);
        return Ok(response);
    }
    let part = match part(asked, &tag, size) {
        Part::Whole => None,
        Part::Of(range) => Some(range),
        Part::Beyond => return Err(beyond(size)),
    };
    let range = part.clone().unwrap_or(0..size);
    let length = range.end - range.start;
    let pieces = context.app.server.media.read(blob, range.clone()).await?;
    let pieces = pieces.inspect_err(move |error| tracing::error!(%blob, %error, "a file breaks off"));
    let mut response = whole(Body::from_stream(pieces), length, kind, &disposition)?;
    response.headers_mut().insert(header::ETAG, tag);
    if let Some(range) = part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let span = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        response.headers_mut().insert(header::CONTENT_RANGE, span.try_into().map_err(Error::internal)?);
    }
    Ok(response)
}

fn whole(body: Body, length: u64, kind: &str, disposition: &ContentDisposition) -> Result<Response, Error> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.extend(HEADERS);
    headers.insert(header::CONTENT_LENGTH, length.into());
    // Both came in a header or are encoded, so they fit into one.
    headers.insert(header::CONTENT_TYPE, kind.try_into().map_err(Error::internal)?);
    headers.insert(header::CONTENT_DISPOSITION, disposition.to_string().try_into().map_err(Error::internal)?);
    Ok(response)
}

/// Whether a list of tags has this one.
fn names(known: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(known), Ok(tag)) = (known.to_str(), tag.to_str()) else { return false };
    known.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

fn beyond(size: u64) -> Error {
    Error::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        ruma::api::error::ErrorKind::InvalidParam,
        format!("The file has {size} bytes, and the part asked for lies beyond"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_types_are_shown_inline() {
        for (kind, expected) in [
            ("image/png", "inline"),
            ("Text/Plain; charset=utf-8", "inline"),
            ("text/html", "attachment"),
            ("image/svg+xml", "attachment"),
            ("application/pdf", "attachment"),
            ("application/octet-stream", "attachment"),
            ("image/pngx", "attachment"),
            ("", "attachment"),
        ] {
            assert_eq!(disposition(kind, None).to_string(), expected, "{kind}");
        }
        assert_eq!(disposition("image/png", Some("a b\".png".into())).to_string(), "inline; filename=\"a b\\\".png\"");
        assert_eq!(disposition("a/b", Some("ä.png".into())).to_string(), "attachment; filename*=utf-8''%C3%A4.png");
        assert_eq!(disposition("a/b", Some("a\r\nX-Y: z".into())).to_string().find(['\r', '\n']), None);
    }
}
