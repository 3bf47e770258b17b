//! The top level of a file, and the resources declared there.

use super::deploy::{DRIVER_OPTIONS, EXTERNAL, EXTERNAL_NAME};
use super::service::{
    CAST_FLAG, KEY_VALUES, PLAIN_KEY_VALUES, PLAIN_TEXTS, SERVICE, TEXT, TEXT_OR_TEXTS,
};
use super::types::{
    ANY, Fields, INT, Merge, Open, Presence, Type, Unify, is_any_name, is_resource_name,
};

static SERVICES: Fields = Fields::open(Open {
    name: is_resource_name,
    noun: "service",
    value: &SERVICE,
});

static ADDRESS: Type = TEXT;
static ADDRESSES: Fields = Fields::open(Open {
    name: is_any_name,
    noun: "host",
    value: &ADDRESS,
});
static POOL_FIELDS: Fields = Fields::closed(&[
    ("subnet", TEXT),
    ("ip_range", TEXT),
    ("gateway", TEXT),
    ("aux_addresses", Type::map(&ADDRESSES)),
]);
static POOL: Type = Type::map(&POOL_FIELDS);
static IPAM: Fields = Fields::closed(&[
    ("driver", TEXT),
    ("config", Type::list(&POOL).merge(Merge::AddressPools)),
    ("options", Type::map(&ADDRESSES)),
]);
static NETWORK_FIELDS: Fields = Fields::closed(&[
    ("name", TEXT),
    ("driver", TEXT),
    ("driver_opts", DRIVER_OPTIONS),
    (
        "ipam",
        Type::map(&IPAM).presence(Presence::OmitEmptySection),
    ),
    ("external", EXTERNAL_NAME),
    ("internal", CAST_FLAG),
    ("enable_ipv4", CAST_FLAG.presence(Presence::Keep)),
    ("enable_ipv6", CAST_FLAG.presence(Presence::Keep)),
    ("attachable", CAST_FLAG),
    ("labels", KEY_VALUES),
]);
static NETWORK: Type = Type::map(&NETWORK_FIELDS).or_null();
static NETWORKS: Fields = Fields::open(Open {
    name: is_resource_name,
    noun: "network",
    value: &NETWORK,
});

static VOLUME_FIELDS: Fields = Fields::closed(&[
    ("name", TEXT),
    ("driver", TEXT),
    ("driver_opts", DRIVER_OPTIONS),
    ("external", EXTERNAL_NAME),
    ("labels", KEY_VALUES),
]);
static VOLUME: Type = Type::map(&VOLUME_FIELDS).or_null();
static VOLUMES: Fields = Fields::open(Open {
    name: is_resource_name,
    noun: "volume",
    value: &VOLUME,
});

static SECRET_FIELDS: Fields = Fields::closed(&[
    ("name", TEXT),
    ("environment", TEXT),
    ("file", TEXT),
    ("external", EXTERNAL),
    ("labels", PLAIN_KEY_VALUES.unify(Unify::KeyValue)),
    ("driver", TEXT),
    ("driver_opts", DRIVER_OPTIONS),
    ("template_driver", TEXT),
]);
static SECRET: Type = Type::map(&SECRET_FIELDS);
static SECRETS: Fields = Fields::open(Open {
    name: is_resource_name,
    noun: "secret",
    value: &SECRET,
});

static CONFIG_FIELDS: Fields = Fields::closed(&[
    ("name", TEXT),
    ("content", TEXT),
    ("environment", TEXT),
    ("file", TEXT),
    ("external", EXTERNAL),
    ("labels", PLAIN_KEY_VALUES.unify(Unify::KeyValue)),
    ("template_driver", TEXT),
]);
static CONFIG: Type = Type::map(&CONFIG_FIELDS);
static CONFIGS: Fields = Fields::open(Open {
    name: is_resource_name,
    noun: "config",
    value: &CONFIG,
});

static MODEL_FIELDS: Fields = Fields::closed(&[
    ("name", TEXT),
    ("model", TEXT.presence(Presence::Keep)),
    ("context_size", Type::scalar(INT)),
    ("runtime_flags", PLAIN_TEXTS),
])
.required(&["model"]);
static MODEL: Type = Type::map(&MODEL_FIELDS);
static MODELS: Fields = Fields::open(Open {
    name: is_resource_name,
    noun: "model",
    value: &MODEL,
});

// As the reference: what it does not know, it passes over.
static INCLUDE_FIELDS: Fields = Fields::open(Open {
    name: is_any_name,
    noun: "attribute",
    value: &ANY,
})
.named(&[
    ("path", TEXT_OR_TEXTS),
    ("env_file", TEXT_OR_TEXTS),
    ("project_directory", TEXT),
]);
static INCLUDE: Type = TEXT.or_map(&INCLUDE_FIELDS);

static ROOT_FIELDS: Fields = Fields::closed(&[
    ("version", TEXT),
    ("name", TEXT),
    ("include", Type::list(&INCLUDE).or_null()),
    ("services", Type::map(&SERVICES).presence(Presence::Keep)),
    ("models", Type::map(&MODELS)),
    ("networks", Type::map(&NETWORKS)),
    ("volumes", Type::map(&VOLUMES)),
    ("secrets", Type::map(&SECRETS)),
    ("configs", Type::map(&CONFIGS)),
]);

/// A Compose file.
pub(crate) static ROOT: Type = Type::map(&ROOT_FIELDS);
