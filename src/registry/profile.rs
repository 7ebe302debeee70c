//! The profile of each registry: its settings and the contents of the files that they name.

use std::collections::BTreeMap;

use super::error;
use super::error::SetupError;
use super::settings::Settings;
use super::transport::tls::Tls;
use crate::oci::Registry;

/// The profiles of all registries.
#[derive(PartialEq)]
pub(crate) struct Profiles {
    /// Of the configured registries.
    pub(crate) configured: BTreeMap<Registry, Profile>,
    /// Of all other registries.
    pub(crate) others: Profile,
}

/// The profile of one registry. A file with new contents makes another profile: certificates are renewed in place.
#[derive(PartialEq)]
pub(crate) struct Profile {
    pub(crate) settings: Settings,
    pub(crate) tls: Tls,
}

impl Profiles {
    /// Reads and checks the files that the settings name.
    pub(crate) fn read(settings: BTreeMap<Registry, Settings>, others: Settings) -> Result<Self, SetupError> {
        let mut configured = BTreeMap::new();
        for (registry, settings) in settings {
            let tls = Tls::read(&error::named(Some(&registry)), &settings)?;
            configured.insert(registry, Profile { settings, tls });
        }
        let tls = Tls::read(&error::named(None), &others)?;
        Ok(Self { configured, others: Profile { settings: others, tls } })
    }

    pub(crate) fn to(&self, registry: &Registry) -> &Profile {
        self.configured.get(registry).unwrap_or(&self.others)
    }
}
