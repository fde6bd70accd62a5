use std::{io::Cursor, time::Duration};

use depesche_server::media::ImageFormat;
use image::{
    AnimationDecoder, Delay, Frame, ImageDecoder, ImageReader, Rgba, RgbaImage,
    codecs::{gif::GifEncoder, webp::WebPDecoder},
};

use super::*;

const BOUNDS: Bounds = Bounds { megapixels: 10, frames: 20, memory_mb: 256, time: Duration::from_secs(10) };

fn order(width: u32, height: u32, crop: bool) -> Order {
    Order { width, height, crop, animated: false }
}

/// Red on the left, blue on the right.
fn halves(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(
        width,
        height,
        |x, _| if x < width / 2 { Rgba([255, 0, 0, 255]) } else { Rgba([0, 0, 255, 255]) },
    )
}

fn encoded(picture: &DynamicImage, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(width: u32, height: u32) -> Vec<u8> {
    encoded(&halves(width, height).into(), image::ImageFormat::Png)
}

fn gif(width: u32, height: u32, frames: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    encoder.set_repeat(image::codecs::gif::Repeat::Infinite).unwrap();
    for number in 0..frames {
        let picture = RgbaImage::from_pixel(width, height, Rgba([number.wrapping_mul(40), 0, 0, 255]));
        let delay = Delay::from_numer_denom_ms(50 * (u32::from(number) + 1), 1);
        encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay)).unwrap();
    }
    drop(encoder);
    bytes
}

fn picture(made: Result<Made, Unmade>) -> (DynamicImage, ImageFormat) {
    let Ok(Made::Picture { bytes, format }) = made else { panic!("{made:?}") };
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().unwrap();
    assert_eq!(reader.format(), Some(named(format)));
    (reader.decode().unwrap(), format)
}

fn size(bytes: &[u8], order: Order) -> (u32, u32) {
    let (picture, _) = picture(thumbnail(bytes, order, &BOUNDS));
    (picture.width(), picture.height())
}

#[test]
fn no_side_is_shorter_than_wanted_or_longer_than_it_was() {
    let wide = png(1000, 500);
    assert_eq!(size(&wide, order(320, 240, false)), (480, 240));
    assert_eq!(size(&wide, order(32, 32, false)), (64, 32));
    assert_eq!(size(&png(501, 1003), order(100, 100, false)), (100, 201));
    assert_eq!(size(&wide, order(96, 96, true)), (96, 96));
    assert_eq!(size(&wide, order(96, 32, true)), (96, 32));
    // Not blown up, also where one side would have to be.
    assert_eq!(size(&png(1000, 60), order(96, 96, true)), (60, 60));
    for (bytes, order) in [
        (png(90, 90), order(96, 96, true)),
        (png(96, 96), order(96, 96, true)),
        (png(320, 240), order(320, 240, false)),
        (png(1000, 60), order(96, 96, false)),
    ] {
        assert!(matches!(thumbnail(&bytes, order, &BOUNDS), Ok(Made::Original(ImageFormat::Png))));
    }
}

#[test]
fn cutting_shows_the_middle() {
    let (made, _) = picture(thumbnail(&png(1000, 100), order(96, 96, true), &BOUNDS));
    let made = made.into_rgb8();
    let (left, right) = (made.get_pixel(10, 48), made.get_pixel(85, 48));
    assert!(left[0] > 200 && left[2] < 50 && right[0] < 50 && right[2] > 200, "{left:?} {right:?}");
}

#[test]
fn photographs_become_jpegs_and_what_is_transparent_stays_so() {
    let jpeg = encoded(&DynamicImage::from(halves(200, 200)).into_rgb8().into(), image::ImageFormat::Jpeg);
    assert_eq!(picture(thumbnail(&jpeg, order(32, 32, true), &BOUNDS)).1, ImageFormat::Jpeg);
    let webp = encoded(&DynamicImage::from(halves(200, 200)).into_rgb8().into(), image::ImageFormat::WebP);
    assert_eq!(picture(thumbnail(&webp, order(32, 32, true), &BOUNDS)).1, ImageFormat::Jpeg);
    let clear = RgbaImage::from_pixel(200, 200, Rgba([255, 0, 0, 100]));
    for format in [image::ImageFormat::Png, image::ImageFormat::WebP] {
        let (made, format) = picture(thumbnail(&encoded(&clear.clone().into(), format), order(32, 32, true), &BOUNDS));
        assert_eq!((format, made.into_rgba8().get_pixel(5, 5)[3]), (ImageFormat::Png, 100));
    }
    let gray = encoded(&DynamicImage::new_luma16(200, 200), image::ImageFormat::Png);
    assert_eq!(size(&gray, order(32, 32, true)), (32, 32));
}

