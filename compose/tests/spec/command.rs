//! `command` of a service: 05-services.md of the specification.

use super::service;

#[test]
fn text() {
    service(
        "
command: bundle exec thin -p 3000
",
        r#"
command:
- bundle
- exec
- thin
- "-p"
- "3000"
"#,
    );
}

#[test]
fn list() {
    service(
        r#"
command: ["bundle", "exec", "thin", "-p", "3000"]
"#,
        r#"
command:
- bundle
- exec
- thin
- "-p"
- "3000"
"#,
    );
}

#[test]
fn empty_list() {
    service(
        "
command: []
",
        "
command: []
",
    );
}

#[test]
fn null_is_the_images() {
    service(
        "
command: null
",
        "
{}
",
    );
}

#[test]
fn quotes() {
    service(
        r#"
command: sh -c 'echo "$$HOME"'
"#,
        r#"
command:
- sh
- "-c"
- "echo \"$$HOME\""
"#,
    );
}
