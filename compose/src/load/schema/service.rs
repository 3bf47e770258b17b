//! The attributes of a service.

use super::deploy::{BUILD, DEPLOY, DEVELOP, DEVICE_REQUEST};
use super::types::{
    BOOL, Cast, Fields, Format, INT, Merge, NULL, NUMBER, Open, Presence, Rule, STRING, Type, Unify,
};
use super::types::{is_any_name, is_resource_name};

pub(super) const TEXT: Type = Type::scalar(STRING);
pub(super) static TEXT_ITEM: Type = TEXT;
pub(super) const FLAG: Type = Type::scalar(BOOL | STRING);
pub(super) const CAST_FLAG: Type = FLAG.cast(Cast::Bool);
pub(super) const COUNT: Type = Type::scalar(INT | STRING).cast(Cast::Int);
pub(super) const SIZE: Type = Type::scalar(NUMBER | STRING).format(Format::Bytes);
/// A size that is no fraction.
pub(super) const WHOLE_SIZE: Type = Type::scalar(INT | STRING).format(Format::Bytes);
pub(super) const DURATION: Type = TEXT.format(Format::Duration);
/// A list of different strings.
pub(super) const TEXTS: Type = Type::unique_list(&TEXT_ITEM);
/// A list of strings.
pub(super) const PLAIN_TEXTS: Type = Type::list(&TEXT_ITEM);
pub(super) const TEXT_OR_TEXTS: Type = TEXTS.or_scalar(STRING);
pub(super) const COMMAND: Type = PLAIN_TEXTS
    .or_scalar(STRING | NULL)
    .merge(Merge::Replace)
    .presence(Presence::Keep);

static PAIR_VALUE: Type = Type::scalar(NULL | BOOL | NUMBER | STRING);
static PAIRS: Fields = Fields::open(Open {
    name: is_any_name,
    noun: "key",
    value: &PAIR_VALUE,
});
/// A mapping, or a list of `KEY=VALUE`.
pub(super) const KEY_VALUES: Type = TEXTS
    .or_map(&PAIRS)
    .merge(Merge::KeyValues)
    .unify(Unify::KeyValue);
/// The same where merging is nothing special.
pub(super) const PLAIN_KEY_VALUES: Type = TEXTS.or_map(&PAIRS);

const OPTION_VALUE_TYPE: Type = Type::scalar(NULL | NUMBER | STRING);
static OPTION_VALUE: Type = OPTION_VALUE_TYPE;
static OPTION_MAP: Fields = Fields::open(Open {
    name: is_any_name,
    noun: "option",
    value: &OPTION_VALUE,
});
/// A mapping of options.
pub(super) const OPTIONS: Type = Type::map(&OPTION_MAP);

static STORAGE_OPTION: Type = OPTION_VALUE_TYPE.rule(Rule::NoFraction);
static STORAGE_OPTION_MAP: Fields = Fields::open(Open {
    name: is_any_name,
    noun: "option",
    value: &STORAGE_OPTION,
});

static DRIVER_OPTION: Type = Type::scalar(NUMBER | STRING);
pub(super) static DRIVER_OPTION_FIELDS: Fields = Fields::open(Open {
    name: is_any_name,
    noun: "option",
    value: &DRIVER_OPTION,
});

static HOST_ADDRESSES: Type = PLAIN_TEXTS.or_scalar(STRING);
static HOSTS: Fields = Fields::open(Open {
    name: is_any_name,
    noun: "host",
    value: &HOST_ADDRESSES,
});
pub(super) const EXTRA_HOSTS: Type = TEXTS.or_map(&HOSTS).merge(Merge::ExtraHosts);

static ULIMIT_FIELDS: Fields = Fields::closed(&[
    ("hard", COUNT.presence(Presence::Keep)),
    ("soft", COUNT.presence(Presence::Keep)),
])
.required(&["hard", "soft"]);
const MERGED_ULIMIT: Type = COUNT.or_map(&ULIMIT_FIELDS);
static ULIMIT: Type = MERGED_ULIMIT.merge(Merge::Replace);
static ULIMIT_MAP: Fields = Fields::open(Open {
    name: is_any_name,
    noun: "limit",
    value: &ULIMIT,
});
const ULIMITS: Type = Type::map(&ULIMIT_MAP);
static BUILD_ULIMIT: Type = MERGED_ULIMIT;
static BUILD_ULIMIT_MAP: Fields = Fields::open(Open {
    name: is_any_name,
    noun: "limit",
    value: &BUILD_ULIMIT,
});
/// Those of builds, which merge as any mapping does.
pub(super) const BUILD_ULIMITS: Type = Type::map(&BUILD_ULIMIT_MAP);

