//! Docker Compose 2.40 with the demo: what it makes of examples/shop on this engine, from `up` to `down`.

use std::process::Command;

use crate::Shell;
use crate::common::{TestHost, can_run};

/// The demo on a host of its own, and Docker Compose in its directory.
fn shop_host() -> TestHost {
    let host = TestHost::new().with_shop();
    let copied = Command::new("cp")
        .arg("-R")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop"))
        .arg(host.path("shop"))
        .status();
    assert!(copied.expect("cp runs").success());
    host
}

#[test]
#[allow(
    clippy::too_many_lines,
    reason = "one life, told from its beginning to its end"
)]
fn docker_compose_runs_the_demo() {
    if !can_run() {
        return;
    }
    let host = shop_host();
    let shell = Shell::of(&host, &["docker-cli.sh", "compose-cli.sh"]).within("shop");
    shell.check(
        r#"
        docker-compose config -q
        docker-compose ps -q => -
        docker-compose up -d --wait => Container shop-web-1  Healthy
        docker-compose ls => running(5)
        docker-compose ps --format '{{.Service}} {{.State}} {{.Health}}' => api running healthy
        docker-compose ps --format '{{.Service}} {{.Ports}}' web => web 0.0.0.0:8080->80/tcp
        docker-compose ps --format '{{.Name}}' | sort | tr '\n' ' ' => shop-api-1 shop-api-2 shop-cache-1 shop-db-1 shop-web-1
        docker-compose ps --services --filter status=running | wc -l => 4
        docker-compose port web 80 => 0.0.0.0:8080
        docker-compose images => shop-db
        docker-compose top cache => redis-server
        docker-compose stats --no-stream --format '{{.Name}}' web => shop-web-1
        # The page, what both stores know, and the logs about it.
        docker-compose exec -T web busybox wget -q -O - http://127.0.0.1/ => <!doctype html>
        docker-compose exec -T web busybox wget -q -O - http://127.0.0.1/api/shop => "orders": 0
        docker-compose logs --no-log-prefix web => GET /api/shop
        docker-compose logs --tail 1 db => db-1  |
        timeout 2 docker-compose logs -f cache; test $? = 124 => Ready to accept connections
        docker-compose exec -T cache redis-cli set word 42 => OK
        docker-compose exec -T -e A=b -w /tmp api sh -c 'echo $A $PWD' => b /tmp
        docker-compose exec -T --index 2 api hostname
        docker-compose exec -T api sh -c 'exit 9'; echo $? => 9
        docker-compose exec -d api touch /tmp/made
        docker-compose exec -T db sh -c 'PGPASSWORD=$(cat /run/secrets/db_password) psql -h 127.0.0.1 -U shop -d shop -At -c "select count(*) from products"' => 4
        echo 'select 6 * 7' | docker-compose exec -T db sh -c 'PGPASSWORD=$(cat /run/secrets/db_password) psql -h 127.0.0.1 -U shop -d shop -At' => 42
        # One more of a service's containers, for one command.
        docker-compose run --rm -T --no-deps api echo once => once
        docker-compose run --rm -T api python3 -c 'import socket; print(socket.gethostbyname("db"))' => 172.
        docker-compose run --rm -T --no-deps api sh -c 'exit 3'; echo $? => 3
        docker-compose run -d --name kept --no-deps api sleep 100
        docker-compose ps -q | wc -l => 5
        docker rm -f kept => kept
        # Files both ways.
        echo word > word; docker-compose cp word api:/tmp/word; docker-compose exec -T --index 2 api cat /tmp/word => word
        docker-compose cp web:/etc/nginx/nginx.conf - | tar -xO => upstream
        docker-compose cp db:/docker-entrypoint-initdb.d got; ls got => .sql
        docker-compose cp nothing:/x . =! no container found for service
        # More of them, fewer of them.
        docker-compose scale api=3 => Container shop-api-3
        docker-compose ps -q api | wc -l => 3
        docker-compose up -d --wait --scale api=1 --no-recreate
        docker-compose ps --format '{{.Name}}' api => shop-api-1
        docker-compose ps -q api | wc -l => 1
        # Stopped, started, frozen, and made anew when the file says something else.
        docker-compose pause cache; docker ps --filter status=paused --format '{{.Names}}' => shop-cache-1
        docker-compose unpause cache
        docker-compose restart -t 1 cache => Container shop-cache-1  Started
        docker-compose stop -t 1 cache; docker ps -a --filter name=cache --format '{{.Status}}' => Exited (
        docker-compose start cache
        docker-compose kill -s KILL cache; docker wait shop-cache-1 => 137
        docker inspect -f '{{.Id}}' shop-web-1 > before-web; docker inspect -f '{{.Id}}' shop-api-1 > before-api
        SHOP_NAME=Other docker-compose up -d --wait --scale api=1 => Container shop-api-1  Recreate
        docker inspect -f '{{.Id}}' shop-api-1 | cmp - before-api =! differ
        docker inspect -f '{{.Id}}' shop-web-1 | cmp - before-web
        docker-compose exec -T web busybox wget -q -O - http://127.0.0.1/api/shop => Other
        docker-compose events --json --since 1h --until 0s | grep -c health_status
        docker-compose down
        docker ps -aq => -
        docker volume ls -q => shop_data
        docker-compose up -d --wait => Healthy
        docker-compose down -v => Volume shop_data  Removed
        docker volume ls -q => -
        docker network ls -q --filter type=custom => -
        docker-compose ls -a -q => -
        "#,
    );
}
