//! `[state] url_file`: a file with the URL of a database. Not in the corpus, since a build without the feature refuses it.

use super::*;

/// What is said of a `[state]` with these keys, where `url` has this content.
fn said(keys: &str, url: Option<&str>) -> String {
    let text = format!("[state]\n{keys}\n[[targets]]\nrepository = \"docker.io/library/alpine\"\n");
    let (directory, path) = write(&text);
    if let Some(url) = url {
        fs::write(directory.path().join("url"), url).unwrap();
    }
    let said = match Config::load_with(&path, &Environment::new()) {
        Ok(config) => format!("accepted: {}", config.redacted()),
        Err(error) => error.to_string(),
    };
    said.replace(&directory.path().display().to_string(), "DIR")
}

#[cfg(feature = "postgres")]
#[test]
fn the_url_of_a_database_is_in_a_file_and_not_shown() {
    const URL: &str = "postgres://me:sesame@db.example/sizes?sslmode=verify-full\n";
    let shown = said("url_file = 'url'", Some(URL));
    assert!(shown.starts_with("accepted: ") && shown.contains("[state]\nurl_file = \"DIR/url\"\n"), "{shown}");
    for (keys, url, expected) in [
        ("url_file = 'url'", None, "state.url_file: no such file below `DIR`: create it"),
        ("url_file = 'url'", Some(""), "state.url_file: `DIR/url` is empty: write the secret into it"),
        (
            "url_file = 'url'",
            Some("mysql://me:sesame@db/x"),
            "state.url_file: `DIR/url` is no URL of a PostgreSQL database",
        ),
        ("url_file = 'url'", Some("postgres://me:sesame@db/x?sslmode=no"), "has another sslmode than"),
        ("url_file = 'url'\npath = 'state.redb'", Some(URL), "state.url_file: conflicts with `path`"),
        ("url_file = 'postgres://me:sesame@db/x'", None, "(not shown, because it may be the secret itself)"),
        ("url = 'postgres://me:sesame@db/x'", None, "state.url: its password does not belong in this file"),
    ] {
        let said = said(keys, url);
        assert!(said.contains(expected), "{keys}: {said}");
        assert!(!said.contains("sesame"), "{keys}: {said}");
    }
}

#[cfg(not(feature = "postgres"))]
#[test]
fn a_build_without_databases_says_how_to_get_one() {
    let said = said("url_file = 'url'", Some("postgres://me@db/x"));
    assert!(said.contains("state.url_file: this build keeps no state in databases"), "{said}");
    assert!(said.contains("cargo install --features postgres"), "{said}");
}