static FILE_REFERENCE_FIELDS: Fields = Fields::closed(&[
    ("source", TEXT),
    ("target", TEXT),
    ("uid", TEXT),
    ("gid", TEXT),
    ("mode", Type::scalar(NUMBER | STRING).rule(Rule::NoFraction)),
]);
static FILE_REFERENCE: Type = TEXT.or_map(&FILE_REFERENCE_FIELDS);
pub(super) const FILE_REFERENCES: Type = Type::list(&FILE_REFERENCE);

pub(super) static HOOK_FIELDS: Fields = Fields::closed(&[
    ("command", COMMAND),
    ("user", TEXT),
    ("privileged", FLAG),
    ("working_dir", TEXT),
    ("environment", PLAIN_KEY_VALUES),
])
.required(&["command"]);
static HOOK: Type = Type::map(&HOOK_FIELDS);
static PRE_START_FIELDS: Fields = Fields::closed(&[
    ("command", COMMAND),
    ("image", TEXT),
    ("user", TEXT),
    ("privileged", FLAG),
    ("working_dir", TEXT),
    ("environment", PLAIN_KEY_VALUES),
    ("per_replica", FLAG),
]);
static PRE_START: Type = Type::map(&PRE_START_FIELDS);

const WEIGHT_NUMBER: Type = Type::scalar(INT | STRING).cast(Cast::Int);
static WEIGHT_FIELDS: Fields = Fields::closed(&[
    ("path", TEXT.presence(Presence::Keep)),
    ("weight", WEIGHT_NUMBER.presence(Presence::Keep)),
])
.without_extensions();
static WEIGHT: Type = Type::map(&WEIGHT_FIELDS);
static RATE_FIELDS: Fields = Fields::closed(&[
    ("path", TEXT.presence(Presence::Keep)),
    ("rate", WHOLE_SIZE.presence(Presence::Keep)),
])
.without_extensions();
static RATE: Type = Type::map(&RATE_FIELDS);
const RATES: Type = Type::list(&RATE);
static BLKIO: Fields = Fields::closed(&[
    ("device_read_bps", RATES),
    ("device_read_iops", RATES),
    ("device_write_bps", RATES),
    ("device_write_iops", RATES),
    ("weight", WEIGHT_NUMBER),
    ("weight_device", Type::list(&WEIGHT)),
])
.without_extensions();

static CREDENTIAL_SPEC: Fields =
    Fields::closed(&[("config", TEXT), ("file", TEXT), ("registry", TEXT)]);

const CONDITIONS: &[&str] = &[
    "service_started",
    "service_healthy",
    "service_completed_successfully",
];
static DEPENDENCY_FIELDS: Fields = Fields::closed(&[
    ("condition", TEXT.words(CONDITIONS)),
    ("restart", FLAG),
    ("required", Type::scalar(BOOL).presence(Presence::Keep)),
])
.required(&["condition"]);
static DEPENDENCY: Type = Type::map(&DEPENDENCY_FIELDS);
static DEPENDENCIES: Fields = Fields::open(Open {
    name: is_resource_name,
    noun: "service",
    value: &DEPENDENCY,
});

static DEVICE_FIELDS: Fields =
    Fields::closed(&[("source", TEXT), ("target", TEXT), ("permissions", TEXT)])
        .required(&["source"]);
static DEVICE: Type = TEXT.or_map(&DEVICE_FIELDS);

static ENV_FILE_FIELDS: Fields = Fields::closed(&[
    ("path", TEXT),
    ("format", TEXT),
    ("required", FLAG.presence(Presence::Keep)),
])
.required(&["path"])
.without_extensions();
static ENV_FILE: Type = TEXT.or_map(&ENV_FILE_FIELDS);

