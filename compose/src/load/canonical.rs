//! The canonical form of a project: what `hoist config` prints, and what a service's configuration hash is made of.

use serde_json::Value;

use crate::model::{Project, Service};

/// The canonical project as data, equal to the reference's `config --format json`.
pub fn project_value(project: &Project) -> Value {
    serde_json::to_value(project).unwrap_or_default()
}

/// The canonical service as data.
pub fn service_value(service: &Service) -> Value {
    serde_json::to_value(service).unwrap_or_default()
}

/// The hash of what the user wrote about a service: lower case hexadecimal SHA-256 of its canonical form without
/// `build`, `pull_policy`, `scale`, `deploy.replicas`, `depends_on` and `profiles`.
pub fn service_hash(service: &Service) -> String {
    use sha2::Digest;
    let mut value = service_value(service);
    if let Value::Object(map) = &mut value {
        for key in ["build", "pull_policy", "scale", "depends_on", "profiles"] {
            map.shift_remove(key);
        }
        if let Some(Value::Object(deploy)) = map.get_mut("deploy") {
            deploy.shift_remove("replicas");
        }
    }
    value.sort_all_objects();
    hex::encode(sha2::Sha256::digest(value.to_string()))
}
