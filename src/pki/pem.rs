//! The text form of keys and certificates (RFC 7468), written so that no copy of a key stays behind.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

/// One PEM section: 64 characters a line, ending in a newline.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    // Base64 is 4/3 of the input; a newline every 64 characters, and two short lines around it.
    // Enough from the start, so that the buffer of a key never moves.
    let size = der
        .len()
        .saturating_mul(3)
        .saturating_div(2)
        .saturating_add(label.len().saturating_mul(2))
        .saturating_add(64);
    let mut text = Zeroizing::new(String::with_capacity(size));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for line in der.chunks(BYTES_A_LINE) {
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// Certificates one after the other.
pub(crate) fn certificates<'a>(
    chain: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> String {
    chain.into_iter().fold(String::new(), |text, der| text + encode("CERTIFICATE", der).as_str())
}

/// 48 bytes are 64 characters of base64, the line length of RFC 7468 section 2.
const BYTES_A_LINE: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject as _;

    #[test]
    fn what_is_written_is_read_back() {
        for length in [0_u8, 1, 47, 48, 49, 200] {
            let der: Vec<u8> = (0..length).collect();
            let text = encode("CERTIFICATE", &der);
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(CertificateDer::from_pem_slice(text.as_bytes()).unwrap().as_ref(), der);
        }
    }
}
