//! The tables of keys as a JSON schema (draft 7, which editors' TOML extensions read).

use serde_json::{Map, Value, json};

use super::{Key, Kind, ROOT, Section};
use crate::config::values::{DURATION_PATTERN, LABEL_PATTERN, SIZE_PATTERN, shown_duration};

/// The schema of a configuration.
pub(in crate::config) fn schema() -> Value {
    let mut schema = section(&ROOT);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("image-size-exporter's config.toml");
    schema
}

fn section(section: &Section) -> Value {
    let written = section.keys.iter().filter(|key| !matches!(key.kind, Kind::Refused(_)));
    let properties: Map<String, Value> = written.map(|key| (key.name.to_owned(), property(key))).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !section.required.is_empty() {
        schema["required"] = json!(section.required);
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = kind(&key.kind);
    let bounds = match &key.kind {
        Kind::Duration(bounds) => format!(": {} to {}", shown_duration(bounds.min), shown_duration(bounds.max)),
        _ => String::new(),
    };
    schema["description"] = json!(format!("{}{bounds}", key.about));
    let default = match key.kind {
        Kind::Flag => Some("false"),
        _ => key.default,
    };
    if let Some(default) = default {
        schema["default"] = serde_json::from_str(default).expect("defaults are JSON, as a test of the schema shows");
    }
    schema
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": ["string", "integer"] }),
        Kind::Texts { words } => {
            let item = match words {
                Some(words) => json!({ "type": "string", "enum": words() }),
                None => json!({ "type": ["string", "integer"] }),
            };
            json!({ "anyOf": [item, { "type": "array", "items": item }] })
        }
        Kind::Duration(_) => json!({ "type": "string", "pattern": DURATION_PATTERN }),
        Kind::Size => json!({ "type": ["string", "integer"], "pattern": SIZE_PATTERN, "minimum": 1 }),
        Kind::Count { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Rate { max } => json!({ "type": "number", "exclusiveMinimum": 0, "maximum": max }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Word { words } => json!({ "type": "string", "enum": words() }),
        Kind::Labels => json!({
            "type": "object",
            "propertyNames": { "pattern": LABEL_PATTERN },
            "additionalProperties": { "type": ["string", "integer"] },
        }),
        Kind::Table { section: keys, .. } => section(keys),
        Kind::Named { section: keys, name } => {
            json!({ "type": "object", "propertyNames": { "description": name }, "additionalProperties": section(keys) })
        }
        Kind::Tables(keys) => json!({ "type": "array", "minItems": 1, "items": section(keys) }),
        // Left out of a section's properties: what is no property is refused.
        Kind::Refused(_) => Value::Bool(false),
    }
}
