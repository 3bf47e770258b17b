//! Every call of Docker's API 1.51: none of them is a page that this engine does not know.

use super::protocol::call;
use crate::common::{TestHost, can_run};

/// What an engine says that is in no swarm, has no plugin, or has no such object.
const CALLS: &str = "
    GET /_ping 200
    HEAD /_ping 200
    OPTIONS / 200
    OPTIONS /containers/json 200
    GET /version 200
    GET /info 200
    GET /events?since=1&until=2 200
    GET /system/df 200
    POST /auth 400
    POST /session 400
    POST /grpc 400
    POST /build/prune 200
    POST /build?remote=odd 400
    POST /commit?container=absent 404
    GET /containers/json 200
    POST /containers/create 400
    POST /containers/prune 200
    GET /containers/absent/json 404
    GET /containers/absent/top 404
    GET /containers/absent/logs?stdout=1 404
    GET /containers/absent/changes 404
    GET /containers/absent/export 404
    GET /containers/absent/stats 404
    POST /containers/absent/resize?h=1&w=1 404
    POST /containers/absent/start 404
    POST /containers/absent/stop 404
    POST /containers/absent/restart 404
    POST /containers/absent/kill 404
    POST /containers/absent/update 404
    POST /containers/absent/rename?name=x 404
    POST /containers/absent/pause 404
    POST /containers/absent/unpause 404
    POST /containers/absent/attach?stream=1 404
    GET /containers/absent/attach/ws 404
    POST /containers/absent/wait 404
    DELETE /containers/absent 404
    HEAD /containers/absent/archive?path=/ 404
    GET /containers/absent/archive?path=/ 404
    PUT /containers/absent/archive?path=/ 404
    GET /containers/absent/checkpoints 404
    POST /containers/absent/checkpoints 404
    DELETE /containers/absent/checkpoints/one 404
    POST /containers/absent/exec 404
    POST /exec/absent/start 404
    POST /exec/absent/resize?h=1&w=1 404
    GET /exec/absent/json 404
    GET /images/json 200
    POST /images/create?fromSrc=absent.invalid 500
    GET /images/absent/json 404
    GET /images/absent/history 404
    POST /images/absent/push 404
    POST /images/absent/tag?repo=x 404
    DELETE /images/absent 404
    GET /images/search?term=x&limit=1000 400
    POST /images/prune 200
    GET /images/absent/get 404
    GET /images/get?names=absent 404
    POST /images/load 200
    GET /distribution/127.0.0.1:1/absent/json 500
    GET /volumes 200
    POST /volumes/create 201
    GET /volumes/absent 404
    PUT /volumes/absent 503
    DELETE /volumes/absent 404
    POST /volumes/prune 200
    GET /networks 200
    GET /networks/absent 404
    DELETE /networks/absent 404
    POST /networks/create 400
    POST /networks/absent/connect 404
    POST /networks/absent/disconnect 400
    POST /networks/prune 200
    GET /plugins 200
    GET /plugins/privileges?remote=x 501
    POST /plugins/pull?remote=x 501
    POST /plugins/create?name=x 501
    GET /plugins/absent/json 404
    DELETE /plugins/absent 404
    POST /plugins/absent/enable 404
    POST /plugins/absent/disable 404
    POST /plugins/absent/upgrade?remote=x 404
    POST /plugins/absent/push 404
    POST /plugins/absent/set 404
    GET /nodes 503
    GET /nodes/one 503
    DELETE /nodes/one 503
    POST /nodes/one/update?version=1 503
    GET /swarm 503
    POST /swarm/init 501
    POST /swarm/join 501
    POST /swarm/leave 503
    POST /swarm/update?version=1 503
    GET /swarm/unlockkey 503
    POST /swarm/unlock 503
    GET /services 503
    POST /services/create 503
    GET /services/one 503
    DELETE /services/one 503
    POST /services/one/update?version=1 503
    GET /services/one/logs 503
    GET /tasks 503
    GET /tasks/one 503
    GET /tasks/one/logs 503
    GET /secrets 503
    POST /secrets/create 503
    GET /secrets/one 503
    DELETE /secrets/one 503
    POST /secrets/one/update?version=1 503
    GET /configs 503
    POST /configs/create 503
    GET /configs/one 503
    DELETE /configs/one 503
    POST /configs/one/update?version=1 503
";

#[test]
fn every_call_of_dockers_is_known() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let mut wrong = Vec::new();
    for line in CALLS.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let [method, path, expected] = words[..] else {
            panic!("{line}");
        };
        for version in ["", "/v1.41", "/v1.51"] {
            let body = if method == "GET" || method == "HEAD" {
                ""
            } else {
                "{}"
            };
            let (status, said) = call(&host, method, &format!("{version}{path}"), body);
            let explained = status < 400
                || method == "HEAD"
                || said.contains(r#""message":""#)
                // Docker's engine answers it in words.
                || (path.contains("/attach?") && said.contains("No such container: absent\r\n"));
            if status.to_string() != expected || said.contains("page not found") || !explained {
                wrong.push(format!("{version}{line}: {status} {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