/// A JPEG that says in its metadata that it lies on its side.
fn lying(width: u32, height: u32, orientation: u8) -> Vec<u8> {
    let jpeg = encoded(&DynamicImage::from(halves(width, height)).into_rgb8().into(), image::ImageFormat::Jpeg);
    let tiff = [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation, 0, 0, 0], &[0; 4]].concat();
    let exif = [&b"Exif\0\0"[..], &tiff].concat();
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn a_picture_that_lies_on_its_side_is_turned_upright() {
    // Turned by a quarter, what was on the left is on top.
    let (made, _) = picture(thumbnail(&lying(400, 200, 6), order(50, 50, false), &BOUNDS));
    assert_eq!((made.width(), made.height()), (50, 100));
    let made = made.into_rgb8();
    let (top, bottom) = (made.get_pixel(25, 10), made.get_pixel(25, 90));
    assert!(top[0] > 200 && bottom[2] > 200, "{top:?} {bottom:?}");
    assert_eq!(size(&lying(400, 200, 1), order(50, 50, false)), (100, 50));
}

#[test]
fn what_moves_is_still_unless_it_may() {
    let bytes = gif(200, 100, 3);
    let (made, format) = picture(thumbnail(&bytes, order(32, 32, true), &BOUNDS));
    assert_eq!((made.width(), made.height(), format), (32, 32, ImageFormat::Png));
    // Also when it is small enough as it is.
    let small = gif(30, 20, 3);
    let (made, format) = picture(thumbnail(&small, order(32, 32, true), &BOUNDS));
    assert_eq!((made.width(), made.height(), format), (30, 20, ImageFormat::Png));
    let may = Order { animated: true, ..order(32, 32, true) };
    assert!(matches!(thumbnail(&small, may, &BOUNDS), Ok(Made::Original(ImageFormat::Gif))));
    // A GIF of one frame does not move.
    let still = gif(30, 20, 1);
    assert!(matches!(thumbnail(&still, order(32, 32, true), &BOUNDS), Ok(Made::Original(ImageFormat::Gif))));
}

#[test]
fn an_animation_keeps_its_frames_times_and_loops() {
    let may = Order { animated: true, ..order(32, 32, true) };
    let Ok(Made::Picture { bytes, format: ImageFormat::Webp }) = thumbnail(&gif(200, 100, 3), may, &BOUNDS) else {
        panic!("no animation")
    };
    let again = |bytes: &[u8]| {
        let decoder = WebPDecoder::new(Cursor::new(bytes.to_vec())).unwrap();
        assert!(decoder.has_animation() && matches!(decoder.loop_count(), image::metadata::LoopCount::Infinite));
        assert_eq!(decoder.dimensions(), (32, 32));
        decoder.into_frames().collect_frames().unwrap()
    };
    let frames = again(&bytes);
    let delays: Vec<u32> = frames.iter().map(|frame| frame.delay().numer_denom_ms().0).collect();
    assert_eq!(delays, [50, 100, 150]);
    let reds: Vec<u8> = frames.iter().map(|frame| frame.buffer().get_pixel(16, 16)[0]).collect();
    assert_eq!(reds, [0, 40, 80]);
    // What we write we can read: an animated WebP made smaller.
    let Ok(Made::Picture { bytes: large, .. }) =
        thumbnail(&gif(300, 300, 3), Order { animated: true, ..order(200, 200, true) }, &BOUNDS)
    else {
        panic!("no animation")
    };
    let Ok(Made::Picture { bytes, format: ImageFormat::Webp }) = thumbnail(&large, may, &BOUNDS) else {
        panic!("no animation")
    };
    assert_eq!(again(&bytes).len(), 3);
}

#[test]
fn an_animation_that_is_too_long_is_shown_still() {
    let may = Order { animated: true, ..order(32, 32, true) };
    let few = Bounds { frames: 2, ..BOUNDS };
    assert_eq!(picture(thumbnail(&gif(200, 100, 3), may, &few)).1, ImageFormat::Png);
    assert_eq!(picture(thumbnail(&gif(200, 100, 2), may, &few)).1, ImageFormat::Webp);
}

#[test]
fn what_is_none_or_broken_or_huge_is_refused() {
    let whole = png(500, 500);
    for bytes in [b"".to_vec(), b"hello".to_vec(), b"\x89PNG\r\n\x1a\n".to_vec(), whole[..whole.len() / 2].to_vec()] {
        let outcome = thumbnail(&bytes, order(32, 32, true), &BOUNDS);
        assert!(matches!(outcome, Err(Unmade::Unfit)), "{outcome:?}");
    }
    // A few bytes that say they are a picture of a hundred thousand pixels square.
    let mut huge = png(1, 1);
    huge[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    let crc = crc(&huge[12..29]);
    huge[29..33].copy_from_slice(&crc.to_be_bytes());
    let outcome = thumbnail(&huge, order(32, 32, true), &BOUNDS);
    assert!(matches!(outcome, Err(Unmade::TooLarge)), "{outcome:?}");
    let small = Bounds { megapixels: 1, ..BOUNDS };
    assert!(matches!(thumbnail(&png(1001, 1000), order(32, 32, true), &small), Err(Unmade::TooLarge)));
    assert!(thumbnail(&png(1000, 1000), order(32, 32, true), &small).is_ok());
}

/// The checksum of a chunk of PNG.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}