static EXTENDS_FIELDS: Fields =
    Fields::closed(&[("service", TEXT), ("file", TEXT)]).required(&["service"]);

static PROVIDER_VALUE_ITEM: Type = Type::scalar(BOOL | NUMBER | STRING);
static PROVIDER_VALUE: Type = Type::scalar(BOOL | NUMBER | STRING).or_list(&PROVIDER_VALUE_ITEM);
static PROVIDER_OPTIONS: Fields = Fields::open(Open {
    name: is_any_name,
    noun: "option",
    value: &PROVIDER_VALUE,
});
static PROVIDER: Fields =
    Fields::closed(&[("type", TEXT), ("options", Type::map(&PROVIDER_OPTIONS))])
        .required(&["type"]);

static HEALTHCHECK: Fields = Fields::closed(&[
    ("disable", CAST_FLAG),
    ("interval", DURATION),
    (
        "retries",
        Type::scalar(NUMBER | STRING)
            .cast(Cast::Int)
            .presence(Presence::Keep),
    ),
    ("test", PLAIN_TEXTS.or_scalar(STRING).merge(Merge::Replace)),
    ("timeout", DURATION),
    ("start_period", DURATION),
    ("start_interval", DURATION),
]);

static LOGGING: Fields = Fields::closed(&[("driver", TEXT), ("options", OPTIONS)]);

static MODEL_FIELDS: Fields = Fields::closed(&[("endpoint_var", TEXT), ("model_var", TEXT)]);
static MODEL: Type = Type::map(&MODEL_FIELDS).or_null();
static MODELS: Fields = Fields::open(Open {
    name: is_resource_name,
    noun: "model",
    value: &MODEL,
});

static ATTACHMENT_FIELDS: Fields = Fields::closed(&[
    ("aliases", TEXTS.unify(Unify::KeyValue)),
    ("interface_name", TEXT),
    ("ipv4_address", TEXT),
    ("ipv6_address", TEXT),
    ("link_local_ips", TEXTS.unify(Unify::KeyValue)),
    ("mac_address", TEXT),
    ("driver_opts", Type::map(&DRIVER_OPTION_FIELDS)),
    ("priority", Type::scalar(NUMBER)),
    ("gw_priority", Type::scalar(NUMBER)),
]);
static ATTACHMENT: Type = Type::map(&ATTACHMENT_FIELDS).or_null();
static ATTACHMENTS: Fields = Fields::open(Open {
    name: is_resource_name,
    noun: "network",
    value: &ATTACHMENT,
});

static PORT_FIELDS: Fields = Fields::closed(&[
    ("name", TEXT),
    ("mode", TEXT),
    ("host_ip", TEXT),
    (
        "target",
        Type::scalar(INT | STRING)
            .cast(Cast::Int)
            .rule(Rule::Between(0, u32::MAX as i64)),
    ),
    (
        "published",
        Type::scalar(INT | STRING).rule(Rule::NoFraction),
    ),
    ("protocol", TEXT),
    ("app_protocol", TEXT),
]);
static PORT: Type = Type::scalar(NUMBER | STRING).or_map(&PORT_FIELDS);

const MOUNT_TYPES: &[&str] = &["bind", "volume", "tmpfs", "cluster", "npipe", "image"];
static BIND: Fields = Fields::closed(&[
    ("propagation", TEXT),
    ("create_host_path", FLAG),
    (
        "recursive",
        TEXT.words(&["enabled", "disabled", "writable", "readonly"]),
    ),
    ("selinux", TEXT.words(&["z", "Z"])),
]);
static VOLUME_OPTIONS: Fields = Fields::closed(&[
    ("labels", PLAIN_KEY_VALUES),
    ("nocopy", CAST_FLAG),
    ("subpath", TEXT),
]);
static TMPFS: Fields = Fields::closed(&[
    (
        "size",
        Type::scalar(INT | STRING)
            .format(Format::Bytes)
            .rule(Rule::Between(0, i64::MAX)),
    ),
    ("mode", Type::scalar(NUMBER | STRING)),
]);
static IMAGE_OPTIONS: Fields = Fields::closed(&[("subpath", TEXT)]);
static MOUNT_FIELDS: Fields = Fields::closed(&[
    ("type", TEXT.words(MOUNT_TYPES)),
    ("source", TEXT),
    ("target", TEXT),
    ("read_only", CAST_FLAG),
    ("consistency", TEXT),
    ("bind", Type::map(&BIND)),
    ("volume", Type::map(&VOLUME_OPTIONS)),
    ("tmpfs", Type::map(&TMPFS)),
    ("image", Type::map(&IMAGE_OPTIONS)),
])
.required(&["type"]);
static MOUNT: Type = TEXT.or_map(&MOUNT_FIELDS);

