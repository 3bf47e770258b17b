//! The exit record: how a container ended, on disk before anybody is told.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::protocol::{EXIT_RECORD_NAME, ExitRecord};

/// First byte of the file: its format.
const FORMAT: u8 = 1;

/// An exit record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExitRecordError {
    /// It cannot be read or written.
    #[error("cannot access the exit record")]
    Io(#[from] std::io::Error),
    /// It is torn, or of another version.
    #[error("the exit record cannot be understood")]
    Torn,
}

/// Writes the record of a container's state directory, all of it or nothing.
///
/// # Errors
/// Those of the file system.
pub fn write(directory: &Path, record: &ExitRecord) -> Result<(), ExitRecordError> {
    let bytes = postcard::to_extend(record, vec![FORMAT]).map_err(|_| ExitRecordError::Torn)?;
    let temporary = directory.join("exit.new");
    File::create(&temporary)?.write_all(&bytes)?;
    std::fs::rename(&temporary, directory.join(EXIT_RECORD_NAME))?;
    Ok(())
}

/// Removes the record of an earlier run: this run must not be mistaken for it.
///
/// # Errors
/// Those of the file system, but not that there is none.
pub fn remove(directory: &Path) -> Result<(), ExitRecordError> {
    match std::fs::remove_file(directory.join(EXIT_RECORD_NAME)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Reads the record; `None` when the container has not ended, or its shim did not live to write one.
///
/// # Errors
/// [`ExitRecordError::Torn`] when it makes no sense.
pub fn read(directory: &Path) -> Result<Option<ExitRecord>, ExitRecordError> {
    let bytes = match std::fs::read(directory.join(EXIT_RECORD_NAME)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    match bytes.split_first() {
        Some((&FORMAT, value)) => postcard::from_bytes(value)
            .map(Some)
            .map_err(|_| ExitRecordError::Torn),
        _ => Err(ExitRecordError::Torn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Timestamp;

    #[test]
    fn a_record_is_read_back_and_a_torn_one_is_told() {
        let place = tempfile::tempdir().unwrap();
        assert!(matches!(read(place.path()), Ok(None)));
        let record = ExitRecord {
            code: 137,
            signal: Some(9),
            out_of_memory: true,
            started_at: Timestamp(1),
            finished_at: Timestamp(i64::MAX),
        };
        write(place.path(), &record).unwrap();
        assert_eq!(read(place.path()).unwrap(), Some(record));
        for torn in [&b""[..], b"\x02abc", b"\x01\xff"] {
            std::fs::write(place.path().join(EXIT_RECORD_NAME), torn).unwrap();
            assert!(matches!(read(place.path()), Err(ExitRecordError::Torn)));
        }
    }
}
