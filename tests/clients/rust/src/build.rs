//! bollard builds over BuildKit's protocol: images, results that come back as an archive and as files, contexts that it uploads,
//! secrets.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::grpc::build::{
    ImageBuildFrontendOptions, ImageBuildLoadInput, NamedContext, SecretSource,
};
use bollard::grpc::driver::{Build, moby::Moby};
use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::{BuildImageOptionsBuilder, BuilderVersion, ImageBuildOutput};
use futures_util::TryStreamExt;

use crate::Done;

const FILES: &str = "FROM busybox AS make
RUN mkdir -p /out/sub && echo hello >/out/one && echo world >/out/sub/two && ln -s one /out/link
FROM scratch
COPY --from=make /out /
";

pub(crate) async fn all(docker: &Docker) -> Done {
    image(docker).await?;
    files(docker).await?;
    uploaded(docker).await
}

fn context(name: &str, dockerfile: &str) -> Result<Vec<u8>, std::io::Error> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(dockerfile.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, dockerfile.as_bytes())?;
    archive.into_inner()
}

async fn build(
    docker: &Docker,
    session: &str,
    output: Option<ImageBuildOutput>,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let options = BuildImageOptionsBuilder::default()
        .t("rust-built")
        .version(BuilderVersion::BuilderBuildKit)
        .session(session);
    let options = match output {
        Some(output) => options.outputs(output),
        None => options,
    };
    let context = context("Dockerfile", FILES)?;
    let told: Vec<BuildInfo> = docker
        .build_image(
            options.build(),
            None,
            Some(bollard::body_full(context.into())),
        )
        .try_collect()
        .await?;
    let statuses = told.into_iter().flat_map(|told| match told.aux {
        Some(BuildInfoAux::BuildKit(told)) => told.statuses,
        _ => Vec::new(),
    });
    Ok(statuses.map(|status| status.id).collect())
}

async fn image(docker: &Docker) -> Done {
    let told = build(docker, "plain", None).await?;
    let naming = "naming to docker.io/library/rust-built:latest".to_owned();
    assert!(told.contains(&naming), "{told:?}");
    docker.inspect_image("rust-built").await?;
    Ok(())
}

async fn files(docker: &Docker) -> Done {
    let place = std::env::temp_dir().join(format!("rust-clients-{}", std::process::id()));
    fs::create_dir_all(&place)?;
    let archive = place.join("out.tar");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let told = build(docker, "tar", Some(ImageBuildOutput::Tar(text(&archive)))).await?;
    assert!(told.contains(&"sending tarball".to_owned()), "{told:?}");
    let mut names = Vec::new();
    for entry in tar::Archive::new(fs::File::open(&archive)?).entries()? {
        names.push(entry?.path()?.into_owned());
    }
    assert_eq!(names, ["link", "one", "sub/", "sub/two"].map(PathBuf::from));

    let directory = place.join("out");
    fs::create_dir(&directory)?;
    let told = build(
        docker,
        "local",
        Some(ImageBuildOutput::Local(text(&directory))),
    )
    .await?;
    assert!(told.contains(&"copying files".to_owned()), "{told:?}");
    assert_eq!(fs::read_to_string(directory.join("one"))?, "hello\n");
    assert_eq!(fs::read_to_string(directory.join("sub/two"))?, "world\n");
    fs::remove_dir_all(place)?;
    Ok(())
}

/// The driver over `/grpc`, whose context is uploaded through the session.
async fn uploaded(docker: &Docker) -> Done {
    let secret = std::env::temp_dir().join(format!("rust-clients-{}.token", std::process::id()));
    fs::write(&secret, "s3cret")?;
    let dockerfile = "FROM other
RUN --mount=type=secret,id=token test \"$(cat /run/secrets/token)\" = s3cret && echo done >/result
CMD [\"cat\", \"/result\"]
";
    let path = Path::new("sub/Customfile");
    let options = ImageBuildFrontendOptions::builder()
        .dockerfile(path)
        .set_secret("token", &SecretSource::File(secret.clone()))
        .named_context(
            "other",
            NamedContext {
                path: "docker-image://busybox".to_owned(),
            },
        )
        .build();
    let context = context("sub/Customfile", dockerfile)?;
    let built = Build::docker_build(
        Moby::new(docker),
        "rust-uploaded",
        options,
        ImageBuildLoadInput::Upload(context.into()),
        Some(HashMap::new()),
    )
    .await;
    fs::remove_file(secret)?;
    built?;
    let image = docker.inspect_image("rust-uploaded").await?;
    let command = image.config.and_then(|config| config.cmd);
    assert_eq!(command, Some(vec!["cat".to_owned(), "/result".to_owned()]));
    Ok(())
}
