//! One picture: read within bounds, turned upright, cut and scaled, written.
//!
//! Spec: [thumbnails](https://spec.matrix.org/v1.19/client-server-api/#thumbnails).

use std::io::Cursor;

use depesche_server::media::{
    ImageFormat,
    thumbnails::{Made, Measured, Order, Unmade},
};
use fast_image_resize::{
    PixelTrait, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::{U8x3, U8x4},
};
use image::{
    AnimationDecoder, DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageReader, Limits,
    codecs::{
        gif::GifDecoder,
        jpeg::JpegEncoder,
        png::{PngDecoder, PngEncoder},
        webp::WebPDecoder,
    },
};

use crate::{Bounds, animation};

/// The longest side of a picture that is looked at.
const MAX_SIDE: u32 = 65_535;
/// The largest colour profile that is passed on.
const MAX_PROFILE_BYTES: usize = 64 * 1024;
/// Of a JPEG, in percent.
const QUALITY: u8 = 82;

/// A thumbnail of these bytes.
pub fn thumbnail(bytes: &[u8], order: Order, bounds: &Bounds) -> Result<Made, Unmade> {
    let format = format(bytes)?;
    let moves = moves(bytes, format, bounds)?;
    let (width, height) = upright(bytes, format, bounds)?;
    let Some(cut) = Cut::of(width, height, order) else {
        // Small as it is. A client that wants it still gets one that is.
        if !moves || order.animated {
            return Ok(Made::Original(format));
        }
        let whole = Cut { left: 0.0, top: 0.0, width: width.into(), height: height.into(), to: (width, height) };
        return still(bytes, format, bounds, &whole);
    };
    if moves
        && order.animated
        && let Some(bytes) = animation::thumbnail(bytes, format, bounds, &cut)?
    {
        return Ok(Made::Picture { bytes: bytes.into(), format: ImageFormat::Webp });
    }
    still(bytes, format, bounds, &cut)
}

/// What these bytes are, and how large.
pub fn measure(bytes: &[u8], bounds: &Bounds) -> Result<Measured, Unmade> {
    let format = format(bytes)?;
    let (width, height) = upright(bytes, format, bounds)?;
    Ok(Measured { format, width, height })
}

/// The part of a picture that is shown, and how large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cut {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub to: (u32, u32),
}

impl Cut {
    /// How to make an upright picture of this size smaller; `None` if it is not to be.
    fn of(width: u32, height: u32, order: Order) -> Option<Self> {
        if order.crop { Self::cropped(width, height, order) } else { Self::scaled(width, height, order) }
    }

    /// The whole picture, as small as it can be without either side being less than wanted.
    fn scaled(width: u32, height: u32, order: Order) -> Option<Self> {
        let (w, h) = (u64::from(width), u64::from(height));
        let (wanted_w, wanted_h) = (u64::from(order.width), u64::from(order.height));
        if wanted_w >= w || wanted_h >= h {
            return None;
        }
        // Which side decides: compared as fractions, so that rounding cannot make the other one too short.
        let (to_w, to_h) = if wanted_w * h >= wanted_h * w {
            (wanted_w, (h * wanted_w).div_ceil(w))
        } else {
            ((w * wanted_h).div_ceil(h), wanted_h)
        };
        let to = (u32::try_from(to_w).ok()?, u32::try_from(to_h).ok()?);
        Some(Self { left: 0.0, top: 0.0, width: width.into(), height: height.into(), to })
    }

