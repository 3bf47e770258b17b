//! Names of containers in paths. Docker's engine takes everything between `/containers/` and the call for a name, as `web/db`, a
//! container by its link in another. The router knows segments only, so that slashes in names are escaped.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

const CONTAINERS: &str = "/containers/";
/// What is asked of one container, as paths end.
const CALLS: &[&str] = &[
    "archive",
    "attach",
    "attach/ws",
    "changes",
    "exec",
    "export",
    "json",
    "kill",
    "logs",
    "pause",
    "rename",
    "resize",
    "restart",
    "start",
    "stats",
    "stop",
    "top",
    "unpause",
    "update",
    "wait",
];

/// The path with its container's name as one segment; none when it is that already.
pub(super) fn escape(uri: &Uri) -> Option<Uri> {
    let rest = uri.path().strip_prefix(CONTAINERS)?;
    let (name, call) = CALLS
        .iter()
        .filter_map(|call| Some((rest.strip_suffix(call)?.strip_suffix('/')?, *call)))
        // A link is removed without a call at its end, and needs no escape.
        .min_by_key(|(name, _)| name.len())?;
    if !name.trim_matches('/').contains('/') {
        return None;
    }
    let name = name.trim_matches('/').replace('/', "%2F");
    let query = uri.query().map(|query| format!("?{query}"));
    let path = format!("{CONTAINERS}{name}/{call}{}", query.unwrap_or_default());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let uri: Uri = path.parse().unwrap();
        let escaped = escape(&uri).unwrap_or(uri);
        assert_eq!(escaped.to_string(), expected);
    }

    #[test]
    fn a_name_is_one_segment() {
        check("/containers/web/json", "/containers/web/json");
        check("/containers/json?all=1", "/containers/json?all=1");
        check("/containers/create", "/containers/create");
        check(
            "/containers/web/db/json?size=1",
            "/containers/web%2Fdb/json?size=1",
        );
        check("/containers/web/attach/ws", "/containers/web/attach/ws");
        check("/containers/a/b/attach/ws", "/containers/a%2Fb/attach/ws");
        check("/containers/web/db?link=1", "/containers/web/db?link=1");
        check("/images/a/b/json", "/images/a/b/json");
    }
}
