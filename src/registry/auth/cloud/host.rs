//! Which cloud's registry a host is, by its name alone. Pure.

use crate::registry::settings::Cloud;

/// The cloud whose registry or token server has this host; `None` for any other, and with a port.
pub(crate) fn cloud(host: &str) -> Option<Cloud> {
    let ends_in = |domains: &[&str]| domains.iter().any(|domain| is_below(host, domain));
    if EcrHost::parse(host).is_some() {
        Some(Cloud::Aws)
    } else if ends_in(&["azurecr.io", "azurecr.cn", "azurecr.us"]) {
        Some(Cloud::Azure)
    } else if host == "gcr.io" || ends_in(&["gcr.io", "pkg.dev"]) {
        Some(Cloud::Gcp)
    } else {
        None
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')).is_some_and(|rest| !rest.is_empty())
}

/// A registry of Amazon (Amazon ECR User Guide, "Making requests to Amazon ECR registries").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EcrHost {
    /// `ACCOUNT.dkr.ecr.REGION.amazonaws.com` and its like.
    Private {
        region: String,
        /// Where the API for `GetAuthorizationToken` answers.
        api_host: String,
    },
    /// `public.ecr.aws`.
    Public,
}

/// The private registries' names: what is between the account and the region, the partition's domain, and the API's host
/// (AWS General Reference, "Amazon ECR endpoints and quotas").
const PRIVATE: [(&str, &str, &str); 10] = [
    ("dkr.ecr", "amazonaws.com", "api.ecr.REGION.amazonaws.com"),
    ("dkr.ecr-fips", "amazonaws.com", "ecr-fips.REGION.amazonaws.com"),
    ("dkr.ecr", "amazonaws.com.cn", "api.ecr.REGION.amazonaws.com.cn"),
    ("dkr.ecr", "amazonaws.eu", "api.ecr.REGION.amazonaws.eu"),
    ("dkr-ecr", "on.aws", "ecr.REGION.api.aws"),
    ("dkr-ecr-fips", "on.aws", "ecr-fips.REGION.api.aws"),
    ("dkr-ecr", "on.amazonwebservices.com.cn", "ecr.REGION.api.amazonwebservices.com.cn"),
    ("dkr.ecr", "c2s.ic.gov", "api.ecr.REGION.c2s.ic.gov"),
    ("dkr.ecr", "sc2s.sgov.gov", "api.ecr.REGION.sc2s.sgov.gov"),
    ("dkr.ecr", "csp.hci.ic.gov", "api.ecr.REGION.csp.hci.ic.gov"),
];

impl EcrHost {
    pub(crate) fn parse(host: &str) -> Option<Self> {
        if host == "public.ecr.aws" {
            return Some(Self::Public);
        }
        let (account, rest) = host.split_once('.')?;
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        PRIVATE.iter().find_map(|(service, domain, api_host)| {
            let rest = rest.strip_prefix(service)?.strip_prefix('.')?;
            let region = rest.strip_suffix(domain)?.strip_suffix('.')?;
            let is_region =
                !region.is_empty() && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            is_region.then(|| Self::Private { region: region.to_owned(), api_host: api_host.replace("REGION", region) })
        })
    }

    /// For a private registry under a name of its owner's.
    #[cfg(feature = "aws")]
    pub(crate) fn in_region(region: &str) -> Self {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        Self::Private { region: region.to_owned(), api_host: format!("api.ecr.{region}.{domain}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_its_cloud() {
        for (host, expected) in [
            ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", Some(Cloud::Aws)),
            ("public.ecr.aws", Some(Cloud::Aws)),
            ("acme.azurecr.io", Some(Cloud::Azure)),
            ("acme.westeurope.data.azurecr.io", Some(Cloud::Azure)),
            ("acme.azurecr.cn", Some(Cloud::Azure)),
            ("acme.azurecr.us", Some(Cloud::Azure)),
            ("europe-west3-docker.pkg.dev", Some(Cloud::Gcp)),
            ("docker.europe-west3.rep.pkg.dev", Some(Cloud::Gcp)),
            ("gcr.io", Some(Cloud::Gcp)),
            ("eu.gcr.io", Some(Cloud::Gcp)),
            // Names that only look alike: their owners would get the identity's token.
            ("azurecr.io", None),
            (".azurecr.io", None),
            ("acmeazurecr.io", None),
            ("acme.azurecr.io.example.com", None),
            ("acme.azurecr.io:5000", None),
            ("notgcr.io", None),
            ("gcr.io.example.com", None),
            ("evil-pkg.dev", None),
            ("pkg.dev", None),
            ("public.ecr.aws.example.com", None),
            ("my.public.ecr.aws", None),
            ("ghcr.io", None),
            ("docker.io", None),
        ] {
            assert_eq!(cloud(host), expected, "{host}");
        }
    }

    #[test]
    fn a_host_of_amazon_has_its_region_and_its_api() {
        for (host, expected) in [
            ("dkr.ecr.eu-central-1.amazonaws.com", "eu-central-1 api.ecr.eu-central-1.amazonaws.com"),
            ("dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1 ecr-fips.us-gov-west-1.amazonaws.com"),
            ("dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1 api.ecr.cn-north-1.amazonaws.com.cn"),
            ("dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1 api.ecr.eusc-de-east-1.amazonaws.eu"),
            ("dkr-ecr.us-east-2.on.aws", "us-east-2 ecr.us-east-2.api.aws"),
            ("dkr-ecr-fips.us-east-2.on.aws", "us-east-2 ecr-fips.us-east-2.api.aws"),
            (
                "dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
                "cn-north-1 ecr.cn-north-1.api.amazonwebservices.com.cn",
            ),
            ("dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1 api.ecr.us-iso-east-1.c2s.ic.gov"),
            ("dkr.ecr.eu-central-1.amazonaws.com.example.com", ""),
            ("dkr.ecr.evil.example.amazonaws.com", ""),
            ("dkr.ecr.x/y.amazonaws.com", ""),
            ("dkr.ecr..amazonaws.com", ""),
            ("dkr.ecr.amazonaws.com", ""),
            ("ecr.eu-central-1.amazonaws.com", ""),
        ] {
            let found = match EcrHost::parse(&format!("123456789012.{host}")) {
                Some(EcrHost::Private { region, api_host }) => format!("{region} {api_host}"),
                _ => String::new(),
            };
            assert_eq!(found, expected, "{host}");
        }
        for host in ["12345678901.dkr.ecr.eu-central-1.amazonaws.com", "dkr.ecr.eu-central-1.amazonaws.com", "aws", ""]
        {
            assert_eq!(EcrHost::parse(host), None, "{host}");
        }
    }
}
