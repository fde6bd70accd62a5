//! The binary `depesche`.
fn main() {}
