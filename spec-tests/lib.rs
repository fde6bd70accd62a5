//! Black-box cases against a running server.
