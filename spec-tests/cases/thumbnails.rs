//! Pictures made smaller, and what is none. Client-server API, "Thumbnails".

use std::io::Cursor;

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::Options;
use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, ImageFormat, ImageReader, Rgba, RgbaImage};

const HERE: &str = "depesche.test";

/// Red on the left, blue on the right.
fn picture(width: u32, height: u32) -> DynamicImage {
    let color = |x| if x < width / 2 { Rgba([255, 0, 0, 255]) } else { Rgba([0, 0, 255, 255]) };
    DynamicImage::from(RgbaImage::from_fn(width, height, |x, _| color(x)))
}

fn png(width: u32, height: u32) -> Vec<u8> {
    encoded(&picture(width, height), ImageFormat::Png)
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("a picture can be written");
    bytes.into_inner()
}

fn gif(width: u32, height: u32, frames: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, 30);
    for number in 0..frames {
        let picture = RgbaImage::from_pixel(width, height, Rgba([number, 100, 0, 255]));
        encoder.encode_frame(Frame::new(picture)).expect("a frame can be written");
    }
    drop(encoder);
    bytes
}

async fn upload(user: &User, kind: &str, bytes: Vec<u8>) -> String {
    let answer = user.post("/_matrix/media/v3/upload", &[]).raw(kind, bytes).await.ok();
    answer["content_uri"].as_str().and_then(|uri| uri.rsplit('/').next()).expect("an address").to_owned()
}

/// Asks for a thumbnail: width, height and what else.
async fn ask(user: &User, id: &str, query: &[(&str, &str)]) -> Answer {
    user.get("/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}", &[HERE, id]).query(query).await
}

/// The picture of an answer, which is what it says it is.
fn shown(answer: &Answer) -> DynamicImage {
    let reader = ImageReader::new(Cursor::new(answer.file())).with_guessed_format().expect("readable");
    let kind = reader.format().map_or("no picture", |format| format.to_mime_type());
    assert_eq!(answer.header("content-type"), kind, "{answer}");
    let allowed = ["image/jpeg", "image/png", "image/apng", "image/gif", "image/webp"];
    assert!(allowed.contains(&kind), "{kind}");
    assert!(answer.header("content-disposition").starts_with("inline"), "{:?}", answer.headers);
    reader.decode().expect("a picture")
}

fn size(answer: &Answer) -> (u32, u32) {
    let picture = shown(answer);
    (picture.width(), picture.height())
}

#[tokio::test]
async fn the_sizes_of_the_specification() {
    let alice = shared().user("alice").await;
    let id = upload(&alice, "image/png", png(1280, 960)).await;
    for (method, width, height) in [
        ("crop", "32", "32"),
        ("crop", "96", "96"),
        ("scale", "320", "240"),
        ("scale", "640", "480"),
        ("scale", "800", "600"),
    ] {
        let answer = ask(&alice, &id, &[("width", width), ("height", height), ("method", method)]).await;
        assert_eq!(size(&answer), (width.parse().unwrap(), height.parse().unwrap()), "{method}");
    }
}

#[tokio::test]
async fn cutting_shows_the_middle() {
    let alice = shared().user("alice").await;
    let id = upload(&alice, "image/png", png(960, 240)).await;
    let answer = ask(&alice, &id, &[("width", "96"), ("height", "96"), ("method", "crop")]).await;
    let made = shown(&answer).into_rgb8();
    let (left, right) = (made.get_pixel(8, 48), made.get_pixel(87, 48));
    assert!(left[0] > 200 && left[2] < 60 && right[2] > 200 && right[0] < 60, "{left:?} {right:?}");
}

#[tokio::test]
async fn no_side_is_shorter_than_asked() {
    let alice = shared().user("alice").await;
    let id = upload(&alice, "image/png", png(1280, 480)).await;
    let answer = ask(&alice, &id, &[("width", "320"), ("height", "240"), ("method", "scale")]).await;
    let (width, height) = size(&answer);
    differs(
        "client-server-api#thumbnails",
        || assert!(width >= 320 && height >= 240 && width < 1280, "{width}x{height}"),
        || assert!(width == 320 && height < 240, "{width}x{height}"),
    );
}

#[tokio::test]
async fn a_small_picture_is_not_blown_up() {
    let alice = shared().user("alice").await;
    let bytes = png(24, 16);
    let id = upload(&alice, "image/png", bytes.clone()).await;
    for (method, side) in [("crop", "96"), ("scale", "800")] {
        let answer = ask(&alice, &id, &[("width", side), ("height", side), ("method", method)]).await;
        differs(
            "client-server-api#thumbnails",
            || assert!(answer.file() == bytes, "not the original"),
            || assert_eq!(size(&answer), if method == "crop" { (96, 96) } else { (24, 16) }),
        );
    }
}

