//! What is mounted in containers beside directories of the machine: images, and parts of volumes and images.

use serde_json::json;

use super::protocol::created;
use crate::check;
use crate::common::{TestHost, can_run};

const IMAGE: &str = r#"
    docker run --name made busybox sh -c 'echo bar >/foo; mkdir /subdir /hack; echo world >/subdir/hello; chmod 700 /subdir; ln -s ../subdir /hack/good; ln -s /subdir /hack/bad; ln -s ../../etc /hack/up'
    docker commit made files => sha256:
    docker rm made
"#;

#[test]
fn an_images_files_are_mounted_read_only() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    check(&host, IMAGE);
    check(
        &host,
        r#"
        docker run --rm --mount type=image,source=files,target=/image busybox sh -c 'cat /image/foo; ls /image/bin/busybox' => bar
        docker run --rm --mount type=image,source=files,target=/image busybox touch /image/x =! Read-only file system
        docker run --rm --mount type=image,source=files,target=/image,image-subpath=subdir busybox ls /image => hello
        docker run --rm --mount type=image,source=files,target=/image,image-subpath=hack/good busybox cat /image/hello => world
        docker run --rm --mount type=image,source=files,target=/image,image-subpath=subdir/hello busybox cat /image => world
        docker run --rm --mount type=image,source=files,target=/image,image-subpath=hack/bad busybox true =! path concatenation escapes the base directory
        docker run --rm --mount type=image,source=files,target=/image,image-subpath=hack/up busybox true =! path concatenation escapes the base directory
        docker run --rm --mount type=image,source=files,target=/image,image-subpath=none busybox true =! cannot access path none
        docker run --rm --mount type=image,source=files,target=/image,image-subpath=../x busybox true =! subpath must be a relative path within the volume
        docker run --rm --mount type=image,source=nothing:here,target=/image busybox true =! No such image: nothing:here
        # It is in use.
        docker create --name user --mount type=image,source=files,target=/image busybox cat /image/foo
        docker inspect -f '{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}}{{end}}' user => image files /image false
        docker rmi files =! is using its referenced image
        docker cp user:/image/subdir/hello - | tar -xO => world
        docker cp /etc/hostname user:/image/ =! mounted volume is marked read-only
        docker run --rm --volumes-from user busybox cat /image/foo => bar
        # By force it only loses its name.
        docker rmi -f files
        docker start -a user => bar
        docker rm user
        docker image prune -f => deleted
        "#,
    );
}

#[test]
fn a_user_namespaces_root_owns_an_images_files() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    check(&host, IMAGE);
    for (subpath, shown) in [("", "/image/subdir"), ("subdir", "/image/hello")] {
        let mount = json!({"Type": "image", "Source": "files", "Target": "/image", "ImageOptions": {"Subpath": subpath}});
        let id = created(
            &host,
            &json!({"Image": "busybox", "Cmd": ["stat", "-c", "owner %u", shown],
                "HostConfig": {"UsernsMode": "auto", "Mounts": [mount]}}),
        );
        let script = format!(
            "docker start -a {id} => owner 0
            docker rm {id}"
        );
        check(&host, &script);
    }
}

#[test]
fn memory_is_shared_by_who_shares_it() {
    if !can_run() {
        return;
    }
    check(
        &TestHost::with_busybox(),
        r#"
        docker run --rm --ipc none busybox grep -c /dev/shm /proc/mounts =! 0
        docker run -d --name private busybox sleep 1000
        docker run --rm --ipc container:private busybox true =! non-shareable IPC (hint: use IpcMode:shareable for the donor container)
        docker run -d --name giver --ipc shareable busybox sh -c 'echo x >/dev/shm/y; sleep 1000'
        docker run -d --name taker --ipc container:giver busybox sleep 1000
        docker run --rm --ipc container:taker busybox cat /dev/shm/y => x
        docker rm -f private giver taker
        "#,
    );
}

#[test]
fn places_and_words_that_mounts_cannot_have() {
    if !can_run() {
        return;
    }
    check(
        &TestHost::with_busybox(),
        r#"
        docker run --rm -v /proc//sys busybox true =! it is inside /proc
        docker run --rm -v data:/proc busybox true =! it is inside /proc
        docker run --rm -v /etc/hostname:/proc/uptime busybox cat /proc/uptime
        docker run --rm -v data:/v:shared busybox true =! field BindOptions must not be specified
        docker run --rm -v /etc:/v:nocopy busybox true =! invalid mode: nocopy
        docker run --rm --tmpfs /t:shared busybox grep ' /t ' /proc/self/mountinfo => shared:
        docker run --rm --read-only busybox touch /etc/hosts =! Read-only file system
        docker create --name one -v /v busybox
        docker create --name two -v /v busybox
        docker run --rm --volumes-from one:odd busybox true =! invalid mode: odd
        docker run --name three --volumes-from one --volumes-from two:ro busybox touch /v/x =! Read-only file system
        [ "$(docker inspect -f '{{(index .Mounts 0).Name}}' three)" = "$(docker inspect -f '{{(index .Mounts 0).Name}}' two)" ]
        docker create --name work -w /made/by/nobody busybox
        docker cp /etc/hostname work:/made/by/nobody
        "#,
    );
}

#[test]
fn a_part_of_a_volume_is_mounted_and_filled() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    check(
        &host,
        r#"
        docker run --rm -v data:/v busybox sh -c 'echo foo >/v/file; mkdir /v/bin /v/own /v/hack; echo world >/v/own/hello; ln -s / /v/hack/root; ln -s ../own /v/hack/good'
        docker run --rm --mount type=volume,source=data,target=/v,volume-subpath=own busybox cat /v/hello => world
        docker run --rm --mount type=volume,source=data,target=/v,volume-subpath=hack/good busybox cat /v/hello => world
        docker run --rm --mount type=volume,source=data,target=/v,volume-subpath=file busybox cat /v => foo
        docker run --rm --mount type=volume,source=data,target=/v,volume-subpath=hack/root busybox true =! path concatenation escapes the base directory
        docker run --rm --mount type=volume,source=data,target=/v,volume-subpath=none busybox true =! cannot access path none
        docker run --rm --mount type=volume,target=/v,volume-subpath=own busybox true =! must not set Subpath when using anonymous volumes
        # An empty directory is filled from the image as an empty volume is, unless it is asked not to.
        docker run --rm --mount type=volume,source=data,target=/bin,volume-subpath=bin,volume-nocopy busybox true =! executable file not found
        docker run --rm --mount type=volume,source=data,target=/bin,volume-subpath=bin busybox ls /bin/busybox => /bin/busybox
        docker run --rm -v data:/v busybox ls /v/own => hello
        docker create --name part --mount type=volume,source=data,target=/v,volume-subpath=own busybox true
        docker cp part:/v/hello - | tar -xO => world
        # Swapped for a link before the start: it stays in the volume.
        docker run --rm -v data:/v busybox sh -c 'mv /v/own /v/old; ln -s /etc /v/own'
        docker start -a part =! path concatenation escapes the base directory
        "#,
    );
}
