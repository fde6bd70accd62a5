//! The homeserver without HTTP and without a storage engine.
