//! How much a thumbnail may cost, and what is wanted, as arguments of a process.

use std::time::Duration;

use depesche_server::media::thumbnails::Order;

/// How much a thumbnail may cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Pixels of the picture, in millions.
    pub megapixels: u32,
    /// Frames of an animation; one with more is shown still.
    pub frames: u32,
    /// Memory of the process, in megabytes.
    pub memory_mb: u64,
    /// Time, of the processor as well as of the clock.
    pub time: Duration,
}

/// Asks how large a picture is, instead of for one.
pub(crate) const MEASURE: Order = Order { width: 0, height: 0, crop: false, animated: false };

impl Bounds {
    /// Pixels of the picture.
    pub(crate) fn pixels(&self) -> u64 {
        u64::from(self.megapixels) * 1_000_000
    }

    /// The arguments of a process that makes this.
    pub(crate) fn arguments(&self, order: Order) -> Vec<String> {
        let numbers = [
            u64::from(order.width),
            u64::from(order.height),
            u64::from(order.crop),
            u64::from(order.animated),
            u64::from(self.megapixels),
            u64::from(self.frames),
            self.memory_mb,
            self.time.as_secs(),
        ];
        numbers.iter().map(u64::to_string).collect()
    }

    /// What the arguments of a process say.
    pub(crate) fn parse(arguments: &[String]) -> Option<(Self, Order)> {
        let numbers: Vec<u64> = arguments.iter().map(|text| text.parse().ok()).collect::<Option<_>>()?;
        let [width, height, crop, animated, megapixels, frames, memory_mb, seconds] = numbers[..] else { return None };
        let bounds = Self {
            megapixels: megapixels.try_into().ok()?,
            frames: frames.try_into().ok()?,
            memory_mb,
            time: Duration::from_secs(seconds),
        };
        let (width, height) = (width.try_into().ok()?, height.try_into().ok()?);
        Some((bounds, Order { width, height, crop: crop != 0, animated: animated != 0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_say_what_they_were_made_of() {
        let bounds = Bounds { megapixels: 1, frames: 2, memory_mb: 3, time: Duration::from_secs(4) };
        let order = Order { width: 5, height: 6, crop: true, animated: false };
        assert_eq!(Bounds::parse(&bounds.arguments(order)), Some((bounds, order)));
        assert_eq!(Bounds::parse(&["1".to_owned()]), None);
        assert_eq!(Bounds::parse(&vec!["x".to_owned(); 8]), None);
    }
}
