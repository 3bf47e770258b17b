//! Results that go back to the client as files.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hoist_api::build::BuildOutput;
use tokio::sync::mpsc;

use crate::files::Files;
use crate::grpc::{Code, Status, frame};
use crate::proto::control::{BytesMessage, Exporter};
use crate::session::Session;

/// Bytes of one message.
const PIECE: usize = 512 << 10;
/// Messages that wait for the client.
const QUEUE: usize = 4;

/// What the builder does for an exporter.
///
/// # Errors
/// For exporters that are not known.
pub(crate) fn output(
    exporter: &Exporter,
    number: usize,
    place: &Path,
) -> Result<BuildOutput, Status> {
    let file = file(place, number).to_string_lossy().into_owned();
    match exporter.kind.as_str() {
        "moby" | "image" => Ok(BuildOutput::Image),
        "docker" => Ok(BuildOutput::DockerArchive(file)),
        "oci" => Ok(BuildOutput::OciArchive(file)),
        "tar" => Ok(BuildOutput::Tar(file)),
        kind => {
            let message = format!(
                "exporter {kind:?} is not known to this engine: it has moby, image, docker, oci and tar"
            );
            Err(Status::new(Code::Unimplemented, message))
        }
    }
}

fn file(place: &Path, number: usize) -> PathBuf {
    place.join(format!("export-{number}"))
}

/// Sends the file of an exporter, when it has one.
///
/// # Errors
/// When the client does not take it.
pub(crate) async fn send(
    session: &Session,
    number: usize,
    exporter: &Exporter,
    files: &Files,
) -> Result<(), Status> {
    if matches!(exporter.kind.as_str(), "moby" | "image") {
        return Ok(());
    }
    let path = file(files.own.path(), number);
    let (sender, outgoing) = mpsc::channel(QUEUE);
    let reading = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(path)?;
        loop {
            let mut piece = vec![0; PIECE];
            let length = file.read(&mut piece)?;
            piece.truncate(length);
            let data = Bytes::from(piece);
            if length == 0 || sender.blocking_send(frame(&BytesMessage { data })).is_err() {
                return std::io::Result::Ok(());
            }
        }
    });
    let mut answer = session.send(number, &BTreeMap::new(), outgoing).await?;
    while answer.next::<BytesMessage>().await?.is_some() {}
    let read = reading
        .await
        .map_err(|error| Status::new(Code::Internal, error.to_string()))?;
    read.map_err(|error| Status::new(Code::Internal, format!("cannot read the export: {error}")))
}
