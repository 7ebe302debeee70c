//! How each registry is spoken to: its settings, and what the files say that they name.

use std::collections::BTreeMap;

use super::error;
use super::error::SetupError;
use super::settings::Settings;
use super::transport::tls::Tls;
use crate::oci::Registry;

/// How every registry is spoken to.
#[derive(PartialEq)]
pub(crate) struct Profiles {
    /// Those of registries that are configured.
    pub(crate) configured: BTreeMap<Registry, Profile>,
    /// That of all others.
    pub(crate) others: Profile,
}

/// How one registry is spoken to. Files whose bytes changed make another profile: certificates are renewed in place.
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
