//! `image build --output`: the same image as archives of all kinds, read by skopeo and by ourselves, and its files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::common::run::{self, Run};
use crate::common::{LONG, TestHost, can_run};

const DOCKERFILE: &str = "FROM busybox
RUN mkdir -p /out/sub && echo one >/out/one && chmod 640 /out/one && ln -s /out/one /out/sub/link
CMD [\"cat\", \"/out/one\"]
";

struct Place {
    host: TestHost,
}

impl Place {
    fn new() -> Self {
        let host = TestHost::with_busybox();
        fs::create_dir(host.path("context")).unwrap();
        fs::write(host.path("context/Dockerfile"), DOCKERFILE).unwrap();
        Self { host }
    }

    fn path(&self, name: &str) -> String {
        self.host.path(name).to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn build(&self, more: &[&str]) -> Run {
        let context = self.path("context");
        let mut words = vec!["image", "build"];
        words.extend(more);
        words.push(&context);
        self.host.hoist(&words)
    }

    #[track_caller]
    fn output(&self, output: &str) -> Run {
        self.build(&["--output", output])
    }

    #[track_caller]
    fn skopeo(&self, arguments: &[&str]) -> Run {
        let mut command = self.host.command("skopeo");
        command.arg("--tmpdir").arg(self.host.path(""));
        command.args(arguments);
        run::to_end(command, LONG).ok()
    }
}

/// The members of an archive with their content.
fn members(bytes: &[u8]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap();
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        (entry.path().unwrap().into_owned(), content)
    };
    entries.map(read).collect()
}

/// The manifest that a layout's index lists first, and the index.
fn manifest(members: &BTreeMap<PathBuf, Vec<u8>>) -> (Value, Value) {
    let index: Value = serde_json::from_slice(&members[&PathBuf::from("index.json")]).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let name = PathBuf::from(format!("blobs/{}", digest.replace(':', "/")));
    (serde_json::from_slice(&members[&name]).unwrap(), index)
}

/// An output, its layers' media type, and what skopeo calls it.
const PACKED: &[(&str, &str, &str)] = &[
    ("oci,dest=a.tar", "image.layer.v1.tar+gzip", "oci-archive"),
    (
        "oci,dest=b.tar,compression=zstd",
        "image.layer.v1.tar+zstd",
        "oci-archive",
    ),
    (
        "oci,dest=c.tar,compression=uncompressed",
        "image.layer.v1.tar",
        "oci-archive",
    ),
    (
        "docker,dest=d.tar,name=app:2",
        "rootfs.diff.tar.gzip",
        "docker-archive",
    ),
];

#[test]
fn an_image_goes_into_archives_of_all_kinds() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    let iid = place.path("iid");
    place.build(&["--tag", "app:1", "--iidfile", &iid]).ok();
    let id = fs::read_to_string(&iid).unwrap();
    let config = |kind: &str, file: &str| -> Value {
        let name = format!("{kind}:{}", place.path(file));
        place
            .skopeo(&["inspect", "--config", "--raw", &name])
            .json()
    };
    for (output, media, skopeo) in PACKED {
        let file = output.split(['=', ',']).nth(2).unwrap();
        let output = format!(
            "type={}",
            output.replace("dest=", &format!("dest={}/", place.path("")))
        );
        let tagged = place.build(&["--output", &output, "--iidfile", &iid]);
        tagged.ok();
        // The same image whatever it is packed in.
        assert_eq!(fs::read_to_string(&iid).unwrap(), id, "{output}");
        let bytes = fs::read(place.path(file)).unwrap();
        let (manifest, _) = manifest(&members(&bytes));
        let types = manifest["layers"].as_array().unwrap().iter();
        for layer in types {
            let said = layer["mediaType"].as_str().unwrap();
            assert!(said.ends_with(*media), "{output}: {said}");
        }
        assert_eq!(
            config(skopeo, file)["config"]["Cmd"][1],
            "/out/one",
            "{output}"
        );
        place.output(&output).ok();
        assert!(
            bytes == fs::read(place.path(file)).unwrap(),
            "{output} is reproducible"
        );
    }
    // Nothing but the first build has made names here, and what is loaded is what was built.
    place.host.hoist(&["image", "rm", "app:1"]).ok();
    place.host.hoist(&["image", "inspect", "app:2"]).fails();
    let loaded = place
        .host
        .hoist(&["image", "load", "-i", &place.path("d.tar")])
        .ok();
    loaded.says(&["Loaded image: app:2"]);
    let found = place.host.hoist(&["image", "inspect", "app:2"]).ok().json();
    assert_eq!(found[0]["Id"], id);
    place
        .host
        .hoist(&["container", "run", "--rm", "app:2"])
        .ok()
        .says(&["one\n"]);
    assert!(!place.host.path("a.tar.partial").exists());
}

