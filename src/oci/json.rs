//! What the readers of JSON documents have in common: `null` for nothing, and errors without quoted text.

use serde::Deserialize;
use serde::de::Deserializer;

/// What is wrong with JSON, without the text that serde quotes on a type mismatch: the quote may be as long as the
/// document, and may hold a secret.
pub(crate) fn problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let quoted =
        text.split_once("string \"").and_then(|(before, rest)| Some((before, rest.rsplit_once("\", expected")?.1)));
    match quoted {
        Some((before, after)) => format!("{before}a string, expected{after}"),
        None => text,
    }
}

/// Reads `null` as the default value: Go writes it for empty slices and maps.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A list that is `null` is present, and empty.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    Ok(Some(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default()))
}
