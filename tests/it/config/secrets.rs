//! Secrets in place of the name of a file or variable.

use super::*;

/// The messages about one registry with these keys.
fn problems(keys: &str) -> String {
    let text = format!("[registries.\"r.example.com\"]\n{keys}\n[[targets]]\nrepository = \"r.example.com/a\"\n");
    let (directory, path) = write(&text);
    let environment = Environment::from([("EMPTY".to_owned(), String::new())]);
    let error = Config::load_with(&path, &environment).err().expect("a configuration with a mistake");
    error.to_string().replace(&directory.path().display().to_string(), "DIR")
}

#[test]
fn a_secret_in_place_of_a_name_is_not_repeated() {
    let long = "sesame-".repeat(100);
    let pem = "-----BEGIN PRIVATE KEY-----\\nsesame\\n-----END PRIVATE KEY-----\\n";
    for (key, beside) in [
        ("password_file", "username = \"me\""),
        ("password_env", "username = \"me\""),
        ("token_file", ""),
        ("docker_config", ""),
        ("key_file", ""),
    ] {
        for secret in [
            "sesame",
            "a+b/sesame/c==",
            "/sesame/c==",
            "config.toml/sesame",
            "~sesame",
            "~/sesame",
            "./sesame",
            "se same\\n",
            r#"{\"auths\":{\"r.example.com\":{\"password\":\"sesame\"}}}"#,
            "sesame\\u0000",
            &long,
            pem,
        ] {
            let said = problems(&format!("{beside}\n{key} = \"{secret}\""));
            let named = format!("registries.\"r.example.com\".{key}: ");
            assert!(said.contains(&named) && said.contains("(not shown, because"), "{key} = {secret}: {said}");
            assert!(!said.contains("sesame") && !said.contains("c=="), "{key} = {secret}: {said}");
        }
        for number in ["1234.5678", "1234.5678e9", "12345678"] {
            let said = problems(&format!("{beside}\n{key} = {number}"));
            assert!(said.contains(key) && !said.contains("1234"), "{key} = {number}: {said}");
        }
    }
}

#[test]
fn a_mistake_in_a_name_is_still_found() {
    for (keys, expected) in [
        ("token_file = 'sub/token'", "no such file below `DIR`: create it, or correct the path (not shown"),
        ("token_file = 'config.toml/token'", "no such file below `DIR/config.toml`: Not a directory"),
        ("token_file = '.'", "`DIR/.` is a directory: name a file in it"),
        ("token_file = ''", "is empty: write a path"),
        ("username = 'me'\npassword_env = 'EMTPY'", "no such environment variable: set it, or correct the name (not"),
        ("username = 'me'\npassword_env = 'EMPTY'", "environment variable `EMPTY` is empty: put the secret into it"),
        ("token_file = 1.5", "is a number with a fraction: put it in quotes"),
        // No secret belongs here.
        ("ca_file = 'no-such.pem'", "`DIR/no-such.pem`: no such file"),
    ] {
        let said = problems(keys);
        assert!(said.contains(expected), "{keys}: {said}");
    }
}
