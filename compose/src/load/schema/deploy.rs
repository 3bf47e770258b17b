//! The attributes of `build`, `deploy` and `develop`.

use super::service::{
    BUILD_ULIMITS, CAST_FLAG, COUNT, DRIVER_OPTION_FIELDS, DURATION, EXTRA_HOSTS, FILE_REFERENCES,
    FLAG, HOOK_FIELDS, KEY_VALUES, PLAIN_KEY_VALUES, PLAIN_TEXTS, TEXT, TEXT_OR_TEXTS, TEXTS,
    WHOLE_SIZE,
};
use super::types::{
    ANY, BOOL, Cast, Fields, Format, INT, Merge, NUMBER, Open, Presence, Rule, STRING, Type, Unify,
    is_any_name,
};

static BUILD_FIELDS: Fields = Fields::closed(&[
    ("additional_contexts", KEY_VALUES),
    ("args", KEY_VALUES),
    ("cache_from", PLAIN_TEXTS),
    ("cache_to", PLAIN_TEXTS),
    ("context", TEXT),
    ("dockerfile", TEXT),
    ("dockerfile_inline", TEXT),
    ("entitlements", PLAIN_TEXTS),
    ("extra_hosts", EXTRA_HOSTS),
    ("isolation", TEXT),
    ("labels", KEY_VALUES),
    ("network", TEXT),
    ("no_cache", FLAG),
    ("no_cache_filter", TEXT_OR_TEXTS),
    ("platforms", PLAIN_TEXTS),
    ("privileged", FLAG),
    ("provenance", Type::scalar(STRING | BOOL)),
    ("pull", FLAG),
    ("sbom", Type::scalar(STRING | BOOL)),
    ("secrets", FILE_REFERENCES),
    ("shm_size", WHOLE_SIZE),
    ("ssh", PLAIN_KEY_VALUES),
    ("tags", PLAIN_TEXTS.unify(Unify::KeyValue)),
    ("target", TEXT),
    ("ulimits", BUILD_ULIMITS),
]);
pub(super) const BUILD: Type = TEXT.or_map(&BUILD_FIELDS).merge(Merge::Build);

const RATIO: Type = Type::scalar(NUMBER | STRING).cast(Cast::Float);
const ORDERS: &[&str] = &["start-first", "stop-first"];
/// None at all is the same as not written.
const PAUSE: Type = DURATION.presence(Presence::OmitZero);
static UPDATE_FIELDS: Fields = Fields::closed(&[
    ("parallelism", COUNT.presence(Presence::Keep)),
    ("delay", PAUSE),
    ("failure_action", TEXT),
    ("monitor", PAUSE),
    ("max_failure_ratio", RATIO),
    ("order", TEXT.words(ORDERS)),
]);
const UPDATE: Type = Type::map(&UPDATE_FIELDS);

const CPUS: Type = Type::scalar(NUMBER | STRING).cast(Cast::Float);
const MEMORY: Type = TEXT.format(Format::Bytes);
static LIMITS: Fields = Fields::closed(&[
    ("cpus", CPUS),
    ("memory", MEMORY),
    ("pids", Type::scalar(INT | STRING)),
]);
static DISCRETE_FIELDS: Fields = Fields::closed(&[
    ("kind", TEXT.presence(Presence::Keep)),
    (
        "value",
        Type::scalar(NUMBER | STRING).presence(Presence::Keep),
    ),
]);
static GENERIC_FIELDS: Fields =
    Fields::closed(&[("discrete_resource_spec", Type::map(&DISCRETE_FIELDS))]);
