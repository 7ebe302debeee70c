//! `Link`: the address of a list's next page (RFC 8288; distribution specification, "Content Discovery").
//!
//! Pure. The address is opaque: registries encode their cursor in it, so it is used verbatim.

/// The target of the first link whose relation is `next`; `None` where there is none or it is empty.
pub(crate) fn next<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    headers.into_iter().find_map(next_in)
}

fn next_in(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        rest = &rest[rest.find('<')? + 1..];
        let end = rest.find('>')?;
        let target = rest[..end].trim();
        rest = &rest[end + 1..];
        let parameters = parameters(&mut rest);
        if parameters.into_iter().any(|(key, value)| is_next(key, value)) {
            return Some(target).filter(|target| !target.is_empty());
        }
    }
}

fn is_next(key: &str, value: &str) -> bool {
    let relation = |word: &str| word.eq_ignore_ascii_case("next");
    key.eq_ignore_ascii_case("rel") && value.split_ascii_whitespace().any(relation)
}

/// Reads `;key=value` pairs up to the comma that ends this link.
fn parameters<'a>(rest: &mut &'a str) -> Vec<(&'a str, &'a str)> {
    let mut parameters = Vec::new();
    loop {
        *rest = rest.trim_start();
        let Some(after) = rest.strip_prefix(';') else { return parameters };
        let end = after.find([',', ';', '=']).unwrap_or(after.len());
        let key = after[..end].trim();
        let Some(value) = after[end..].strip_prefix('=').map(str::trim_start) else {
            *rest = &after[end..];
            continue;
        };
        let (value, remaining) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => value.split_at(value.find([',', ';']).unwrap_or(value.len())),
        };
        parameters.push((key, value.trim()));
        *rest = remaining;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_page_is_found_as_registries_write_it() {
        for (headers, expected) in [
            (&[][..], None),
            (&[r#"</v2/a/tags/list?last=b&n=2>; rel="next""#], Some("/v2/a/tags/list?last=b&n=2")),
            (&["</v2/a/tags/list?last=b>;rel=next"], Some("/v2/a/tags/list?last=b")),
            (
                &[r#"< https://r.example/v2/x?a=1,2;3 > ; title="a, b"; REL="prev Next""#],
                Some("https://r.example/v2/x?a=1,2;3"),
            ),
            (&[r#"</first>; rel="first", </second>; rel="next""#], Some("/second")),
            (&[r#"</first>; rel="first""#, r#"</second>; rel="next""#], Some("/second")),
            (&[r#"<>; rel="next""#], None),
            (&[r#"</x>; rel="last""#], None),
            (&["</x>"], None),
            (&["</x"], None),
            (&[r#"</x>; crossorigin; rel="next""#], Some("/x")),
        ] {
            assert_eq!(next(headers.iter().copied()), expected, "{headers:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics_the_parser(header in "[<>;,=\" a-z]{0,40}|.*") {
            let _ = next([header.as_str()]);
        }
    }
}
