//! Docker's command line through the lives of containers, files, networks and volumes.

use crate::check;
use crate::common::{TestHost, can_run};

#[test]
#[allow(
    clippy::too_many_lines,
    reason = "one life, told from its beginning to its end"
)]
fn a_containers_life() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    check(
        &host,
        r#"
        docker version => API version:
        docker run --rm busybox echo hello => hello
        docker run --rm busybox sh -c 'echo out; echo err >&2; exit 3' =! err
        docker run --rm -e A=1 -w /tmp busybox sh -c 'echo $A $PWD' => 1 /tmp
        echo typed | docker run --rm -i busybox cat => typed
        docker run --rm -u 7:8 busybox id => uid=7 gid=8
        docker run --rm nothing:here true =! nothing:here
        docker run --rm busybox no-such-command =! executable file not found
        docker create --name one --label a=b --memory 64m --oom-score-adj 100 -p 18080:80 busybox sleep 1000
        docker ps -a --filter name=^one$ --format '{{.Status}} {{.Image}}' => Created busybox
        docker start one => one
        docker create --name one busybox =! is already in use by container
        docker port one => 80/tcp -> 0.0.0.0:18080
        docker ps --filter label=a=b --format '{{.Names}} {{.Ports}}' => one 0.0.0.0:18080->80/tcp
        docker ps --filter label=a=c -q => -
        docker ps --filter publish=18080 --format '{{.Names}}' => one
        docker ps --filter ancestor=busybox --format '{{.Names}}' => one
        docker ps --filter status=odd =! invalid
        docker exec one echo inside => inside
        docker exec one cat /proc/self/oom_score_adj => 100
        docker exec -e X=y -w /etc -u 5 one sh -c 'echo $X $PWD $(id -u)' => y /etc 5
        echo in | docker exec -i one cat => in
        docker exec -d one touch /tmp/made
        docker exec one no-such =! executable file not found
        docker exec one sh -c 'exit 4'; echo $? => 4
        docker top one => sleep 1000
        docker top one -o pid,args => PID
        docker stats --no-stream --format '{{.Name}} {{.PIDs}}' one => one 1
        docker update --memory 96m --restart on-failure:2 one => one
        docker inspect -f '{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}' one => 100663296 on-failure
        docker pause one => one
        docker ps --format '{{.Status}}' => (Paused)
        docker pause one =! is already paused
        docker unpause one => one
        docker rename one two
        docker inspect -f '{{.Name}}' two => /two
        docker logs two => -
        docker attach --sig-proxy=false two & sleep 0.2; docker kill -s KILL two => two
        docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' two => exited 137
        docker kill two =! is not running
        docker stop two => two
        docker restart -t 0 two => two
        docker wait two & docker stop -t 0 two; wait => 137
        docker rm two => two
        docker rm two =! No such container: two
        docker run -d --name three --rm busybox sleep 1000
        docker rm three =! container is running
        docker rm -f three => three
        docker ps -aq => -
        docker run --name four busybox sh -c 'for i in 1 2 3; do echo line $i; done'
        docker logs --tail 1 four => line 3
        docker logs -t --since 1h four => line 1
        docker logs --until 1h four => -
        docker run --name five --link four:data -d busybox sleep 1000 =! Cannot link to a non running container: /four AS /five/data
        docker rm five
        docker run -d --name six --hostname its-own busybox sleep 1000
        docker run --name five --link six:data -d busybox sleep 1000
        docker exec five sh -c 'ping -c 1 -W 5 its-own && ping -c 1 -W 5 data' => 1 packets received
        docker exec five env => DATA_NAME=/five/data
        docker rm -f five six
        docker container prune -f => Total reclaimed space
        docker ps -aq => -
        sleep 1; docker events --since 1h --until 0s --filter event=rename --format '{{.Action}} {{.Actor.Attributes.oldName}}' => rename /one
        docker info --format '{{.Driver}} {{.Swarm.LocalNodeState}}' => overlay2 inactive
        docker node ls =! This node is not a swarm manager
        docker plugin ls => ENABLED
        docker inspect nothing =! o such object: nothing
        "#,
    );
}