#[test]
fn a_layout_is_a_directory_and_is_annotated() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    let layout = place.path("layout");
    let output = format!("type=oci,tar=false,dest={layout},annotation.a=b");
    let more = [
        "--annotation",
        "manifest,manifest-descriptor:c=d",
        "--output",
        &output,
    ];
    place.build(&[&["--tag", "app:1"], &more[..]].concat()).ok();
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(format!("{layout}/{name}")).unwrap()).unwrap()
    };
    let entry = read("index.json")["manifests"][0].clone();
    assert_eq!(entry["annotations"]["c"], "d");
    assert_eq!(
        entry["annotations"]["org.opencontainers.image.ref.name"],
        "1"
    );
    let digest = entry["digest"].as_str().unwrap().replace(':', "/");
    let manifest = read(&format!("blobs/{digest}"));
    assert_eq!(
        manifest["annotations"],
        serde_json::json!({"a": "b", "c": "d"})
    );
    // A second name joins the first.
    place.build(&["--tag", "app:2", "--output", &output]).ok();
    place.build(&["--tag", "app:2", "--output", &output]).ok();
    assert_eq!(read("index.json")["manifests"].as_array().unwrap().len(), 2);
    for tag in ["1", "2"] {
        place.skopeo(&["inspect", &format!("oci:{layout}:{tag}")]);
    }
}

#[test]
fn files_go_into_a_directory_and_to_standard_output() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    let text = format!("{DOCKERFILE}FROM scratch\nCOPY --from=0 /out /\n");
    fs::write(place.host.path("context/Dockerfile"), text).unwrap();
    let directory = place.path("files");
    place.output(&directory).ok();
    assert_eq!(
        fs::read_to_string(format!("{directory}/one")).unwrap(),
        "one\n"
    );
    let mode = fs::metadata(format!("{directory}/one"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    let link = fs::read_link(format!("{directory}/sub/link")).unwrap();
    assert_eq!(link, PathBuf::from("/out/one"));
    let names = |bytes: &[u8]| -> Vec<String> {
        let names = members(bytes).into_keys();
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    };
    for output in ["-", "type=tar,dest=-"] {
        let printed = place.host.path("printed.tar");
        let file = fs::File::create(&printed).unwrap();
        let mut command = place.host.hoist_command();
        command.args(["image", "build", "--output", output, &place.path("context")]);
        assert!(command.stdout(file).status().unwrap().success());
        let found = names(&fs::read(&printed).unwrap());
        assert_eq!(found, ["one", "sub/", "sub/link"], "{output}");
    }
}

#[test]
fn what_cannot_be_is_said_before_anything_is_built() {
    if !can_run() {
        return;
    }
    let place = Place::new();
    for (output, said) in [
        ("type=oci", "dest is missing"),
        ("type=what,dest=x", "\"what\" is no type"),
        ("type=oci,dest=x,compression=estargz", "estargz is not made"),
        ("type=local,dest=-", "cannot be written to standard output"),
        ("type=image,push=true", "the image has no name"),
    ] {
        place.output(output).fails().says(&[said]);
    }
    place
        .build(&["--annotation", "a=b"])
        .fails()
        .says(&["type=oci,dest=FILE"]);
    place
        .build(&["--provenance", "--tag", "a"])
        .ok()
        .says(&["no provenance attestation is made"]);
    let full = format!("type=oci,dest={}/nowhere/x.tar", place.path("none"));
    place
        .output(&full)
        .fails()
        .says(&["cannot write", "nowhere/x.tar", "No such file"]);
}
