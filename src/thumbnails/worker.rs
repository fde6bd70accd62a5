//! The process that makes one thumbnail, or measures one picture: bytes come in on standard input, an [`Answer`] goes
//! out on standard output.
//!
//! Before it looks at the first byte it gives away what it does not need: memory, processor time, files. Beyond these
//! the system ends it, and whoever started it learns of that.

use std::{
    fs,
    io::{self, Read, Write},
    process::ExitCode,
};

use bytes::Bytes;
use depesche_rules::bounds::MAX_THUMBNAIL_SOURCE_BYTES;
use depesche_server::media::{
    ImageFormat,
    thumbnails::{Made, Measured, Unmade},
};
use rustix::process::{Resource, Rlimit, nice, setrlimit};

use crate::{Bounds, bounds::MEASURE, measure, thumbnail};

/// By how much the process stands back behind others, of at most 19.
const LESS: i32 = 10;

/// How ready the process is to be ended first where the system has no memory left: more than any other.
const FIRST: &str = "1000";

/// What the process was asked for.
#[derive(Debug)]
pub(crate) enum Answer {
    Made(Made),
    Measured(Measured),
}

/// The whole life of the process.
pub fn work(arguments: &[String]) -> ExitCode {
    let Some((bounds, order)) = Bounds::parse(arguments) else { return ExitCode::from(2) };
    if confine(&bounds).is_err() {
        return ExitCode::from(3);
    }
    let mut source = Vec::new();
    let answer = match io::stdin().take(MAX_THUMBNAIL_SOURCE_BYTES).read_to_end(&mut source) {
        Ok(_) if order == MEASURE => measure(&source, &bounds).map(Answer::Measured),
        Ok(_) => thumbnail(&source, order, &bounds).map(Answer::Made),
        Err(error) => Err(Unmade::Failed(error.to_string())),
    };
    let mut out = io::stdout().lock();
    let told = out.write_all(&encode(&answer)).and_then(|()| out.flush());
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Gives away what is not needed, for good.
fn confine(bounds: &Bounds) -> io::Result<()> {
    // Where memory runs out, a picture is lost and not the server. Before the limits of files. More needs no right; where
    // the system forbids it all the same, the picture is made.
    let _ = fs::write("/proc/self/oom_score_adj", FIRST);
    let most = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    // What the program itself takes comes on top.
    let own: u64 = fs::read_to_string("/proc/self/statm")?
        .split(' ')
        .next()
        .and_then(|pages| pages.parse().ok())
        .ok_or_else(|| io::Error::other("the size of this process is not known"))?;
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    setrlimit(Resource::As, most(own * page + (bounds.memory_mb << 20)))?;
    setrlimit(Resource::Cpu, most(bounds.time.as_secs().max(1)))?;
    setrlimit(Resource::Core, most(0))?;
    setrlimit(Resource::Fsize, most(0))?;
    // Pictures can wait, messages cannot. That is politeness: where the system forbids it, a picture is made all the same.
    let _ = nice(LESS);
    // Standard input, output and error are there already.
    setrlimit(Resource::Nofile, most(3))?;
    Ok(())
}

/// What the process says: a word, a format, a line's end, the picture or its size.
fn encode(answer: &Result<Answer, Unmade>) -> Vec<u8> {
    let (line, bytes): (String, &[u8]) = match answer {
        Ok(Answer::Made(Made::Picture { bytes, format })) => (format!("picture {}\n", word(*format)), bytes),
        Ok(Answer::Made(Made::Original(format))) => (format!("original {}\n", word(*format)), &[]),
        Ok(Answer::Measured(Measured { format, width, height })) => {
            (format!("measured {}\n{width}x{height}", word(*format)), &[])
        }
        Err(Unmade::Unfit) => ("unfit -\n".to_owned(), &[]),
        Err(Unmade::TooLarge) => ("large -\n".to_owned(), &[]),
        Err(Unmade::Failed(_)) => ("failed -\n".to_owned(), &[]),
    };
    [line.as_bytes(), bytes].concat()
}

/// What a process said; `None` if that makes no sense.
pub(crate) fn decode(said: &Bytes) -> Option<Result<Answer, Unmade>> {
    let end = said.iter().position(|byte| *byte == b'\n')?;
    let (kind, format) = std::str::from_utf8(&said[..end]).ok()?.split_once(' ')?;
    Some(match kind {
        "picture" => Ok(Answer::Made(Made::Picture { bytes: said.slice(end + 1..), format: named(format)? })),
        "original" => Ok(Answer::Made(Made::Original(named(format)?))),
        "measured" => {
            let (width, height) = std::str::from_utf8(&said[end + 1..]).ok()?.split_once('x')?;
            let (width, height) = (width.parse().ok()?, height.parse().ok()?);
            Ok(Answer::Measured(Measured { format: named(format)?, width, height }))
        }
        "unfit" => Err(Unmade::Unfit),
        "large" => Err(Unmade::TooLarge),
        "failed" => Err(Unmade::Failed("the picture could not be scaled or written".to_owned())),
        _ => return None,
    })
}

const WORDS: [(&str, ImageFormat); 4] =
    [("jpeg", ImageFormat::Jpeg), ("png", ImageFormat::Png), ("gif", ImageFormat::Gif), ("webp", ImageFormat::Webp)];

fn word(format: ImageFormat) -> &'static str {
    WORDS.iter().find(|(_, named)| *named == format).map_or("", |(word, _)| word)
}

fn named(word: &str) -> Option<ImageFormat> {
    WORDS.iter().find(|(known, _)| *known == word).map(|(_, format)| *format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_understood() {
        for (_, format) in WORDS {
            let made = Made::Picture { bytes: Bytes::from_static(b"a\nb"), format };
            let heard = decode(&encode(&Ok(Answer::Made(made))).into());
            let Some(Ok(Answer::Made(Made::Picture { bytes, format: heard }))) = heard else { panic!("{heard:?}") };
            assert_eq!((&bytes[..], heard), (&b"a\nb"[..], format));
            let heard = decode(&encode(&Ok(Answer::Made(Made::Original(format)))).into());
            assert!(matches!(heard, Some(Ok(Answer::Made(Made::Original(heard)))) if heard == format));
            let measured = Measured { format, width: 12, height: 345 };
            let heard = decode(&encode(&Ok(Answer::Measured(measured))).into());
            assert!(matches!(heard, Some(Ok(Answer::Measured(heard))) if heard == measured));
        }
        assert!(matches!(decode(&encode(&Err(Unmade::Unfit)).into()), Some(Err(Unmade::Unfit))));
        assert!(matches!(decode(&encode(&Err(Unmade::TooLarge)).into()), Some(Err(Unmade::TooLarge))));
        for nonsense in ["", "picture png", "picture bmp\n", "what -\n", "measured png\n1x", "measured png\n"] {
            assert!(decode(&Bytes::from_static(nonsense.as_bytes())).is_none(), "{nonsense:?}");
        }
    }
}
