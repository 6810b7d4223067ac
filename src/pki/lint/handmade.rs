//! Certificates written byte by byte, because no library writes the wrong ones.
#![expect(clippy::arithmetic_side_effects, reason = "dates of today do not overflow")]

use rcgen::SigningKey as _;
use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use crate::pki::draft::tag_length_value;
use crate::pki::key::{Key, KeyType};

/// The object identifiers of extensions, as the content of their DER.
pub(super) const SKI: &[u8] = &[85, 29, 14];
pub(super) const KEY_USAGE: &[u8] = &[85, 29, 15];
pub(super) const SAN: &[u8] = &[85, 29, 17];
pub(super) const BASIC: &[u8] = &[85, 29, 19];
pub(super) const CONSTRAINTS: &[u8] = &[85, 29, 30];
pub(super) const AKI: &[u8] = &[85, 29, 35];
pub(super) const EXTENDED: &[u8] = &[85, 29, 37];

/// A certificate as a list of its parts, of which each may be exchanged.
#[derive(Clone)]
pub(super) struct Handmade {
    pub(super) version: Option<u8>,
    pub(super) serial: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    pub(super) from: OffsetDateTime,
    pub(super) until: OffsetDateTime,
    pub(super) subject: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) algorithm: Vec<u8>,
    pub(super) extensions: Vec<Extension>,
}

#[derive(Clone)]
pub(super) struct Extension {
    pub(super) oid: Vec<u8>,
    pub(super) critical: bool,
    pub(super) value: Vec<u8>,
}

impl Handmade {
    /// A root without a flaw.
    pub(super) fn root(key: &Key) -> Self {
        let mut root = Self::blank(key, name("Handmade root"));
        root.until = root.from + Duration::days(800);
        // Two identifiers, CA:TRUE with path length 0, keyCertSign and cRLSign.
        root.set(SKI, false, &tag_length_value(4, &[1; 20]));
        root.set(AKI, false, &sequence(&[&tag_length_value(0x80, &[1; 20])]));
        root.set(BASIC, true, &[0x30, 6, 1, 1, 0xFF, 2, 1, 0]);
        root.set(KEY_USAGE, true, &[3, 2, 1, 0x06]);
        root.set(CONSTRAINTS, true, &permitted(&[dns("test"), loopback_net()]));
        root
    }

    /// A server's certificate of that root without a flaw.
    pub(super) fn server(key: &Key) -> Self {
        let mut server = Self::blank(key, sequence(&[]));
        server.set(SKI, false, &tag_length_value(4, &[2; 20]));
        server.set(AKI, false, &sequence(&[&tag_length_value(0x80, &[1; 20])]));
        server.set(BASIC, true, &[0x30, 0]);
        server.set(KEY_USAGE, true, &[3, 2, 7, 0x80]);
        server.set(EXTENDED, false, &usages(&[1]));
        server.set(SAN, true, &sequence(&[&dns("app.test")]));
        server
    }

    /// A client's certificate of that root without a flaw.
    pub(super) fn client(key: &Key) -> Self {
        let mut client = Self::server(key);
        client.subject = name("alice");
        client.set(EXTENDED, false, &usages(&[2]));
        client.set(SAN, false, &sequence(&[&dns("alice.test")]));
        client
    }

    fn blank(key: &Key, subject: Vec<u8>) -> Self {
        let from = OffsetDateTime::now_utc() - Duration::HOUR;
        Self {
            version: Some(2),
            serial: [&[0x40][..], &[7; 15]].concat(),
            issuer: name("Handmade root"),
            from,
            until: from + Duration::days(90),
            subject,
            key: public_key(key),
            algorithm: ECDSA_SHA256.to_vec(),
            extensions: Vec::new(),
        }
    }

    /// Puts an extension in the place of the one of its kind, or at the end.
    pub(super) fn set(&mut self, oid: &[u8], critical: bool, value: &[u8]) {
        let extension = Extension { oid: oid.to_vec(), critical, value: value.to_vec() };
        match self.extensions.iter_mut().find(|other| other.oid == oid) {
            Some(other) => *other = extension,
            None => self.extensions.push(extension),
        }
    }

    pub(super) fn remove(&mut self, oid: &[u8]) {
        self.extensions.retain(|extension| extension.oid != oid);
    }

