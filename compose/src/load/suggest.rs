//! What the user may have meant.

/// The known word nearest to a misspelt one, when one is near enough.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase().replace('-', "_");
    let limit = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| {
            (
                distance(&lower, &candidate.to_lowercase().replace('-', "_")),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Advice that names what is there, when that is little enough to read.
pub(crate) fn one_of(known: &[&str], otherwise: &str) -> String {
    const MOST: usize = 8;
    if known.is_empty() || known.len() > MOST {
        return otherwise.to_owned();
    }
    let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("{otherwise}, or use one of {}", names.join(", "))
}

/// What to write instead of an attribute of older formats.
pub(crate) fn legacy(name: &str) -> Option<&'static str> {
    Some(match name {
        "net" => "write `network_mode`",
        "log_driver" => "write `logging: {driver: …}`",
        "log_opt" => "write `logging: {options: …}`",
        "dockerfile" => "write `build: {context: …, dockerfile: …}`",
        "volume_driver" => "declare the volume below the top-level `volumes:` with its `driver`",
        "env" | "envs" => "write `environment`",
        "memory" | "mem" => "write `mem_limit`",
        "cpu" => "write `cpus`",
        "port" => "write `ports`, a list",
        "cmd" => "write `command`",
        "args" => "write `command`, or `build: {args: …}` for build arguments",
        "depends" | "requires" | "needs" => "write `depends_on`",
        "health_check" | "health" => "write `healthcheck`",
        _ => return None,
    })
}

/// Edits between two words: insert, delete, replace, swap neighbours.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    if left.len().abs_diff(right.len()) > 3 {
        return usize::MAX;
    }
    let width = right.len() + 1;
    let mut rows = vec![(0..width).collect::<Vec<usize>>()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1; width];
        for (j, b) in right.iter().enumerate() {
            let replace = rows[i][j] + usize::from(a != b);
            row[j + 1] = replace.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                row[j + 1] = row[j + 1].min(rows[i - 1][j - 1] + 1);
            }
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_word_is_found() {
        let known = ["image", "ports", "volumes", "network_mode", "networks"];
        assert_eq!(nearest("imgae", known), Some("image"));
        assert_eq!(nearest("Ports", known), Some("ports"));
        assert_eq!(nearest("volume", known), Some("volumes"));
        assert_eq!(nearest("network-mode", known), Some("network_mode"));
        assert_eq!(nearest("zzz", known), None);
    }
}
