//! The JSON is what `docs/api.schema.json` says, and nothing else.

use super::*;

/// Checks a value against the parts of JSON Schema that the file uses.
fn check(schema: &Value, root: &Value, value: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let named = &root["$defs"][name.strip_prefix("#/$defs/").unwrap()];
        assert!(named.is_object(), "{place}: no {name}");
        return check(named, root, value, place);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let other = any.iter().find(|one| one["type"] != "null").unwrap();
        if !value.is_null() {
            check(other, root, value, place);
        }
        return;
    }
    if let Some(words) = schema["enum"].as_array() {
        return assert!(words.contains(value), "{place}: {value}");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        other => panic!("{place}: type {other}"),
    };
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() && !types.contains(&"number") => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&found), "{place}: {found} instead of {types:?}");
    if let Some(all) = value.as_array() {
        for item in all {
            check(&schema["items"], root, item, &format!("{place}[]"));
        }
    }
    let Some(fields) = value.as_object() else { return };
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(fields.contains_key(required.as_str().unwrap()), "{place}: no {required}");
    }
    for (key, field) in fields {
        let of = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
        assert!(of.is_object(), "{place}: {key} is not in the schema");
        check(of, root, field, &format!("{place}.{key}"));
    }
}

#[tokio::test]
async fn every_answer_is_as_its_schema_says() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let registry = registry();
    let daemon = daemon(&registry).await;
    let host = registry.name();
    registry.push("acme/tool", "latest", &image("linux/amd64", &[&Blob::named("tool", 6_000)]));
    registry.missing("/v2/acme/app/manifests/v1.0.0");
    let tool = [("repository", "acme/tool")];
    daemon.until("it is read again", |m| m.one("container_image_compressed_size_bytes", &tool) == Some(6_000.0)).await;
    for (name, path) in [
        ("overview", "/overview".to_owned()),
        ("search", "/search?q=v1".to_owned()),
        ("search", "/search".to_owned()),
        ("repository", format!("/repository/{host}/acme/app")),
        ("repository", format!("/repository/{host}/acme/tool")),
        ("image", format!("/image/{host}/acme/app:v1.2.0")),
        ("image", format!("/image/{host}/acme/tool:latest")),
        ("compare", format!("/compare?a={host}/acme/app:v1.1.0&b={host}/acme/app:v1.2.0")),
    ] {
        check(&schema["$defs"][name], &schema, &json(&daemon, &path).await, &path);
    }
    let (status, body) = get(&daemon, "/api/v1/repository/a/b").await;
    assert_eq!(status, 404);
    check(&schema["$defs"]["problem"], &schema, &serde_json::from_str(&body).unwrap(), "problem");
    daemon.stop().await;
}
