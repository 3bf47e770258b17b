//! A client of container registries: the OCI distribution specification 1.1 and Docker's registry API v2.
//!
//! It moves bytes and checks them against their digests. It knows nothing of image stores, containers or the engine.
#![forbid(unsafe_code)]
