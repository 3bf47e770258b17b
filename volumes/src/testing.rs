//! Places for this crate's tests.

use std::path::Path;

/// A directory on a tmpfs where there is one: the tests need no durability.
pub(crate) fn scratch() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    let place = if shm.is_dir() {
        tempfile::tempdir_in(shm)
    } else {
        tempfile::tempdir()
    };
    place.expect("a scratch directory")
}