    /// The middle of the picture in the ratio that is wanted. If the picture has less on a side, the thumbnail has less
    /// on both: it is not blown up.
    fn cropped(width: u32, height: u32, order: Order) -> Option<Self> {
        if order.width >= width && order.height >= height {
            return None;
        }
        let (wanted_w, wanted_h) = (f64::from(order.width), f64::from(order.height));
        let (w, h) = (f64::from(width), f64::from(height));
        // The largest part of the picture in this ratio.
        let part = (w / wanted_w).min(h / wanted_h);
        let (part_w, part_h) = ((wanted_w * part).min(w), (wanted_h * part).min(h));
        let to = if part >= 1.0 {
            (order.width, order.height)
        } else {
            (whole(part_w).clamp(1, width), whole(part_h).clamp(1, height))
        };
        Some(Self { left: (w - part_w) / 2.0, top: (h - part_h) / 2.0, width: part_w, height: part_h, to })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sides of pictures are small and positive")]
fn whole(length: f64) -> u32 {
    length.round() as u32
}

/// The format that the bytes are in, whatever they are said to be.
pub(crate) fn format(bytes: &[u8]) -> Result<ImageFormat, Unmade> {
    match image::guess_format(bytes) {
        Ok(image::ImageFormat::Jpeg) => Ok(ImageFormat::Jpeg),
        Ok(image::ImageFormat::Png) => Ok(ImageFormat::Png),
        Ok(image::ImageFormat::Gif) => Ok(ImageFormat::Gif),
        Ok(image::ImageFormat::WebP) => Ok(ImageFormat::Webp),
        _ => Err(Unmade::Unfit),
    }
}

fn named(format: ImageFormat) -> image::ImageFormat {
    match format {
        ImageFormat::Jpeg => image::ImageFormat::Jpeg,
        ImageFormat::Png => image::ImageFormat::Png,
        ImageFormat::Gif => image::ImageFormat::Gif,
        ImageFormat::Webp => image::ImageFormat::WebP,
    }
}

/// What decoders may take.
pub(crate) fn limits(bounds: &Bounds) -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(bounds.memory_mb << 20);
    limits
}

/// Refuses a picture with more pixels than allowed, by what its first bytes say.
pub(crate) fn check((width, height): (u32, u32), bounds: &Bounds) -> Result<(), Unmade> {
    if width == 0 || height == 0 {
        return Err(Unmade::Unfit);
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > bounds.pixels() || width > MAX_SIDE || height > MAX_SIDE { Err(Unmade::TooLarge) } else { Ok(()) }
}

/// Why a decoder gave up.
#[expect(clippy::needless_pass_by_value, reason = "it is the end of the error, as `map_err` has it")]
pub(crate) fn broken(error: ImageError) -> Unmade {
    if matches!(error, ImageError::Limits(_)) { Unmade::TooLarge } else { Unmade::Unfit }
}

/// A decoder whose picture is within bounds.
fn decoder<'a>(bytes: &'a [u8], format: ImageFormat, bounds: &Bounds) -> Result<impl ImageDecoder + 'a, Unmade> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), named(format));
    reader.limits(limits(bounds));
    let decoder = reader.into_decoder().map_err(broken)?;
    check(decoder.dimensions(), bounds)?;
    Ok(decoder)
}

/// Whether there is more than one frame.
fn moves(bytes: &[u8], format: ImageFormat, bounds: &Bounds) -> Result<bool, Unmade> {
    // Before anything is decoded.
    check(decoder(bytes, format, bounds)?.dimensions(), bounds)?;
    match format {
        ImageFormat::Jpeg => Ok(false),
        ImageFormat::Png => PngDecoder::new(Cursor::new(bytes)).and_then(|png| png.is_apng()).map_err(broken),
        ImageFormat::Webp => Ok(WebPDecoder::new(Cursor::new(bytes)).map_err(broken)?.has_animation()),
        ImageFormat::Gif => {
            let mut gif = GifDecoder::new(Cursor::new(bytes)).map_err(broken)?;
            gif.set_limits(limits(bounds)).map_err(broken)?;
            Ok(gif.into_frames().take(2).filter_map(Result::ok).count() > 1)
        }
    }
}