const NUMBER_OR_TEXT: Type = Type::scalar(NUMBER | STRING);
static EXPOSED_PORT: Type = NUMBER_OR_TEXT;
static GROUP: Type = NUMBER_OR_TEXT.rule(Rule::NoFraction);

fn is_container_name(name: &str) -> bool {
    // The reference's pattern is not anchored: two good characters in a row are enough for it.
    name.as_bytes().windows(2).any(|pair| {
        pair[0].is_ascii_alphanumeric()
            && (pair[1].is_ascii_alphanumeric() || matches!(pair[1], b'_' | b'.' | b'-'))
    })
}

fn is_pull_policy(policy: &str) -> bool {
    const WORDS: [&str; 8] = [
        "always",
        "never",
        "build",
        "if_not_present",
        "missing",
        "refresh",
        "daily",
        "weekly",
    ];
    let periods = |text: &str| {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        unit.len() < text.len() && unit.starts_with(['w', 'd', 'h', 'm', 's'])
    };
    WORDS.iter().any(|word| policy.contains(word))
        || policy
            .split_once("every_")
            .is_some_and(|(_, rest)| periods(rest))
}

const CPU_NUMBER: Type = Type::scalar(NUMBER | STRING).cast(Cast::Int);
const CPU_TIME: Type = Type::scalar(NUMBER | STRING).cast(Cast::Microseconds);

