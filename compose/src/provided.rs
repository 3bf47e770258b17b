//! Services that a program runs instead of a container (`provider`), taken out of a project once they are there.

use indexmap::IndexMap;

use crate::model::{Dependency, Project};

/// What the program of a provider's service has told its dependents, by service.
pub type Told = IndexMap<String, IndexMap<String, String>>;

/// Takes the services with a provider out of the project. Who depends on one gets its variables, named after it, and
/// depends on what it depended on.
pub fn resolve(project: &mut Project, told: &Told) {
    for service in project.services.values_mut() {
        for (name, variables) in told {
            if service.depends_on.contains_key(name) {
                let variables = variables.iter().map(|(variable, value)| {
                    let variable = format!("{}_{variable}", name.to_uppercase());
                    (variable, Some(value.clone()))
                });
                service.environment.extend(variables);
            }
        }
    }
    while let Some((name, provided)) = take_one(project) {
        for service in project.services.values_mut() {
            if service.depends_on.shift_remove(&name).is_some() {
                for (dependency, condition) in &provided {
                    let known = service.depends_on.entry(dependency.clone());
                    known.or_insert_with(|| condition.clone());
                }
            }
        }
    }
}

fn take_one(project: &mut Project) -> Option<(String, IndexMap<String, Dependency>)> {
    let of_provider = project
        .services
        .iter()
        .find(|(_, service)| service.provider.is_some());
    let name = of_provider?.0.clone();
    let service = project.services.shift_remove(&name)?;
    Some((name, service.depends_on))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Provider, Service};

    fn service(depends_on: &[&str], provided: bool) -> Service {
        Service {
            depends_on: depends_on
                .iter()
                .map(|name| ((*name).to_owned(), Dependency::default()))
                .collect(),
            provider: provided.then(|| Box::new(Provider::default())),
            ..Service::default()
        }
    }

    #[test]
    fn dependents_get_variables_and_dependencies() {
        let mut project = Project::default();
        for (name, one) in [
            ("app", service(&["cloud-db"], false)),
            ("other", service(&[], false)),
            ("cloud-db", service(&["tunnel"], true)),
            ("tunnel", service(&["gate"], true)),
            ("gate", service(&[], false)),
        ] {
            project.services.insert(name.to_owned(), one);
        }
        let url = IndexMap::from([("URL".to_owned(), "x://1".to_owned())]);
        resolve(
            &mut project,
            &Told::from([
                ("cloud-db".to_owned(), url.clone()),
                ("tunnel".to_owned(), url),
            ]),
        );
        let left: Vec<&String> = project.services.keys().collect();
        assert_eq!(left, ["app", "other", "gate"]);
        let app = &project.services["app"];
        assert_eq!(app.depends_on.keys().collect::<Vec<_>>(), ["gate"]);
        let environment: Vec<_> = app.environment.iter().collect();
        assert_eq!(
            environment,
            [(&"CLOUD-DB_URL".to_owned(), &Some("x://1".to_owned()))]
        );
        assert!(project.services["other"].environment.is_empty());
    }
}