/// A JPEG that says in its metadata that it lies on its side.
fn lying(width: u32, height: u32) -> Vec<u8> {
    let jpeg = encoded(&picture(width, height).into_rgb8().into(), ImageFormat::Jpeg);
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let length = u16::try_from(exif.len() + 2).expect("short").to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, exif, &jpeg[2..]].concat()
}

#[tokio::test]
async fn a_photograph_that_lies_on_its_side_is_turned_upright() {
    let alice = shared().user("alice").await;
    let id = upload(&alice, "image/jpeg", lying(1280, 960)).await;
    let answer = ask(&alice, &id, &[("width", "320"), ("height", "240"), ("method", "scale")]).await;
    let made = shown(&answer).into_rgb8();
    let (width, height) = made.dimensions();
    assert!(height > width, "{width}x{height}");
    let (top, bottom) = (made.get_pixel(width / 2, 5), made.get_pixel(width / 2, height - 5));
    assert!(top[0] > 200 && bottom[2] > 200, "{top:?} {bottom:?}");
}

#[tokio::test]
async fn what_moves_is_still_unless_it_is_asked_to_move() {
    let alice = shared().user("alice").await;
    let id = upload(&alice, "image/gif", gif(200, 200, 4)).await;
    let size = [("width", "96"), ("height", "96"), ("method", "crop")];
    for more in [&[][..], &[("animated", "false")]] {
        let answer = ask(&alice, &id, &[&size[..], more].concat()).await;
        assert_eq!((shown(&answer).width(), frames(answer.file())), (96, 1));
    }
    let answer = ask(&alice, &id, &[&size[..], &[("animated", "true")]].concat()).await;
    assert_eq!(shown(&answer).width(), 96);
    differs(
        "client-server-api#get_matrixclientv1mediathumbnailservernamemediaid",
        || assert_eq!((answer.header("content-type"), frames(answer.file())), ("image/webp", 4)),
        || assert_eq!(frames(answer.file()), 1),
    );
    // A picture that cannot move is shown as if nobody had asked.
    let id = upload(&alice, "image/png", png(200, 200)).await;
    let answer = ask(&alice, &id, &[&size[..], &[("animated", "true")]].concat()).await;
    assert_eq!((shown(&answer).width(), answer.header("content-type")), (96, "image/png"));
}

/// How many frames a picture has, of the formats that have several.
fn frames(bytes: &[u8]) -> usize {
    use image::AnimationDecoder as _;
    use image::codecs::{gif::GifDecoder, webp::WebPDecoder};
    match image::guess_format(bytes) {
        Ok(ImageFormat::Gif) => GifDecoder::new(Cursor::new(bytes)).expect("a GIF").into_frames().count(),
        Ok(ImageFormat::WebP) => {
            let webp = WebPDecoder::new(Cursor::new(bytes)).expect("a WebP");
            if webp.has_animation() { webp.into_frames().count() } else { 1 }
        }
        _ => 1,
    }
}

#[tokio::test]
async fn what_is_no_picture_has_no_thumbnail() {
    let alice = shared().user("alice").await;
    let size = [("width", "32"), ("height", "32"), ("method", "crop")];
    let whole = png(500, 500);
    for (kind, bytes) in [
        ("text/plain", b"just words".to_vec()),
        ("application/pdf", b"%PDF-1.7".to_vec()),
        ("image/png", b"just words".to_vec()),
        ("image/jpeg", b"\xFF\xD8\xFF\xE0\0\x10JFIF".to_vec()),
    ] {
        let id = upload(&alice, kind, bytes).await;
        ask(&alice, &id, &size).await.error(400, "M_UNKNOWN");
    }
    let id = upload(&alice, "image/png", whole[..whole.len() / 2].to_vec()).await;
    let answer = ask(&alice, &id, &size).await;
    differs(
        "client-server-api#get_matrixclientv1mediathumbnailservernamemediaid",
        || drop(answer.clone().error(400, "M_UNKNOWN")),
        // Of half a picture Synapse makes a whole thumbnail.
        || assert_eq!(shown(&answer).width(), 32),
    );
    // Wrong about what it is, and a picture all the same.
    let id = upload(&alice, "image/jpeg", whole).await;
    assert_eq!(shown(&ask(&alice, &id, &size).await).width(), 32);
}

