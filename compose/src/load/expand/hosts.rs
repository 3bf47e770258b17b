//! `extra_hosts`: `host=address`, `host:address`, or a mapping, to one `host=address` for each address.

use super::super::diagnostic::Diagnostic;
use super::super::merge::host_list;
use super::super::node::{Node, Value};
use super::super::report::{Path, Report};

/// Expands the hosts of a service. Runs once, after all files are merged: before, hosts are compared as written.
pub(super) fn expand_hosts(service: &mut Node, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(hosts) = service.get_mut("extra_hosts") {
        expand(hosts, &path.key("extra_hosts"), report);
    }
    if let Some(hosts) = service
        .get_mut("build")
        .and_then(|build| build.get_mut("extra_hosts"))
    {
        expand(hosts, &path.key("build").key("extra_hosts"), report);
    }
}

fn expand(node: &mut Node, path: &Path<'_>, report: &mut Report<'_>) {
    if let Value::Map(map) = &node.value {
        for (name, value) in map.iter().filter(|(name, _)| name.contains('=')) {
            let message = format!("`{name}` in `{path}` is not a host: its name holds `=`");
            let problem = Diagnostic::error("wrong-value", message)
                .at(
                    report.locate(value.key_or_value()),
                    "expected the name of a host",
                )
                .help("write `host: address`, or a list of `host=address`");
            report.push(problem);
        }
    }
    let Some(items) = host_list(node) else { return };
    let mut expanded = Vec::new();
    for item in items {
        let Some(text) = item.as_str() else { continue };
        match entries(text) {
            Ok(entries) => expanded.extend(
                entries
                    .into_iter()
                    .map(|entry| Node::string(entry, item.span)),
            ),
            Err(why) => {
                let problem = Diagnostic::error(
                    "wrong-value",
                    format!("`{text}` in `{path}` is not a host: {why}"),
                )
                .at(report.locate(item.span), "expected `host=address`");
                report.push(problem);
            }
        }
    }
    expanded.sort_by(|left, right| left.as_str().cmp(&right.as_str()));
    // The same host and address in two spellings: printed twice, the file would be refused.
    expanded.dedup();
    node.value = Value::List(expanded);
}

fn entries(text: &str) -> Result<Vec<String>, &'static str> {
    let (host, addresses) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or("the address is missing")?;
    if host.is_empty() || host.contains(['=', ':']) {
        return Err("the name is not one of a host");
    }
    let bare = |address: &str| {
        let inner = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        inner
            .filter(|inner| !inner.is_empty())
            .unwrap_or(address)
            .to_owned()
    };
    Ok(addresses
        .split(',')
        .map(|address| format!("{host}={}", bare(address)))
        .collect())
}
