//! `Link`: the address of a list's next page (RFC 8288; distribution specification, "Content Discovery").
//!
//! Pure. The address is opaque: registries encode their cursor in it, so it is used verbatim.

/// Why a header does not give the address of the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidLink {
    /// Addresses in headers are percent-encoded.
    #[error("it is not ASCII")]
    NotAscii,
    /// Every link starts with its target in angle brackets.
    #[error("it has no address in angle brackets")]
    NoBrackets,
    /// Without it a link may lead anywhere.
    #[error("it has an address without `rel`")]
    NoRelation,
    /// A relation is a name or an address (RFC 8288, section 3.3).
    #[error("its `rel` is no relation")]
    InvalidRelation,
}

/// The target of the first link whose relation is `next`; `None` where there is none or it is empty. A header that is not
/// understood is an error: read as "no next page" it would truncate the list.
pub(crate) fn next<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<&'a str>, InvalidLink> {
    for header in headers {
        let text = std::str::from_utf8(header).ok().filter(|text| text.is_ascii()).ok_or(InvalidLink::NotAscii)?;
        if let Some(target) = next_in(text)? {
            return Ok(Some(target));
        }
    }
    Ok(None)
}

fn next_in(header: &str) -> Result<Option<&str>, InvalidLink> {
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
        if rest.is_empty() {
            return Ok(None);
        }
        let (target, after) =
            rest.strip_prefix('<').and_then(|link| link.split_once('>')).ok_or(InvalidLink::NoBrackets)?;
        rest = after;
        let target = target.trim();
        let parameters = parameters(&mut rest);
        if target.is_empty() {
            continue;
        }
        // The first `rel` counts.
        let (_, relations) =
            parameters.into_iter().find(|(key, _)| key.eq_ignore_ascii_case("rel")).ok_or(InvalidLink::NoRelation)?;
        let relations = relations.trim_matches('\'');
        if relations.trim().is_empty() || !relations.split_ascii_whitespace().all(is_relation) {
            return Err(InvalidLink::InvalidRelation);
        }
        if relations.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next")) {
            return Ok(Some(target));
        }
    }
}

/// Whether a word is a registered relation, such as `next`, or an extension's address.
fn is_relation(word: &str) -> bool {
    let is_name = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    is_name || word.contains(':') && !word.contains(['"', '\'', '\\', '&'])
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

    fn shown(headers: &[&str]) -> String {
        match next(headers.iter().map(|header| header.as_bytes())) {
            Ok(target) => target.unwrap_or("no next page").to_owned(),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn the_next_page_is_found_as_registries_write_it() {
        for (headers, expected) in [
            (&[][..], "no next page"),
            (&[""], "no next page"),
            (&[r#"</v2/a/tags/list?last=b&n=2>; rel="next""#], "/v2/a/tags/list?last=b&n=2"),
            (&["</v2/a/tags/list?last=b>;rel=next"], "/v2/a/tags/list?last=b"),
            (
                &[r#"< https://r.example/v2/x?a=1,2;3 > ; title="a, b"; REL="prev Next""#],
                "https://r.example/v2/x?a=1,2;3",
            ),
            (&[r#"</first>; rel="first", </second>; rel="next""#], "/second"),
            (&[r#"</first>; rel="first""#, r#"</second>; rel="next""#], "/second"),
            (&[r#"<>; rel="next""#], "no next page"),
            (&["<>"], "no next page"),
            (&[r#"</x>; rel="last""#], "no next page"),
            (&[r#"</x>; crossorigin; rel="next""#], "/x"),
            (&["</x>; rel='next'"], "/x"),
            (&["</l>; rel=\"last\", </x>; rel='next'"], "/x"),
            (&[r#"</x>; rel="https://registry.example/rel/last""#], "no next page"),
        ] {
            assert_eq!(shown(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_header_that_is_not_understood_is_an_error_and_not_the_last_page() {
        for (header, expected) in [
            ("</x>", "it has an address without `rel`"),
            (r#"</x> rel="next""#, "it has an address without `rel`"),
            ("</x", "it has no address in angle brackets"),
            (r#"/v2/a/tags/list?last=b; rel="next""#, "it has no address in angle brackets"),
            ("/v2/a/tags/list?last=b", "it has no address in angle brackets"),
            (r#"</x>; rel="last" garbage"#, "it has no address in angle brackets"),
            ("</ü>; rel=next", "it is not ASCII"),
            (r#"</x>; rel="""#, "its `rel` is no relation"),
            (r#"</x>; rel=\"next\""#, "its `rel` is no relation"),
            (r"</x>; rel=&quot;next&quot;", "its `rel` is no relation"),
            ("</x>; rel=next.", "its `rel` is no relation"),
        ] {
            assert_eq!(shown(&[header]), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics_the_parser(header in "[<>;,=\" a-z]{0,40}|.*") {
            let _ = next([header.as_bytes()]);
        }
    }
}
