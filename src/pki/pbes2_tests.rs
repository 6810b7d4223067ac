use super::*;
use proptest::prelude::*;
use yasna::DERWriterSeq;

const SECRET: &[u8] = b"correct horse battery";

fn sealed(cost: &str) -> Sealed {
    let plain = b"something to keep".to_vec();
    match cost {
        "scrypt" => Sealed::by_scrypt(plain, SECRET).unwrap(),
        _ => Sealed::by_pbkdf2(plain, SECRET, NonZeroU32::new(2048).unwrap()).unwrap(),
    }
}

#[test]
fn what_is_sealed_is_opened_with_the_same_secret_only() {
    for cost in ["scrypt", "pbkdf2"] {
        let read = Sealed::read(&sealed(cost).to_der()).unwrap();
        assert_eq!(*read.open(SECRET).unwrap(), b"something to keep", "{cost}");
        let other = read.open(b"correct horse batterz");
        assert_ne!(other.as_ref().map(|plain| plain.as_slice()), Some(&b"something to keep"[..]));
    }
}

#[test]
fn two_seals_of_the_same_thing_share_nothing() {
    let (one, two) = (sealed("pbkdf2"), sealed("pbkdf2"));
    assert_ne!(one.bytes, two.bytes);
    assert_ne!((one.derivation.salt, one.iv), (two.derivation.salt, two.iv));
}

/// A derivation as somebody else may write it.
fn asking(id: &[u64], parameters: impl Fn(&mut DERWriterSeq<'_>)) -> Result<Sealed, Unreadable> {
    let der = construct_der(|writer| {
        writer.write_sequence(|info| {
            info.next().write_sequence(|algorithm| {
                algorithm.next().write_oid(&oid(PBES2));
                algorithm.next().write_sequence(|both| {
                    both.next().write_sequence(|derivation| {
                        derivation.next().write_oid(&oid(id));
                        derivation.next().write_sequence(&parameters);
                    });
                    both.next().write_sequence(|cipher| {
                        cipher.next().write_oid(&oid(Cipher::Aes256.id()));
                        cipher.next().write_bytes(&[7; 16]);
                    });
                });
            });
            info.next().write_bytes(&[0; 48]);
        });
    });
    Sealed::read(&der)
}

fn scrypt_of(n: u64, r: u64, p: u64) -> Result<Sealed, Unreadable> {
    asking(SCRYPT_ID, |parameters| {
        parameters.next().write_bytes(b"salt");
        for number in [n, r, p] {
            parameters.next().write_u64(number);
        }
        parameters.next().write_u8(32);
    })
}

fn pbkdf2_of(iterations: u64) -> Result<Sealed, Unreadable> {
    asking(PBKDF2, |parameters| {
        parameters.next().write_bytes(b"salt");
        parameters.next().write_u64(iterations);
    })
}

#[test]
fn what_would_cost_too_much_is_refused_before_it_is_tried() {
    for (n, r, p) in [(16_384, 8, 1), (16_384, 8, 5), (131_072, 8, 1), (131_072, 8, 4), (2, 1, 1)] {
        assert!(scrypt_of(n, r, p).is_ok(), "{n} {r} {p}");
    }
    for (n, r, p) in [
        (262_144, 8, 1),
        (131_072, 8, 5),
        (2, 1, 1 << 21),
        (2, 1 << 30, 1),
        (1 << 63, 8, 1),
        (u64::MAX, u64::MAX, u64::MAX),
        (2, u64::MAX, 1),
        (2, 1, u64::MAX),
        (16_383, 8, 1),
        (1, 8, 1),
        (0, 8, 1),
        (16_384, 0, 1),
        (16_384, 8, 0),
    ] {
        assert_eq!(scrypt_of(n, r, p).unwrap_err(), Unreadable::Costly, "{n} {r} {p}");
    }
    assert!(pbkdf2_of(10_000_000).is_ok());
    for iterations in [0, 10_000_001, u64::from(u32::MAX), u64::MAX] {
        assert_eq!(pbkdf2_of(iterations).unwrap_err(), Unreadable::Costly, "{iterations}");
    }
}

#[test]
fn a_file_that_names_no_hash_means_sha_1() {
    let way = pbkdf2_of(1000).unwrap().derivation.way;
    assert!(matches!(way, Way::Pbkdf2 { hash: Hash::Sha1, .. }), "{way:?}");
}

#[test]
fn another_derivation_or_cipher_is_said_to_be_unknown() {
    let other = asking(&[1, 2, 840, 113_549, 1, 5, 3], |_| {});
    assert_eq!(other.unwrap_err(), Unreadable::Unknown);
    let mut der = sealed("pbkdf2").to_der();
    let aes = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42];
    let at = der.windows(aes.len()).position(|window| window == aes).unwrap();
    der[at + 8] = 43;
    assert_eq!(Sealed::read(&der).unwrap_err(), Unreadable::Unknown);
}

proptest! {
    #[test]
    fn no_bytes_stop_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Sealed::read(&bytes).is_err());
    }

    #[test]
    fn a_wounded_seal_is_refused_or_of_a_bounded_cost(at in 0_usize..150, byte in any::<u8>()) {
        let mut der = sealed("pbkdf2").to_der();
        if let Some(wounded) = der.get_mut(at) {
            *wounded = byte;
        }
        let way = Sealed::read(&der).map(|sealed| sealed.derivation.way);
        if let Ok(Way::Pbkdf2 { iterations, .. }) = way {
            prop_assert!(iterations <= MOST_ITERATIONS);
        }
    }
}