#[test]
fn files_go_in_and_out() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    check(
        &host,
        r#"
        docker volume create data => data
        docker create --name box -v data:/data busybox sh -c 'cat /in/side; sleep 1000'
        mkdir -p in/deep; echo word > in/side; ln -s side in/link; chmod 640 in/side
        docker cp in box:/
        docker cp box:/in/side - | tar -xO => word
        docker cp box:/in - | tar -t => in/deep/
        docker cp box:/in/. out; ls out => link
        docker cp box:/in/link - | tar -tv => link -> side
        docker cp -L box:/in/link copied; cat copied => word
        docker cp in/side box:/data/kept; docker run --rm -v data:/d busybox cat /d/kept => word
        docker cp box:/nothing - =! Could not find the file /nothing in container box
        docker cp in/side box:/no/such/place =! Could not find the file /no/such in container box
        docker cp in box:/in/side =! cannot copy directory
        docker start box
        docker exec box ls -l /in/side => -rw-r-----
        docker cp in/side box:/tmp/live; docker exec box cat /tmp/live => word
        docker cp box:/data/kept - | tar -xO => word
        docker exec box sh -c 'ln -s /etc /tmp/out; rm /bin/vi; echo x > /new'
        docker cp in/side box:/tmp/out/landed; docker exec box cat /etc/landed => word
        docker diff box => A /new
        docker diff box => D /bin/vi
        docker export box | tar -t => new
        docker export box | tar -t | grep -c kept =! 0
        docker ps -s --format '{{.Size}}' => virtual
        docker commit -a me -m why -c 'CMD ["cat", "/new"]' -c 'EXPOSE 7' box made:1 => sha256:
        docker run --rm made:1 => x
        docker run --rm made:1 ls /bin/vi =! No such file
        docker inspect -f '{{.Author}} {{.Comment}} {{.Config.ExposedPorts}}' made:1 => me why map[7/tcp:{}]
        docker history made:1 => why
        docker run --rm --read-only --name ro -d busybox sleep 1000
        docker cp in/side ro:/x =! read-only
        docker rm -f box ro
        docker volume rm data => data
        docker system df => Local Volumes
        "#,
    );
}

#[test]
fn networks_and_volumes_live_and_die() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    check(
        &host,
        r#"
        docker network ls --format '{{.Name}} {{.Driver}}' => none null
        docker network inspect bridge -f '{{(index .IPAM.Config 0).Gateway}}' => 172.
        docker network create --subnet 10.77.0.0/24 --gateway 10.77.0.9 --ip-range 10.77.0.128/25 --label k=v -o x=y front
        docker network create front =! network with name front already exists
        docker network create -d overlay far =! not a swarm manager
        docker network create host =! operation is not permitted on predefined host network
        docker network inspect front -f '{{(index .IPAM.Config 0).Subnet}} {{.Labels.k}} {{.Options.x}}' => 10.77.0.0/24 v y
        docker network ls -q --filter label=k=v --filter driver=bridge --no-trunc | wc -c => 65
        docker network ls --filter dangling=true --format '{{.Name}}' => front
        docker run -d --name web --network front --network-alias www --ip 10.77.0.50 busybox sleep 1000
        docker inspect web -f '{{.NetworkSettings.Networks.front.IPAddress}}' => 10.77.0.50
        docker run --rm --network front busybox ping -c 1 www => 10.77.0.50
        docker network create --internal back
        docker network connect --alias inner back web
        docker network connect back web =! already exists in network back
        docker run --rm --network back busybox ping -c 1 inner => 1 packets received
        docker network inspect -v back -f '{{range .Containers}}{{.Name}}{{end}}' => web
        docker network rm back =! has active endpoints
        docker network disconnect back web
        docker network disconnect back web =! is not connected
        docker network connect host web =! host
        docker network rm back => back
        docker network rm back =! network back not found
        docker rm -f web
        docker network prune -f => front
        docker volume create --label l=1 named => named
        docker volume create named => named
        docker volume create -d nfs far =! nfs
        docker volume ls -q --filter label=l=1 => named
        docker volume inspect named -f '{{.Driver}} {{.Scope}}' => local local
        docker run --name user -v named:/n -v /anonymous busybox touch /n/kept
        docker volume rm named =! volume is in use
        docker volume ls -q --filter dangling=true => -
        docker rm -v user
        docker volume ls -q => named
        docker run --rm -v named:/n:ro busybox ls /n => kept
        docker run --rm -v named:/n:ro busybox touch /n/x =! Read-only
        docker volume prune -f => Total reclaimed space
        docker volume ls -q => named
        docker volume prune -a -f => named
        docker volume rm named =! no such volume
        docker volume rm -f named => named
        "#,
    );
}

