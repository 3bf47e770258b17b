//! Settings of a container that contradict each other, in Docker's words (moby, `runconfig`).

use hoist_api::container::ContainerConfig;
use hoist_api::error::{ApiError, Result};
use hoist_api::host_config::HostConfig;

/// Refuses what a network, or another container's, leaves no place for. What an image brings is no contradiction.
pub(super) fn check(name: &str, config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let refuse = |why: &str| Err(ApiError::bad_request(why));
    if host.network_mode == "container" {
        return refuse("invalid network mode: invalid container format container:<name|id>");
    }
    if let Some(other) = host.network_mode.strip_prefix("container:") {
        if other.is_empty() {
            return refuse("invalid network mode: invalid container format container:<name|id>");
        }
        if other == name {
            return refuse("cannot join own network namespace: cannot join own network");
        }
        let conflicts = [
            (!config.hostname.is_empty(), "hostname and the network mode"),
            (
                !host.links.is_empty(),
                "container type network can't be used with links. This would result in undefined behavior",
            ),
            (!host.dns.is_empty(), "dns and the network mode"),
            (
                !host.extra_hosts.is_empty(),
                "custom host-to-IP mapping and the network mode",
            ),
            (
                !config.mac_address.is_empty(),
                "mac-address and the network mode",
            ),
            (
                !host.port_bindings.is_empty() || host.publish_all_ports,
                "port publishing and the container type network mode",
            ),
            (
                !config.exposed_ports.is_empty(),
                "port exposing and the container type network mode",
            ),
        ];
        if let Some((_, why)) = conflicts.iter().find(|(conflict, _)| *conflict) {
            return refuse(&format!("conflicting options: {why}"));
        }
    }
    if host.network_mode == "host" && !config.mac_address.is_empty() {
        return refuse("conflicting options: mac-address and the network mode");
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return refuse("conflicting options: hostname and the UTS mode");
    }
    if host.network_mode == "host" && !host.links.is_empty() {
        return refuse(
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(config: &str, host: &str, expected: &str) {
        let config: ContainerConfig = serde_json::from_str(config).unwrap();
        let parsed: HostConfig = serde_json::from_str(host).unwrap();
        let told = super::check("me", &config, &parsed)
            .err()
            .map_or_else(String::new, |error| error.message);
        assert!(
            expected.is_empty() == told.is_empty() && told.contains(expected),
            "{host}: {told:?} instead of {expected:?}"
        );
    }

    #[test]
    fn what_another_containers_network_leaves_no_place_for_is_refused() {
        let shared = |more: &str| format!(r#"{{"NetworkMode":"container:x"{more}}}"#);
        check("{}", &shared(""), "");
        check(
            "{}",
            r#"{"NetworkMode":"container:"}"#,
            "invalid container format",
        );
        check(
            "{}",
            r#"{"NetworkMode":"container:me"}"#,
            "cannot join own network",
        );
        check(
            r#"{"Hostname":"a"}"#,
            &shared(""),
            "hostname and the network mode",
        );
        check(
            "{}",
            &shared(r#","Dns":["1.1.1.1"]"#),
            "dns and the network mode",
        );
        check(
            "{}",
            &shared(r#","Links":["a:b"]"#),
            "container type network can't be used with links",
        );
        check(
            "{}",
            &shared(r#","ExtraHosts":["a:1.1.1.1"]"#),
            "custom host-to-IP mapping",
        );
        check(
            "{}",
            &shared(r#","PublishAllPorts":true"#),
            "port publishing",
        );
        check(
            r#"{"ExposedPorts":{"80/tcp":{}}}"#,
            &shared(""),
            "port exposing",
        );
        check(
            "{}",
            r#"{"NetworkMode":"host","Links":["a:b"]}"#,
            "host type networking",
        );
        check(
            r#"{"Hostname":"a"}"#,
            r#"{"UTSMode":"host"}"#,
            "hostname and the UTS mode",
        );
        check(
            r#"{"MacAddress":"02:42:ac:11:00:02"}"#,
            r#"{"NetworkMode":"host"}"#,
            "mac-address and the network mode",
        );
        check(
            "{}",
            r#"{"NetworkMode":"container"}"#,
            "invalid container format",
        );
        check(r#"{"Hostname":"a"}"#, r#"{"NetworkMode":"host"}"#, "");
    }
}