/// Width and height as one sees them.
fn upright(bytes: &[u8], format: ImageFormat, bounds: &Bounds) -> Result<(u32, u32), Unmade> {
    use image::metadata::Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let mut decoder = decoder(bytes, format, bounds)?;
    let (width, height) = decoder.dimensions();
    let turned = matches!(decoder.orientation(), Ok(Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH));
    Ok(if turned { (height, width) } else { (width, height) })
}

/// The picture, or the first of its frames.
fn still(bytes: &[u8], format: ImageFormat, bounds: &Bounds, cut: &Cut) -> Result<Made, Unmade> {
    let mut decoder = decoder(bytes, format, bounds)?;
    // A picture whose metadata is broken is shown as it is.
    let orientation = decoder.orientation().ok();
    let profile = decoder.icc_profile().ok().flatten().filter(|profile| is_rgb(profile));
    let mut picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    if picture.color().has_alpha() {
        let (width, height) = (picture.width(), picture.height());
        let scaled = scale::<U8x4>(picture.into_rgba8().as_raw(), width, height, cut)?;
        return written(&scaled, cut.to, ExtendedColorType::Rgba8, ImageFormat::Png, profile);
    }
    let (width, height) = (picture.width(), picture.height());
    let scaled = scale::<U8x3>(picture.into_rgb8().as_raw(), width, height, cut)?;
    // What has few colours looks bad as a JPEG, and what is a photograph is large as a PNG.
    let to = if matches!(format, ImageFormat::Jpeg | ImageFormat::Webp) { ImageFormat::Jpeg } else { ImageFormat::Png };
    written(&scaled, cut.to, ExtendedColorType::Rgb8, to, profile)
}

/// Profiles of other colour spaces do not fit the pixels any more.
fn is_rgb(profile: &[u8]) -> bool {
    profile.len() <= MAX_PROFILE_BYTES && profile.get(16..20) == Some(b"RGB ")
}

/// Pixels cut and scaled. Their kind is known when this is compiled: code for all that the library knows takes minutes.
pub(crate) fn scale<P: PixelTrait>(pixels: &[u8], width: u32, height: u32, cut: &Cut) -> Result<Vec<u8>, Unmade> {
    let failed = |error: &dyn std::fmt::Display| Unmade::Failed(error.to_string());
    let from = TypedImageRef::<P>::from_buffer(width, height, pixels).map_err(|error| failed(&error))?;
    let mut scaled = vec![0; cut.to.0 as usize * cut.to.1 as usize * size_of::<P>()];
    let mut to = TypedImage::<P>::from_buffer(cut.to.0, cut.to.1, &mut scaled).map_err(|error| failed(&error))?;
    let options = ResizeOptions::new().crop(cut.left, cut.top, cut.width, cut.height);
    Resizer::new().resize_typed(&from, &mut to, &options).map_err(|error| failed(&error))?;
    Ok(scaled)
}

fn written(
    pixels: &[u8],
    (width, height): (u32, u32),
    color: ExtendedColorType,
    format: ImageFormat,
    profile: Option<Vec<u8>>,
) -> Result<Made, Unmade> {
    let mut bytes = Vec::new();
    let outcome = if format == ImageFormat::Jpeg {
        write(JpegEncoder::new_with_quality(&mut bytes, QUALITY), pixels, width, height, color, profile)
    } else {
        write(PngEncoder::new(&mut bytes), pixels, width, height, color, profile)
    };
    outcome.map_err(|error| Unmade::Failed(error.to_string()))?;
    Ok(Made::Picture { bytes: bytes.into(), format })
}

fn write(
    mut encoder: impl ImageEncoder,
    pixels: &[u8],
    width: u32,
    height: u32,
    color: ExtendedColorType,
    profile: Option<Vec<u8>>,
) -> Result<(), ImageError> {
    if let Some(profile) = profile {
        // An encoder without room for it writes the picture all the same.
        let _ = encoder.set_icc_profile(profile);
    }
    encoder.write_image(pixels, width, height, color)
}

#[cfg(test)]
#[path = "tests/picture.rs"]
mod tests;
