//! The alternative names in a certificate (RFC 5280, section 4.2.1.6): only the part of X.509 that finding them takes.
//! rustls-webpki verifies certificates, but only tests for a given name.

use std::net::IpAddr;

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
/// `extensions [3]` of the certificate's signed part.
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.17
const SUBJECT_ALTERNATIVE_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

/// DNS names, e-mail addresses, IP addresses and URIs, as text. Empty without any, or where the bytes are not a
/// certificate.
pub(super) fn names(certificate: &[u8]) -> Vec<String> {
    extension(certificate).map(|names| elements(names).filter_map(name).collect()).unwrap_or_default()
}

/// The content of the extension's `GeneralNames`.
fn extension(certificate: &[u8]) -> Option<&[u8]> {
    let signed = inside(inside(certificate, SEQUENCE)?, SEQUENCE)?;
    let (_, extensions) = elements(signed).find(|(tag, _)| *tag == EXTENSIONS)?;
    elements(inside(extensions, SEQUENCE)?).find_map(|(_, extension)| {
        let mut parts = elements(extension);
        let is_wanted = parts.next()? == (OBJECT_IDENTIFIER, &SUBJECT_ALTERNATIVE_NAME[..]);
        let (_, value) = parts.find(|(tag, _)| *tag == OCTET_STRING)?;
        inside(value, SEQUENCE).filter(|_| is_wanted)
    })
}

fn name((tag, content): (u8, &[u8])) -> Option<String> {
    match tag & 0x1f {
        // rfc822Name, dNSName, uniformResourceIdentifier
        1 | 2 | 6 => String::from_utf8(content.to_vec()).ok(),
        7 => match content.len() {
            4 => <[u8; 4]>::try_from(content).ok().map(|octets| IpAddr::from(octets).to_string()),
            16 => <[u8; 16]>::try_from(content).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// The content of the first element, if it has this tag.
fn inside(der: &[u8], tag: u8) -> Option<&[u8]> {
    elements(der).next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
}

/// Tag and content of each element, up to the first malformed one.
fn elements(mut der: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&tag, rest) = der.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        der = rest;
        Some((tag, content))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_of_every_kind_are_found() {
        let der = certificate(vec![
            SanType::DnsName("prometheus.example.com".try_into().unwrap()),
            SanType::Rfc822Name("ops@example.com".try_into().unwrap()),
            SanType::URI("spiffe://example.com/prometheus".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
        ]);
        let expected = [
            "prometheus.example.com",
            "ops@example.com",
            "spiffe://example.com/prometheus",
            "192.0.2.7",
            "2001:db8::1",
        ];
        assert_eq!(names(&der), expected);
    }

    #[test]
    fn a_certificate_without_names_has_none_and_a_cut_one_does_no_harm() {
        assert_eq!(names(&certificate(Vec::new())), Vec::<String>::new());
        let der = certificate(vec![SanType::DnsName("example.com".try_into().unwrap())]);
        for length in 0..der.len() {
            assert!(names(&der[..length]).len() <= 1);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>) {
            names(&bytes);
        }
    }
}