#[test]
fn what_a_container_learns_of_names_and_terminals() {
    if !can_run() {
        return;
    }
    check(
        &TestHost::with_busybox(),
        r#"
        # Names are for the networks that users make; the default one has the machine's servers, or those asked for.
        docker run --rm busybox grep -c 127.0.0 /etc/resolv.conf =! 0
        docker run --rm --dns 1.1.1.1 --dns 2.2.2.2 --dns-search a.example --dns-opt timeout:3 busybox cat /etc/resolv.conf => nameserver 2.2.2.2
        docker run --rm --network none busybox grep -c 127.0.0 /etc/resolv.conf =! 0
        docker network create users
        docker run -d --name there --network users --network-alias other --hostname host.example.com busybox sleep 1000
        docker run --rm --network users busybox cat /etc/resolv.conf => nameserver 127.0.0.11
        docker run -d --name later busybox sleep 1000
        docker network connect users later
        docker exec later sh -c 'grep 127.0.0.11 /etc/resolv.conf && ping -c 1 -W 5 other' => 1 packets received
        docker exec there cat /etc/hosts => host.example.com host
        # Links in a user's network are names of that network, also of who comes later.
        docker network create second
        docker run -d --name links --network users --link there:here --link absent:soon busybox sleep 1000
        docker exec links ping -c 1 -W 5 here => 1 packets received
        docker network connect second there
        docker network connect --link there:again second links
        docker network disconnect users there
        docker exec links ping -c 1 -W 5 again => 1 packets received
        docker exec links ping -c 1 -W 5 here =! bad address
        docker run -d --name absent --network users busybox sleep 1000
        docker exec links ping -c 1 -W 5 soon => 1 packets received
        # A chain of shared networks has the files of its beginning.
        docker run -d --name chained --network container:links busybox sleep 1000
        docker run --rm --network container:chained busybox cat /etc/hosts => localhost
        docker run --rm --network container:links --dns 1.1.1.1 busybox true =! conflicting options: dns and the network mode
        docker run --rm --name self --network container:self busybox true =! cannot join own network
        docker run -td --name typing busybox cat
        docker exec typing sh -c 'echo term=$TERM.' => term=.
        docker exec -t typing sh -c 'echo term=$TERM.' => term=xterm.
        docker run --rm -e HOME= busybox sh -c 'echo home=$HOME' => home=/root
        sleep 1; docker events --since 1h --until 0s --filter type=network --filter event=connect --filter network=users --format '{{.Actor.Attributes.name}}' => users
        docker rm -f there later links absent chained typing
        docker run --rm --log-opt odd=1 busybox true =! unknown log opt 'odd' for json-file log driver
        docker run --rm --cpuset-cpus 60000 busybox true =! Requested CPUs are not available
        docker run --rm -u -1 busybox true =! uids and gids must be in range 0-2147483647
        "#,
    );
}

/// The classic builder keeps an image for each instruction, and containers: `rm=0`, and that of a command that fails.
#[test]
fn what_the_classic_builder_leaves() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    check(
        &host,
        r#"
        mkdir c f; printf 'FROM busybox\nENV A=1\nRUN echo made >/made\nCMD ["cat","/made"]\n' > c/Dockerfile
        DOCKER_BUILDKIT=0 docker build -t whole c | tee said => Removed intermediate container
        docker run --rm whole => made
        docker run --rm $(sed -n 's/^ ---> \([0-9a-f]*\)$/\1/p' said | tail -2 | head -1) sh -c 'cat /made; echo $A' => 1
        docker images -q | sort -u | wc -l => 2
        docker images -aq | sort -u | wc -l => 4
        docker history -q whole | grep -vc missing => 4
        docker inspect -f '{{.Parent}}' whole => sha256:
        docker rmi $(docker inspect -f '{{.Parent}}' whole) =! image has dependent child images
        docker image prune -f => Total reclaimed space: 0B
        docker ps -aq => -
        sleep 1.1; docker events --since 1h --until 0s --filter event=start --format '{{.Action}}' | wc -l => 3
        DOCKER_BUILDKIT=0 docker build -t whole c => Using cache
        docker images -aq | sort -u | wc -l => 4
        DOCKER_BUILDKIT=0 docker build --no-cache --rm=false -t kept c | sed -n 's/^ ---> Running in //p' > ran
        docker ps -aq | sort > all; sort ran | diff - all && wc -l < all => 3
        docker commit $(sed -n 2p ran) again; docker run --rm again cat /made => made
        docker rm $(cat ran)
        printf 'FROM busybox\nRUN echo word >/word; exit 3\n' > f/Dockerfile
        printf 'FROM scratch\n' | DOCKER_BUILDKIT=0 docker build - =! No image was generated
        DOCKER_BUILDKIT=0 docker build f =! returned a non-zero code: 3
        docker ps -a --format '{{.Status}} {{.Command}}' --no-trunc => Exited (3)
        docker diff $(docker ps -aq) => A /word
        docker commit $(docker ps -aq) saved; docker run --rm saved cat /word => word
        docker start -a $(docker ps -aq); echo $? => 3
        docker rm $(docker ps -aq)
        DOCKER_BUILDKIT=0 docker build --force-rm f =! returned a non-zero code: 3
        docker ps -aq => -
        printf 'FROM busybox AS one\nENV A=1\nFROM one\nENV B=2\n' > f/Dockerfile; tar -C f -c Dockerfile > f.tar
        curl -s --unix-socket state/hoist.sock -H 'Content-Type: application/x-tar' --data-binary @f.tar 'http://d/build' | grep -c '"aux":{"ID"' => 2
        docker image prune -f
        docker rmi again saved kept => Deleted: sha256:
        docker rmi --no-prune whole => Deleted: sha256:
        docker image prune -f => deleted: sha256:
        docker images -aq | sort -u | wc -l => 1
        "#,
    );
}
