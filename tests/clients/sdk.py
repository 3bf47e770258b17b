"""Docker's SDK for Python through the calls that scripts make. Prints «all is well» at the end."""

import io
import tarfile
import threading

import docker

client = docker.from_env()
assert client.ping()
api = client.api

# Running, waiting, logs.
assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
try:
    client.containers.run("busybox", ["sh", "-c", "echo no >&2; exit 3"], remove=True)
    raise AssertionError("exit code 3 is no error")
except docker.errors.ContainerError as error:
    assert error.exit_status == 3 and b"no" in error.stderr, error

box = client.containers.run(
    "busybox",
    ["sh", "-c", "while true; do echo tick; sleep 0.2; done"],
    name="box",
    detach=True,
    environment={"A": "1", "GONE": None},
    labels={"k": "v"},
    mem_limit="64m",
    ports={"80/tcp": None},
)
box.reload()
assert box.status == "running" and box.attrs["Config"]["Labels"] == {"k": "v"}
assert "GONE" in box.attrs["Config"]["Env"]
assert box.ports["80/tcp"][0]["HostPort"].isdigit(), box.ports
stream = box.logs(stream=True, follow=True)
assert next(stream) == b"tick\n"
assert [found.name for found in client.containers.list(filters={"label": "k=v"})] == ["box"]

# Execs, with streams apart and together. What a process says at once must not get lost.
for _ in range(10):
    assert box.exec_run(["echo", "inside"]) == (0, b"inside\n")
code, (out, err) = box.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
assert (code, out, err) == (4, b"out\n", b"err\n"), (code, out, err)
assert box.exec_run("id -u", user="9", privileged=True).output == b"9\n"
assert box.exec_run("pwd", workdir="/etc").output == b"/etc\n"
assert box.exec_run(["nothing"]).exit_code == 127
assert box.exec_run("tty", tty=True).output.startswith(b"/dev/"), "a terminal"

# Builds: what fails in an instruction is told in the stream, a Dockerfile that is none is refused.
image, said = client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN echo made > /made\n"), tag="made:sdk")
assert client.containers.run("made:sdk", "cat /made", remove=True) == b"made\n"
assert any(line.get("stream", "").startswith("Step 2/2") for line in said), said
for dockerfile, kind in [
    (b"FROM 127.0.0.1:1/absent\n", docker.errors.BuildError),
    (b"FROM busybox\nRUN exit 3\n", docker.errors.BuildError),
    (b"FROM busybox\nFLY away\n", docker.errors.APIError),
]:
    try:
        client.images.build(fileobj=io.BytesIO(dockerfile))
        raise AssertionError("built")
    except kind:
        pass
client.images.remove("made:sdk")

# Statistics: one look has both moments, a stream goes on.
stats = box.stats(stream=False)
assert stats["precpu_stats"]["system_cpu_usage"] < stats["cpu_stats"]["system_cpu_usage"]
assert stats["memory_stats"]["limit"] == 64 << 20 and stats["pids_stats"]["current"] > 0
assert "eth0" in stats["networks"], stats
seen = box.stats(stream=True, decode=True)
assert next(seen)["id"] == next(seen)["id"] == box.id

# Files in and out.
archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w") as tar:
    entry = tarfile.TarInfo("side")
    entry.size = 4
    tar.addfile(entry, io.BytesIO(b"word"))
assert box.put_archive("/tmp", archive.getvalue())
pieces, stat = box.get_archive("/tmp/side")
assert stat["name"] == "side" and stat["size"] == 4, stat
with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
    assert tar.extractfile("side").read() == b"word"
assert {"Path": "/tmp/side", "Kind": 1} in box.diff()
made = box.commit("made", "1", changes='CMD ["cat", "/tmp/side"]')
assert client.containers.run("made:1", remove=True) == b"word"
assert made.attrs["Parent"] == box.image.id

# Limits, names, freezing, processes.
box.update(mem_limit="96m", cpu_shares=512)
box.reload()
assert box.attrs["HostConfig"]["Memory"] == 96 << 20
box.pause()
box.unpause()
box.rename("case")
assert box.top(ps_args="-o pid,args")["Titles"] == ["PID", "COMMAND"]

# Events: told as they happen, and later.
happened = []
events = client.events(decode=True, filters={"container": "case"})
follower = threading.Thread(target=lambda: happened.extend(e["Action"] for e in events), daemon=True)
follower.start()
waiter = []
waiting = threading.Thread(target=lambda: waiter.append(box.wait()["StatusCode"]))
waiting.start()
box.kill("KILL")
waiting.join(20)
assert waiter == [137], waiter
box.remove(v=True)
past = client.events(since=1, until=int(api.info()["SystemTime"] != ""), decode=True)
assert list(past) == []

# Networks and volumes.
pool = docker.types.IPAMPool(subnet="10.78.0.0/24", gateway="10.78.0.1")
net = client.networks.create("net", ipam=docker.types.IPAMConfig(pool_configs=[pool]), internal=True)
one = client.containers.create("busybox", "sleep 1000", name="one")
net.connect(one, aliases=["uno"], ipv4_address="10.78.0.7")
one.start()
one.reload()
assert one.attrs["NetworkSettings"]["Networks"]["net"]["IPAddress"] == "10.78.0.7"
two = client.containers.run("busybox", "ping -c 1 uno", network="net", remove=True)
assert b"10.78.0.7" in two
net.disconnect(one, force=True)
one.remove(force=True)
net.remove()
data = client.volumes.create("data", labels={"a": "b"})
assert [volume.name for volume in client.volumes.list(filters={"label": "a=b"})] == ["data"]
data.remove()
try:
    client.volumes.get("data")
    raise AssertionError("a removed volume is found")
except docker.errors.NotFound:
    pass
assert client.df()["LayersSize"] > 0
assert api.version()["ApiVersion"] and api.info()["Swarm"]["LocalNodeState"] == "inactive"
assert "destroy" in happened or follower.is_alive(), happened
print("all is well")