#[tokio::test]
async fn a_thumbnail_needs_a_size() {
    let alice = shared().user("alice").await;
    let id = upload(&alice, "image/png", png(100, 100)).await;
    ask(&alice, &id, &[("height", "32")]).await.error(400, "M_MISSING_PARAM");
    for (width, height) in [("ten", "32"), ("1.5", "32")] {
        let answer = ask(&alice, &id, &[("width", width), ("height", height)]).await;
        answer.error_in(400, &["M_INVALID_PARAM", "M_UNKNOWN"]);
    }
}

/// A few bytes that say they are a picture of sixty thousand pixels square.
fn huge() -> Vec<u8> {
    let mut bytes = png(1, 1);
    bytes[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    let crc = !bytes[12..29].iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)));
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[tokio::test]
async fn a_picture_that_says_it_is_huge_does_no_harm() {
    let alice = shared().user("alice").await;
    let id = upload(&alice, "image/png", huge()).await;
    let answer = ask(&alice, &id, &[("width", "32"), ("height", "32"), ("method", "crop")]).await;
    differs(
        "client-server-api#get_matrixclientv1mediathumbnailservernamemediaid",
        || answer.clone().error(413, "M_TOO_LARGE"),
        || answer.clone().error_in(answer.status, &["M_UNKNOWN", "M_NOT_FOUND"]),
    );
    alice.get("/_matrix/client/v3/account/whoami", &[]).await.ok();
}

#[tokio::test]
async fn an_animation_without_end_does_no_harm() {
    let alice = shared().user("alice").await;
    // One frame of a thousand pixels square is small; so are thousands of them. Synapse decodes them all before it
    // answers the upload, which would take minutes.
    let (side, count) = if target() == Target::Depesche { (1000, 400) } else { (320, 250) };
    let one = gif(side, side, 1);
    let (head, frame) = one[..one.len() - 1].split_at(13);
    let bytes = [head, &frame.repeat(count), b";"].concat();
    let id = upload(&alice, "image/gif", bytes).await;
    let query = [("width", "96"), ("height", "96"), ("method", "crop"), ("animated", "true")];
    let answer = ask(&alice, &id, &query).await;
    assert_eq!((shown(&answer).width(), frames(answer.file())), (96, 1));
    alice.get("/_matrix/client/v3/account/whoami", &[]).await.ok();
}

#[tokio::test]
async fn without_a_token_there_are_files_where_the_operator_wants_it() {
    let server = Server::start(Options { legacy_media: true, ..Options::default() });
    let alice = server.user("alice").await;
    let bytes = png(500, 500);
    let id = upload(&alice, "image/png", bytes.clone()).await;
    let page = upload(&alice, "text/html", b"<script>alert(1)</script>".to_vec()).await;
    let nobody = server.client();
    let download = "/_matrix/media/v3/download/{serverName}/{mediaId}";
    let named = "/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}";
    let picture = nobody.get(download, &[HERE, &id]).await;
    assert!(picture.file() == bytes, "other bytes came back");
    assert_eq!(picture.header("content-type"), "image/png");
    assert!(picture.header("content-disposition").starts_with("inline"), "{:?}", picture.headers);
    let other = nobody.get(named, &[HERE, &id, "other.png"]).await;
    assert!(other.file() == bytes && other.header("content-disposition").contains("other.png"));
    let script = nobody.get(download, &[HERE, &page]).await;
    assert!(script.header("content-disposition").starts_with("attachment"), "{:?}", script.headers);
    for answer in [&picture, &other, &script] {
        let policy = answer.header("content-security-policy");
        for part in ["sandbox", "default-src 'none'", "script-src 'none'", "object-src 'self'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
    let query = [("width", "96"), ("height", "96"), ("method", "crop")];
    let path = "/_matrix/media/v3/thumbnail/{serverName}/{mediaId}";
    let small = nobody.get(path, &[HERE, &id]).query(&query).await;
    assert_eq!(size(&small), (96, 96));
    assert_eq!(small.header("cross-origin-resource-policy"), "cross-origin");
    nobody.get(download, &[HERE, "nothingAtAll"]).await.error(404, "M_NOT_FOUND");
    // What asks for a token goes on to ask for one.
    let path = "/_matrix/client/v1/media/download/{serverName}/{mediaId}";
    nobody.get(path, &[HERE, &id]).await.error(401, "M_MISSING_TOKEN");
}
