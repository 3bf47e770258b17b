//! The part of a container's description that does not depend on the host.

use std::collections::BTreeMap;

use hoist_api::Empty;
use hoist_api::container::{ContainerConfig, HealthConfig};

use crate::graph::Reason;
use crate::model::{ComposeDuration, Healthcheck, Project, Service};

use super::{InstanceFacts, Shared, labels, mounts};

pub(crate) fn lower(
    project: &Project,
    image: &str,
    service: &Service,
    labels: &BTreeMap<String, String>,
) -> ContainerConfig {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let volumes = mounts::anonymous_targets(service);
    ContainerConfig {
        hostname: text(&service.hostname),
        domainname: text(&service.domainname),
        user: text(&service.user),
        attach_stdout: true,
        attach_stderr: true,
        exposed_ports: exposed_ports(service),
        tty: service.tty,
        open_stdin: service.stdin_open,
        env: environment(project, service),
        cmd: service.command.clone(),
        healthcheck: service.healthcheck.as_deref().map(health_check),
        image: image.to_owned(),
        volumes: (!volumes.is_empty()).then(|| {
            volumes
                .into_iter()
                .map(|target| (target, Empty {}))
                .collect()
        }),
        working_dir: text(&service.working_dir),
        entrypoint: service.entrypoint.clone(),
        labels: labels.clone(),
        stop_signal: text(&service.stop_signal),
        stop_timeout: service.stop_grace_period.map(whole_seconds),
        ..ContainerConfig::default()
    }
}

/// Seconds, rounded up so that a grace period of half a second is not none.
pub(crate) fn whole_seconds(duration: ComposeDuration) -> i64 {
    let nanoseconds = duration.as_nanoseconds().max(0);
    nanoseconds / 1_000_000_000 + i64::from(nanoseconds % 1_000_000_000 > 0)
}

/// A variable without value is taken from the project's environment; when it is not there, `NAME` alone hides the image's.
fn environment(project: &Project, service: &Service) -> Vec<String> {
    let variables = service.environment.iter().map(|(name, value)| {
        let value = value.as_ref().or_else(|| project.environment.get(name));
        value.map_or_else(|| name.clone(), |value| format!("{name}={value}"))
    });
    variables.collect()
}

fn exposed_ports(service: &Service) -> BTreeMap<String, Empty> {
    let published = service
        .ports
        .iter()
        .map(|port| format!("{}/{}", port.target, port.protocol()));
    let exposed = service.expose.iter().flat_map(|text| {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let ports = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
        let ports = ports.into_iter().flat_map(|(first, last)| first..=last);
        ports
            .map(|port| format!("{port}/{protocol}"))
            .collect::<Vec<_>>()
    });
    published
        .chain(exposed)
        .map(|port| (port, Empty {}))
        .collect()
}

fn health_check(check: &Healthcheck) -> HealthConfig {
    let nanoseconds =
        |value: Option<ComposeDuration>| value.map_or(0, ComposeDuration::as_nanoseconds);
    if check.disable {
        return HealthConfig {
            test: vec!["NONE".to_owned()],
            ..HealthConfig::default()
        };
    }
    HealthConfig {
        test: check.test.clone(),
        interval: nanoseconds(check.interval),
        timeout: nanoseconds(check.timeout),
        start_period: nanoseconds(check.start_period),
        start_interval: nanoseconds(check.start_interval),
        retries: check
            .retries
            .map_or(0, |retries| i64::try_from(retries).unwrap_or(i64::MAX)),
    }
}

/// Services whose containers this one's refer to.
pub(crate) fn shared(service: &Service) -> Vec<Shared> {
    let namespaces = [
        (Reason::NetworkNamespace, &service.network_mode),
        (Reason::IpcNamespace, &service.ipc),
        (Reason::PidNamespace, &service.pid),
    ];
    let namespaces = namespaces.into_iter().filter_map(|(reason, mode)| {
        let service = mode.as_deref()?.strip_prefix("service:")?.to_owned();
        Some(Shared {
            reason,
            service,
            mode: None,
        })
    });
    let volumes = service
        .volumes_from
        .iter()
        .filter(|from| !from.starts_with("container:"))
        .map(|from| {
            let (service, mode) = from
                .split_once(':')
                .map_or((from.as_str(), None), |(service, mode)| {
                    (service, Some(mode))
                });
            Shared {
                reason: Reason::VolumesFrom,
                service: service.to_owned(),
                mode: mode.map(str::to_owned),
            }
        });
    namespaces.chain(volumes).collect()
}

/// `links`: service and alias.
pub(crate) fn links(service: &Service) -> Vec<(String, String)> {
    let links = service
        .links
        .iter()
        .map(|link| link.split_once(':').unwrap_or((link, link)));
    links
        .map(|(service, alias)| (service.to_owned(), alias.to_owned()))
        .collect()
}

pub(crate) fn set_instance_labels(
    labels: &mut BTreeMap<String, String>,
    facts: &InstanceFacts<'_>,
) {
    labels.insert(
        labels::CONTAINER_NUMBER.to_owned(),
        facts.number.to_string(),
    );
    labels.insert(labels::IMAGE.to_owned(), facts.image_id.to_owned());
    if let Some(replaced) = facts.replaces {
        labels.insert(labels::REPLACE.to_owned(), replaced.to_owned());
    }
}
