"""testcontainers with PostgreSQL and Redis: started, waited for, spoken to, gone. Prints «all is well» at the end."""

import socket
import time

import docker
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs


def ask(host, port, question, length):
    # PostgreSQL says that it is ready, starts once more, and listens to others only then.
    deadline = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                connection.sendall(question)
                answer = connection.recv(length)
                if answer or time.monotonic() > deadline:
                    return answer
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


with DockerContainer("shop-cache").with_exposed_ports(6379) as cache:
    wait_for_logs(cache, "Ready to accept connections", timeout=30)
    port = cache.get_exposed_port(6379)
    assert ask("127.0.0.1", port, b"PING\r\n", 7) == b"+PONG\r\n"
    code, output = cache.exec(["redis-cli", "set", "key", "value"])
    assert (code, output) == (0, b"OK\n"), (code, output)
    assert b"$5\r\nvalue\r\n" == ask("127.0.0.1", port, b"GET key\r\n", 64)

store = DockerContainer("shop-db").with_exposed_ports(5432)
with store.with_env("POSTGRES_PASSWORD", "secret").with_env("POSTGRES_DB", "shop") as store:
    wait_for_logs(store, "database system is ready to accept connections", timeout=60)
    # PostgreSQL's question whether it speaks TLS: one byte, yes or no.
    answer = ask("127.0.0.1", store.get_exposed_port(5432), b"\x00\x00\x00\x08\x04\xd2\x16\x2f", 1)
    assert answer in (b"N", b"S"), answer

assert docker.from_env().containers.list(all=True) == []
print("all is well")