    /// The same extension, critical or not.
    pub(super) fn critical(&mut self, oid: &[u8], critical: bool) {
        let extension = self.extensions.iter_mut().find(|other| other.oid == oid).unwrap();
        extension.critical = critical;
    }

    pub(super) fn signed_by(&self, key: &Key) -> CertificateDer<'static> {
        let algorithm = sequence(&[&tag_length_value(6, &self.algorithm)]);
        let extensions: Vec<u8> = self.extensions.iter().flat_map(Extension::encode).collect();
        let extensions = tag_length_value(0xA3, &tag_length_value(0x30, &extensions));
        let version = self.version.map(|version| vec![0xA0, 3, 2, 1, version]).unwrap_or_default();
        let tbs = sequence(&[
            &version,
            &tag_length_value(2, &self.serial),
            &algorithm,
            &self.issuer,
            &sequence(&[&utc(self.from), &utc(self.until)]),
            &self.subject,
            &self.key,
            if self.version.is_some() { &extensions } else { &[] },
        ]);
        let signature = [&[0], key.sign(&tbs).unwrap().as_slice()].concat();
        sequence(&[&tbs, &algorithm, &tag_length_value(3, &signature)]).into()
    }
}

impl Extension {
    fn encode(&self) -> Vec<u8> {
        let critical: &[u8] = if self.critical { &[1, 1, 0xFF] } else { &[] };
        sequence(&[&tag_length_value(6, &self.oid), critical, &tag_length_value(4, &self.value)])
    }
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tag_length_value(0x30, &parts.concat())
}

/// A distinguished name of one common name.
pub(super) fn name(common: &str) -> Vec<u8> {
    let value = tag_length_value(0x0C, common.as_bytes());
    sequence(&[&tag_length_value(0x31, &sequence(&[&[6, 3, 85, 4, 3], &value]))])
}

pub(super) fn dns(text: &str) -> Vec<u8> {
    tag_length_value(0x82, text.as_bytes())
}

pub(super) fn loopback_net() -> Vec<u8> {
    tag_length_value(0x87, &[127, 0, 0, 0, 255, 0, 0, 0])
}

/// Name constraints that permit these.
pub(super) fn permitted(names: &[Vec<u8>]) -> Vec<u8> {
    let trees: Vec<u8> = names.iter().flat_map(|name| sequence(&[name])).collect();
    sequence(&[&tag_length_value(0xA0, &trees)])
}

/// An extended key usage of these purposes of PKIX: 1 for servers, 2 for clients.
pub(super) fn usages(purposes: &[u8]) -> Vec<u8> {
    let purposes: Vec<u8> = purposes
        .iter()
        .flat_map(|purpose| tag_length_value(6, &[43, 6, 1, 5, 5, 7, 3, *purpose]))
        .collect();
    tag_length_value(0x30, &purposes)
}

/// A `SubjectPublicKeyInfo` of an algorithm, its parameters and bits.
pub(super) fn key_info(algorithm: &[u8], parameters: &[u8], bits: &[u8]) -> Vec<u8> {
    let algorithm = sequence(&[&tag_length_value(6, algorithm), parameters]);
    sequence(&[&algorithm, &tag_length_value(3, &[&[0], bits].concat())])
}

/// The content of an object identifier: `id-ecPublicKey`.
pub(super) const EC: &[u8] = &[42, 134, 72, 206, 61, 2, 1];

fn public_key(key: &Key) -> Vec<u8> {
    assert_eq!(key.kind(), KeyType::P256);
    let p256 = tag_length_value(6, &[42, 134, 72, 206, 61, 3, 1, 7]);
    key_info(EC, &p256, key.public_bits())
}

pub(super) fn utc(moment: OffsetDateTime) -> Vec<u8> {
    let text = format!(
        "{:02}{:02}{:02}{:02}{:02}{:02}Z",
        moment.year() % 100,
        u8::from(moment.month()),
        moment.day(),
        moment.hour(),
        moment.minute(),
        moment.second()
    );
    tag_length_value(0x17, text.as_bytes())
}

pub(super) const ECDSA_SHA256: &[u8] = &[42, 134, 72, 206, 61, 4, 3, 2];