pub(super) static SERVICE_FIELDS: Fields = Fields::closed(&[
    ("annotations", KEY_VALUES),
    ("attach", CAST_FLAG.presence(Presence::Keep)),
    ("blkio_config", Type::map(&BLKIO)),
    ("build", BUILD),
    ("cap_add", TEXTS.unify(Unify::KeyValue)),
    ("cap_drop", TEXTS.unify(Unify::KeyValue)),
    ("cgroup", TEXT.words(&["host", "private"])),
    ("cgroup_parent", TEXT),
    ("command", COMMAND),
    ("configs", FILE_REFERENCES.unify(Unify::FileTarget(""))),
    (
        "container_name",
        TEXT.rule(Rule::Matching(is_container_name, "letters, digits, `_`, `.` and `-`, at least two of them")),
    ),
    ("cpu_count", Type::scalar(INT | STRING).cast(Cast::Int).rule(Rule::Between(0, i64::MAX))),
    ("cpu_percent", Type::scalar(INT | STRING).cast(Cast::Float).rule(Rule::Between(0, 100))),
    ("cpu_period", CPU_NUMBER),
    ("cpu_quota", CPU_NUMBER),
    ("cpu_rt_period", CPU_TIME),
    ("cpu_rt_runtime", CPU_TIME),
    ("cpu_shares", CPU_NUMBER),
    ("cpus", Type::scalar(NUMBER | STRING).cast(Cast::Float)),
    ("cpuset", TEXT),
    ("credential_spec", Type::map(&CREDENTIAL_SPEC)),
    ("depends_on", TEXTS.or_map(&DEPENDENCIES).merge(Merge::DependsOn)),
    ("deploy", DEPLOY),
    ("develop", DEVELOP),
    ("device_cgroup_rules", TEXTS),
    ("devices", Type::list(&DEVICE).unify(Unify::DeviceTarget)),
    ("dns", TEXT_OR_TEXTS.merge(Merge::KeyValues).unify(Unify::KeyValue)),
    ("dns_opt", TEXTS.merge(Merge::KeyValues).unify(Unify::KeyValue)),
    ("dns_search", TEXT_OR_TEXTS.merge(Merge::KeyValues).unify(Unify::KeyValue)),
    ("domainname", TEXT),
    ("entrypoint", COMMAND),
    ("env_file", Type::list(&ENV_FILE).or_scalar(STRING).merge(Merge::KeyValues).unify(Unify::EnvFile)),
    ("environment", KEY_VALUES),
    ("expose", Type::unique_list(&EXPOSED_PORT).unify(Unify::Expose)),
    ("extends", TEXT.or_map(&EXTENDS_FIELDS)),
    ("external_links", TEXTS),
    ("extra_hosts", EXTRA_HOSTS),
    ("gpus", Type::list(&DEVICE_REQUEST).or_scalar(STRING).words(&["all"])),
    ("group_add", Type::unique_list(&GROUP)),
    ("healthcheck", Type::map(&HEALTHCHECK)),
    ("hostname", TEXT),
    ("image", TEXT),
    ("init", CAST_FLAG.presence(Presence::Keep)),
    ("ipc", TEXT),
    ("isolation", TEXT),
    ("label_file", PLAIN_TEXTS.or_scalar(STRING).merge(Merge::KeyValues)),
    ("labels", KEY_VALUES),
    ("links", TEXTS.unify(Unify::KeyValue)),
    ("logging", Type::map(&LOGGING).merge(Merge::Logging)),
    ("mac_address", TEXT),
    ("mem_limit", SIZE),
    ("mem_reservation", Type::scalar(INT | STRING).format(Format::Bytes)),
    ("mem_swappiness", Type::scalar(INT | STRING).format(Format::Bytes)),
    ("memswap_limit", SIZE),
    ("models", TEXTS.or_map(&MODELS).merge(Merge::NamedOptions)),
    ("network_mode", TEXT),
    ("networks", TEXTS.or_map(&ATTACHMENTS).merge(Merge::NamedOptions)),
    ("oom_kill_disable", CAST_FLAG),
    ("oom_score_adj", Type::scalar(INT | STRING).cast(Cast::Int).rule(Rule::Between(-1000, 1000))),
    ("pid", TEXT.or_null()),
    ("pids_limit", Type::scalar(NUMBER | STRING).cast(Cast::Int)),
    ("platform", TEXT),
    ("ports", Type::unique_list(&PORT).unify(Unify::Port)),
    ("post_start", Type::list(&HOOK)),
    ("pre_start", Type::list(&PRE_START)),
    ("pre_stop", Type::list(&HOOK)),
    ("privileged", CAST_FLAG),
    ("profiles", TEXTS.unify(Unify::KeyValue)),
    ("provider", Type::map(&PROVIDER)),
    (
        "pull_policy",
        TEXT.rule(Rule::Matching(
            is_pull_policy,
            "always, never, missing, if_not_present, build, refresh, daily, weekly or every_<period> (as in every_12h)",
        )),
    ),
    ("pull_refresh_after", TEXT),
    ("read_only", CAST_FLAG),
    ("restart", TEXT),
    ("runtime", TEXT),
    ("scale", COUNT.presence(Presence::Keep)),
    ("secrets", FILE_REFERENCES.unify(Unify::FileTarget("/run/secrets"))),
    ("security_opt", TEXTS),
    ("shm_size", SIZE),
    ("stdin_open", CAST_FLAG),
    ("stop_grace_period", DURATION),
    ("stop_signal", TEXT),
    ("storage_opt", Type::map(&STORAGE_OPTION_MAP)),
    ("sysctls", KEY_VALUES),
    ("tmpfs", TEXT_OR_TEXTS.merge(Merge::KeyValues).unify(Unify::KeyValue)),
    ("tty", CAST_FLAG),
    ("ulimits", ULIMITS),
    ("use_api_socket", Type::scalar(BOOL)),
    ("user", TEXT),
    ("userns_mode", TEXT),
    ("uts", TEXT),
    ("volumes", Type::unique_list(&MOUNT).unify(Unify::VolumeTarget)),
    ("volumes_from", TEXTS),
    ("working_dir", TEXT),
]);

/// A service.
pub(crate) static SERVICE: Type = Type::map(&SERVICE_FIELDS);
