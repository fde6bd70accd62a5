//! One node and its bytes.

/// What a node of a higher level keeps of one below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// The number of the node.
    pub node: u32,
    /// The highest event number in or below it.
    pub high: u32,
}

/// A node: sixteen places, at least one of them taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// The lowest level: events.
    Leaf([Option<u32>; 16]),
    /// Any other level: nodes of the level below.
    Inner([Option<Child>; 16]),
}

/// Bytes that are no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a node of a state tree")]
pub struct BadNode;

const LEAF: u8 = 1;
const INNER: u8 = 2;

impl Node {
    /// The highest event number in or below it.
    pub fn high(&self) -> u32 {
        let high = match self {
            Self::Leaf(events) => events.iter().flatten().max().copied(),
            Self::Inner(children) => children.iter().flatten().map(|child| child.high).max(),
        };
        high.unwrap_or_default()
    }

    /// The nodes directly below.
    pub fn children(&self) -> impl Iterator<Item = Child> + '_ {
        let children: &[Option<Child>] = if let Self::Inner(children) = self { children } else { &[] };
        children.iter().flatten().copied()
    }

    /// The events directly in it.
    pub fn events(&self) -> impl Iterator<Item = u32> + '_ {
        let events: &[Option<u32>] = if let Self::Leaf(events) = self { events } else { &[] };
        events.iter().flatten().copied()
    }

    /// Its bytes: kind, a bit for each place taken, then what is there. At most 131.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(131);
        match self {
            Self::Leaf(events) => {
                bytes.push(LEAF);
                bytes.extend(taken(events).to_be_bytes());
                for event in events.iter().flatten() {
                    bytes.extend(event.to_be_bytes());
                }
            }
            Self::Inner(children) => {
                bytes.push(INNER);
                bytes.extend(taken(children).to_be_bytes());
                for child in children.iter().flatten() {
                    bytes.extend(child.node.to_be_bytes());
                    bytes.extend(child.high.to_be_bytes());
                }
            }
        }
        bytes
    }

    /// Reads what [`Node::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNode> {
        let (&[kind, a, b], rest) = bytes.split_first_chunk::<3>().ok_or(BadNode)?;
        let bitmap = u16::from_be_bytes([a, b]);
        let (words, remainder) = rest.as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_be_bytes(*word));
        let width = if kind == INNER { 8 } else { 4 };
        if bitmap == 0 || !remainder.is_empty() || rest.len() != bitmap.count_ones() as usize * width {
            return Err(BadNode);
        }
        let places = (0..16).filter(|place| bitmap >> place & 1 == 1);
        match kind {
            LEAF => {
                let mut events = [None; 16];
                for place in places {
                    events[place] = words.next();
                }
                Ok(Self::Leaf(events))
            }
            INNER => {
                let mut children = [None; 16];
                for place in places {
                    let (node, high) = (words.next().ok_or(BadNode)?, words.next().ok_or(BadNode)?);
                    children[place] = Some(Child { node, high });
                }
                Ok(Self::Inner(children))
            }
            _ => Err(BadNode),
        }
    }
}

/// A bit for each place that is taken.
fn taken<T>(places: &[Option<T>; 16]) -> u16 {
    places.iter().enumerate().fold(0, |bitmap, (place, value)| bitmap | u16::from(value.is_some()) << place)
}
