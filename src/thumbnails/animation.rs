//! Pictures that move: frame by frame, written as an animated WebP without loss.
//!
//! No encoder at hand writes animations of WebP, but the container is simple, and each frame is what the encoder of
//! still pictures writes. See the [container's specification](https://developers.google.com/speed/webp/docs/riff_container).

use std::io::Cursor;

use depesche_server::media::{ImageFormat, thumbnails::Unmade};
use fast_image_resize::pixels::U8x4;
use image::{
    AnimationDecoder, ExtendedColorType, Frame, Frames, ImageDecoder,
    codecs::{
        gif::GifDecoder,
        png::PngDecoder,
        webp::{WebPDecoder, WebPEncoder},
    },
    metadata::LoopCount,
};

use crate::{
    Bounds,
    picture::{Cut, broken, limits, scale},
};

/// The largest animation that is made; what would be larger is shown still.
const MAX_BYTES: usize = 8 << 20;
/// How long a frame is shown that says "no time", as browsers have it.
const DEFAULT_DELAY_MS: u32 = 100;
/// The shortest and the longest a frame is shown.
const DELAY_MS: std::ops::RangeInclusive<u32> = 10..=0xFF_FFFF;

/// The animation, cut and scaled; `None` if it is too long to be shown but still.
pub(crate) fn thumbnail(
    bytes: &[u8],
    format: ImageFormat,
    bounds: &Bounds,
    cut: &Cut,
) -> Result<Option<Vec<u8>>, Unmade> {
    let (frames, loops) = frames(bytes, format, bounds)?;
    let mut written = Animation::new(cut.to, loops);
    for (number, frame) in (0_u32..).zip(frames) {
        // What is cut off in the middle is shown as far as it goes.
        let Ok(frame) = frame else { break };
        if number >= bounds.frames || written.bytes.len() > MAX_BYTES {
            return Ok(None);
        }
        written.add(frame, cut)?;
    }
    Ok((written.frames > 1 && written.bytes.len() <= MAX_BYTES).then(|| written.finish()))
}

fn frames<'a>(bytes: &'a [u8], format: ImageFormat, bounds: &Bounds) -> Result<(Frames<'a>, u16), Unmade> {
    let read = Cursor::new(bytes);
    Ok(match format {
        ImageFormat::Gif => {
            let mut gif = GifDecoder::new(read).map_err(broken)?;
            gif.set_limits(limits(bounds)).map_err(broken)?;
            let loops = loops(gif.loop_count());
            (gif.into_frames(), loops)
        }
        ImageFormat::Webp => {
            let webp = WebPDecoder::new(read).map_err(broken)?;
            let loops = loops(webp.loop_count());
            (webp.into_frames(), loops)
        }
        ImageFormat::Png => {
            let apng = PngDecoder::with_limits(read, limits(bounds)).and_then(PngDecoder::apng).map_err(broken)?;
            let loops = loops(apng.loop_count());
            (apng.into_frames(), loops)
        }
        ImageFormat::Jpeg => return Err(Unmade::Unfit),
    })
}

/// How often it is shown; 0 is for ever.
fn loops(count: LoopCount) -> u16 {
    match count {
        LoopCount::Infinite => 0,
        LoopCount::Finite(times) => u16::try_from(times.get()).unwrap_or(0),
    }
}

/// An animated WebP in the making: its chunks behind the head.
struct Animation {
    size: (u32, u32),
    bytes: Vec<u8>,
    frames: u32,
}

impl Animation {
    fn new(size: (u32, u32), loops: u16) -> Self {
        let mut bytes = Vec::new();
        // The colour behind it is transparent.
        chunk(&mut bytes, *b"ANIM", &[&[0; 4][..], &loops.to_le_bytes()].concat());
        Self { size, bytes, frames: 0 }
    }

    fn add(&mut self, frame: Frame, cut: &Cut) -> Result<(), Unmade> {
        let delay_ms = delay_ms(&frame);
        let picture = frame.into_buffer();
        let (width, height) = picture.dimensions();
        let scaled = scale::<U8x4>(picture.as_raw(), width, height, cut)?;
        let mut still = Vec::new();
        WebPEncoder::new_lossless(&mut still)
            .encode(&scaled, self.size.0, self.size.1, ExtendedColorType::Rgba8)
            .map_err(|error| Unmade::Failed(error.to_string()))?;
        // Behind "RIFF", the length and "WEBP" stands the one chunk that is the picture.
        let picture = still.get(12..).unwrap_or_default();
        let mut body = Vec::with_capacity(picture.len() + 16);
        body.extend([0; 6]);
        body.extend(three_bytes(self.size.0 - 1));
        body.extend(three_bytes(self.size.1 - 1));
        body.extend(three_bytes(delay_ms));
        // It replaces what was there and does not mix with it.
        body.push(0b10);
        body.extend_from_slice(picture);
        chunk(&mut self.bytes, *b"ANMF", &body);
        self.frames += 1;
        Ok(())
    }

    fn finish(self) -> Vec<u8> {
        // Moves, and may be transparent.
        let flags = [0b0001_0010, 0, 0, 0];
        let mut head = Vec::new();
        let size = [three_bytes(self.size.0 - 1), three_bytes(self.size.1 - 1)].concat();
        chunk(&mut head, *b"VP8X", &[&flags[..], &size].concat());
        let mut file = Vec::with_capacity(self.bytes.len() + 64);
        chunk(&mut file, *b"RIFF", &[&b"WEBP"[..], &head, &self.bytes].concat());
        file
    }
}

fn delay_ms(frame: &Frame) -> u32 {
    let (numerator, denominator) = frame.delay().numer_denom_ms();
    let delay_ms = numerator.checked_div(denominator).unwrap_or_default();
    if delay_ms < *DELAY_MS.start() { DEFAULT_DELAY_MS } else { delay_ms.min(*DELAY_MS.end()) }
}

/// Appends a chunk of RIFF: its name, its length, its content, made even.
fn chunk(bytes: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    bytes.extend(name);
    bytes.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(content);
    if content.len() % 2 == 1 {
        bytes.push(0);
    }
}

fn three_bytes(number: u32) -> [u8; 3] {
    let [a, b, c, _] = number.to_le_bytes();
    [a, b, c]
}
