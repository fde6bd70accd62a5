//! Files that users uploaded, their bytes, and thumbnails.

use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};

use crate::record;

/// The SHA-256 of some bytes, by which they are kept.
pub type BlobHash = [u8; 32];

/// What an `mxc://` address stands for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct File {
    /// Who uploaded or announced it; none for a copy of another server's file.
    pub owner: Option<OwnedUserId>,
    /// When the address was made.
    pub created_ms: u64,
    /// What there is of it.
    pub state: FileState,
}
record!(File, 1);

/// What there is of a file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum FileState {
    /// It was announced, and may come until then.
    Pending {
        /// From when on it may not.
        expires_ms: u64,
    },
    /// It is there.
    Stored(Content),
}

/// The content of a file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Content {
    /// Which bytes.
    pub blob: BlobHash,
    /// How many.
    pub size: u64,
    /// What the uploader said they are.
    pub content_type: Option<String>,
    /// What the uploader called it.
    pub filename: Option<String>,
}

/// Bytes that are kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Blob {
    /// How many.
    pub size: u64,
    /// Files and thumbnails that consist of them.
    pub uses: u64,
}
record!(Blob, 1);

/// A smaller picture of a blob.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Thumbnail {
    /// Other bytes.
    Made {
        /// Which.
        blob: BlobHash,
        /// How many.
        size: u64,
        /// Of which format.
        format: ImageFormat,
    },
    /// The picture is small enough as it is.
    Original(ImageFormat),
}
record!(Thumbnail, 1);

/// The formats that thumbnails may have.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ImageFormat {
    /// `image/jpeg`
    Jpeg,
    /// `image/png`
    Png,
    /// `image/gif`
    Gif,
    /// `image/webp`
    Webp,
}

impl ImageFormat {
    /// What it is called in a `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }
}

/// What a user has uploaded in all.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Usage {
    /// Files.
    pub files: u64,
    /// Their bytes, each file's for itself.
    pub bytes: u64,
    /// Addresses ever made; changes with each, so that two requests cannot both take the last one allowed.
    pub made: u64,
}
record!(Usage, 1);

#[cfg(test)]
mod tests {
    use ruma::owned_user_id;

    use super::*;
    use crate::records::testing::check;

    #[test]
    fn files() {
        let pending = FileState::Pending { expires_ms: 5 };
        check(&File { owner: Some(owned_user_id!("@a:b")), created_ms: 1, state: pending }, "01010440613a62010005");
        let content =
            Content { blob: [7; 32], size: 300, content_type: Some("a/b".into()), filename: Some("f".into()) };
        let stored = File { owner: None, created_ms: 2, state: FileState::Stored(content) };
        check(&stored, &format!("01000201{}ac020103612f62010166", "07".repeat(32)));
        check(&Usage { files: 1, bytes: 2, made: 3 }, "01010203");
    }

    #[test]
    fn blobs_and_thumbnails() {
        check(&Blob { size: 300, uses: 2 }, "01ac0202");
        let formats = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::Webp];
        for (number, format) in formats.into_iter().enumerate() {
            let made = Thumbnail::Made { blob: [7; 32], size: 1, format };
            check(&made, &format!("0100{}010{number}", "07".repeat(32)));
            check(&Thumbnail::Original(format), &format!("01010{number}"));
        }
    }
}