static GENERIC: Type = Type::map(&GENERIC_FIELDS);
static DEVICE_REQUEST_FIELDS: Fields = Fields::closed(&[
    ("capabilities", TEXTS),
    ("count", Type::scalar(STRING | INT).rule(Rule::NoFraction)),
    ("device_ids", TEXTS),
    ("driver", TEXT),
    ("options", PLAIN_KEY_VALUES),
]);
pub(super) static DEVICE_REQUEST: Type = Type::map(&DEVICE_REQUEST_FIELDS);
static RESERVED_DEVICE_FIELDS: Fields = Fields::closed(&[
    ("capabilities", TEXTS),
    ("count", Type::scalar(STRING | INT).rule(Rule::NoFraction)),
    ("device_ids", TEXTS),
    ("driver", TEXT),
    ("options", PLAIN_KEY_VALUES),
])
.required(&["capabilities"]);
static RESERVED_DEVICE: Type = Type::map(&RESERVED_DEVICE_FIELDS);
static RESERVATIONS: Fields = Fields::closed(&[
    ("cpus", CPUS),
    ("memory", MEMORY),
    ("generic_resources", Type::list(&GENERIC)),
    ("devices", Type::list(&RESERVED_DEVICE)),
]);
static RESOURCES: Fields = Fields::closed(&[
    ("limits", Type::map(&LIMITS)),
    ("reservations", Type::map(&RESERVATIONS)),
]);

static RESTART_POLICY: Fields = Fields::closed(&[
    ("condition", TEXT),
    ("delay", DURATION),
    ("max_attempts", COUNT.presence(Presence::Keep)),
    ("window", DURATION),
]);
static PREFERENCE_FIELDS: Fields = Fields::closed(&[("spread", TEXT)]);
static PREFERENCE: Type = Type::map(&PREFERENCE_FIELDS);
static PLACEMENT: Fields = Fields::closed(&[
    ("constraints", PLAIN_TEXTS),
    ("preferences", Type::list(&PREFERENCE)),
    ("max_replicas_per_node", COUNT),
]);
static DEPLOY_FIELDS: Fields = Fields::closed(&[
    ("mode", TEXT),
    ("endpoint_mode", TEXT),
    ("replicas", COUNT.presence(Presence::Keep)),
    ("labels", KEY_VALUES),
    ("rollback_config", UPDATE),
    ("update_config", UPDATE),
    (
        "resources",
        Type::map(&RESOURCES).presence(Presence::OmitEmptySection),
    ),
    ("restart_policy", Type::map(&RESTART_POLICY)),
    (
        "placement",
        Type::map(&PLACEMENT).presence(Presence::OmitEmptySection),
    ),
]);
pub(super) const DEPLOY: Type = Type::map(&DEPLOY_FIELDS).or_null();

const ACTIONS: &[&str] = &["rebuild", "sync", "restart", "sync+restart", "sync+exec"];
static WATCH_FIELDS: Fields = Fields::closed(&[
    ("ignore", TEXT_OR_TEXTS),
    ("include", TEXT_OR_TEXTS),
    ("path", TEXT),
    ("action", TEXT.words(ACTIONS)),
    ("target", TEXT),
    (
        "exec",
        Type::map(&HOOK_FIELDS).presence(Presence::OmitEmptySection),
    ),
    ("initial_sync", Type::scalar(BOOL)),
])
.required(&["path", "action"]);
static WATCH: Type = Type::map(&WATCH_FIELDS);
static DEVELOP_FIELDS: Fields = Fields::closed(&[("watch", Type::list(&WATCH))]);
pub(super) const DEVELOP: Type = Type::map(&DEVELOP_FIELDS).or_null();

/// Sections that other tables share.
pub(super) static FLAG_OR_NAME_FIELDS: Fields = Fields::open(Open {
    name: is_any_name,
    noun: "key",
    value: &ANY,
})
.named(&[("name", TEXT)]);
pub(super) const EXTERNAL: Type = CAST_FLAG.or_map(&FLAG_OR_NAME_FIELDS);
/// The same where nothing else may stand beside the name.
pub(super) const EXTERNAL_NAME: Type = CAST_FLAG.or_map(&ONLY_NAME_FIELDS);
static ONLY_NAME_FIELDS: Fields = Fields::closed(&[("name", TEXT)]);
pub(super) const DRIVER_OPTIONS: Type = Type::map(&DRIVER_OPTION_FIELDS);
