//! What the gates cost: `cargo bench --bench gates`. Allocations are shown where there are any.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::wildcard_imports,
    reason = "a benchmark that cannot be set up should stop there"
)]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::BytesMut;
use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use doorward::accept::{Accepted, Balancers, Budgets, Strangers};
use doorward::address::kernel::{Family, Program};
use doorward::address::{AddressGate, Bans, Effect, NetworkRule, parse_list};
use doorward::frame::{ByteOrder, Decoder, FrameKind, FramePolicy, LengthWidth, Text};
use doorward::handshake::Presented;
use doorward::identity::{IdentityGate, IdentityRule, PermittedName};
use doorward::peer::PeerAddr;
use doorward::pki::{Authority, Options};
use doorward::place::{Place, Written};
use futures_util::FutureExt;
use ipnet::IpNet;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// The same numbers every time, spread over all 64 bits (the generator of Steele, Lea and Flood, 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn v4(&mut self) -> Ipv4Addr {
        Ipv4Addr::from(u32::try_from(self.next() >> 32).unwrap())
    }

    /// Of the block that is in use.
    fn v6(&mut self) -> Ipv6Addr {
        let bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        Ipv6Addr::from((bits >> 3) | (1 << 125))
    }

    fn networks(&mut self, v4: usize, v6: usize) -> Vec<IpNet> {
        let mut all = std::collections::BTreeSet::new();
        while all.len() < v4 {
            let length =
                [24, 26, 28, 30, 32, 32, 32, 32][usize::try_from(self.next() % 8).unwrap()];
            all.insert(IpNet::new(self.v4().into(), length).unwrap().trunc());
        }
        while all.len() < v4 + v6 {
            let length =
                [32, 48, 48, 56, 64, 64, 64, 128][usize::try_from(self.next() % 8).unwrap()];
            all.insert(IpNet::new(self.v6().into(), length).unwrap().trunc());
        }
        all.into_iter().collect()
    }
}

fn rules(networks: &[IpNet]) -> impl Iterator<Item = NetworkRule> {
    let file: Arc<str> = Arc::from("bench.list");
    (1..).zip(networks).map(move |(line, network)| NetworkRule {
        network: *network,
        effect: Effect::Allow,
        place: Place::new(Arc::clone(&file), line, 1),
    })
}

fn gate(v4: usize, v6: usize) -> AddressGate {
    AddressGate::new(rules(&Numbers(1).networks(v4, v6)))
}

static BIG: LazyLock<Vec<IpNet>> = LazyLock::new(|| Numbers(1).networks(1_000_000, 200_000));
static BIG_TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = String::new();
    BIG.iter().for_each(|network| writeln!(text, "{network}").unwrap());
    text
});

mod address {
    use super::*;

    const ASKED: usize = 4096;

    /// Each look-up waits for the one before, as one on a cold path would.
    fn one_after_the_other(bencher: Bencher<'_, '_>, gate: &AddressGate, asked: &[IpAddr]) {
        bencher.counter(ItemsCount::new(asked.len())).bench_local(|| {
            let mut port = 0_u16;
            for ip in asked {
                let found = gate.effect(PeerAddr::new((*ip, port).into()));
                port = u16::from(found == Some(Effect::Deny));
            }
            black_box(port)
        });
    }

    #[divan::bench(args = [1, 10_000, 1_000_000])]
    fn look_up_v4(bencher: Bencher<'_, '_>, networks: usize) {
        let (gate, mut numbers) = (gate(networks, 0), Numbers(2));
        let asked: Vec<_> = (0..ASKED).map(|_| numbers.v4().into()).collect();
        one_after_the_other(bencher, &gate, &asked);
    }

    #[divan::bench(args = [1, 10_000, 200_000])]
    fn look_up_v6(bencher: Bencher<'_, '_>, networks: usize) {
        let (gate, mut numbers) = (gate(0, networks), Numbers(2));
        let asked: Vec<_> = (0..ASKED).map(|_| numbers.v6().into()).collect();
        one_after_the_other(bencher, &gate, &asked);
    }

    fn listed() -> Vec<IpAddr> {
        let mut numbers = Numbers(3);
        let pick = |_| BIG[usize::try_from(numbers.next()).unwrap() % BIG.len()].addr();
        (0..ASKED).map(pick).collect()
    }

    #[divan::bench]
    fn look_up_listed_of_1_200_000(bencher: Bencher<'_, '_>) {
        one_after_the_other(bencher, &AddressGate::new(rules(&BIG)), &listed());
    }

    /// With the rule that decides, as a refusal by a rule and `explain` need it.
    #[divan::bench]
    fn name_the_rule_of_1_200_000(bencher: Bencher<'_, '_>) {
        let (gate, asked) = (AddressGate::new(rules(&BIG)), listed());
        bencher.counter(ItemsCount::new(asked.len())).bench_local(|| {
            let mut port = 0_u16;
            for ip in &asked {
                let found = gate.deciding(PeerAddr::new((*ip, port).into()));
                port = u16::from(found.is_none());
            }
            black_box(port)
        });
    }

    /// What a list costs at start and at reload, up to the networks and where they are written.
    #[divan::bench(sample_count = 5, sample_size = 1)]
    fn read_list_of_1_200_000() -> usize {
        let (networks, problems) = parse_list(&BIG_TEXT, &Arc::from("bench.list"));
        assert!(problems.is_empty());
        networks.len()
    }

    /// What remains allocated is what the gate weighs.
    #[divan::bench(sample_count = 5, sample_size = 1)]
    fn build_gate_of_1_200_000(bencher: Bencher<'_, '_>) {
        bencher
            .with_inputs(|| BIG.clone())
            .bench_local_values(|nets| AddressGate::new(rules(&nets)));
    }

    #[divan::bench(args = [300, 2000])]
    fn compile_for_the_kernel(bencher: Bencher<'_, '_>, networks: usize) {
        let (gate, bans) = (gate(networks, 0), Bans::default());
        bencher.bench_local(|| Program::compile(Family::V4, &gate, &bans, &[]).is_ok());
    }

    /// A visitor that is not listed, from its seat to its refusal.
    #[divan::bench(args = [1, 1_000_000])]
    fn refuse(bencher: Bencher<'_, '_>, networks: usize) {
        let one = |number| NonZeroUsize::new(number).unwrap();
        let budgets = Budgets { strangers: one(512), per_source: one(16), members: one(1) };
        let (strangers, gate, bans) = (Strangers::new(budgets), gate(networks, 0), Bans::default());
        let balancers = Balancers::new(Vec::new(), Duration::from_secs(1));
        let peer = PeerAddr::new((Ipv4Addr::new(240, 1, 2, 3), 9).into());
        assert!(gate.judge(peer).is_err());
        bencher.bench_local(|| {
            let accepted = Accepted::new(tokio::io::empty(), peer, &strangers);
            let introduced = balancers.introduce(accepted).now_or_never().unwrap().unwrap();
            bans.judge(introduced.peer(), std::time::UNIX_EPOCH).unwrap();
            gate.admit(introduced).is_err()
        });
    }
}

mod identity {
    use super::*;

    fn presented() -> Presented {
        let authority = Authority::ephemeral().unwrap();
        let alice = authority.client(&"alice".parse().unwrap(), Options::default()).unwrap();
        Presented::read(&alice.chain()[0]).unwrap()
    }

    fn rule(name: &str) -> IdentityRule {
        let name = PermittedName::parse(name).unwrap();
        let from = vec!["127.0.0.0/8".parse().unwrap()];
        IdentityRule::new(vec![Written::new(name, Place::in_code("bench"))], Some(from))
    }

    #[divan::bench(args = [1, 100, 10_000])]
    fn permit_by_the_last_rule(bencher: Bencher<'_, '_>, count: usize) {
        let presented = presented();
        let others = (1..count).map(|number| rule(&format!("dns:other-{number}.client.internal")));
        let gate = IdentityGate::new(others.chain([rule("dns:alice.client.internal")]).collect());
        let peer = PeerAddr::new((Ipv4Addr::LOCALHOST, 9).into());
        assert!(gate.judge(&presented, peer).is_ok());
        bencher.bench_local(|| gate.judge(black_box(&presented), peer).is_ok());
    }

    #[divan::bench]
    fn read_a_certificate(bencher: Bencher<'_, '_>) {
        let authority = Authority::ephemeral().unwrap();
        let alice = authority.client(&"alice".parse().unwrap(), Options::default()).unwrap();
        bencher.bench_local(|| Presented::read(black_box(&alice.chain()[0])).is_ok());
    }
}

mod frame {
    use super::*;

    const SIZE: usize = 16 << 10;
    const FRAMES: usize = 64;

    const PREFIXED: FrameKind =
        FrameKind::LengthPrefixed { width: LengthWidth::Four, order: ByteOrder::Big };

    fn decode(bencher: Bencher<'_, '_>, kind: FrameKind, text: Text, payload: &[u8]) {
        let one = match kind {
            FrameKind::LengthPrefixed { .. } => {
                let length = u32::try_from(payload.len()).unwrap();
                [&length.to_be_bytes(), payload].concat()
            }
            FrameKind::Lines | FrameKind::JsonLines => [payload, b"\n"].concat(),
            FrameKind::Raw => payload.to_vec(),
        };
        let policy = FramePolicy::new(kind);
        let policy = if kind == FrameKind::JsonLines { policy } else { policy.text(text).unwrap() };
        let policy = Arc::new(policy);
        let bytes = one.repeat(FRAMES);
        bencher
            .counter(BytesCount::new(bytes.len()))
            .with_inputs(|| (Decoder::new(Arc::clone(&policy)), BytesMut::from(&*bytes)))
            .bench_local_refs(|(decoder, buffer)| {
                let mut frames = 0;
                while decoder.decode(buffer).unwrap().is_some() {
                    frames += 1;
                }
                assert_eq!(frames, FRAMES);
            });
    }

    #[divan::bench(args = [Text::Utf8, Text::Ascii, Text::Any])]
    fn length_prefixed_of_16_kib(bencher: Bencher<'_, '_>, text: Text) {
        decode(bencher, PREFIXED, text, &[b'x'; SIZE]);
    }

    /// Two bytes each: no run of ASCII to pass over at once.
    #[divan::bench]
    fn length_prefixed_of_greek(bencher: Bencher<'_, '_>) {
        decode(bencher, PREFIXED, Text::Utf8, "λ".repeat(SIZE / 2).as_bytes());
    }

    #[divan::bench]
    fn length_prefixed_of_32_bytes(bencher: Bencher<'_, '_>) {
        decode(bencher, PREFIXED, Text::Utf8, &[b'x'; 32]);
    }

    #[divan::bench]
    fn lines_of_16_kib(bencher: Bencher<'_, '_>) {
        decode(bencher, FrameKind::Lines, Text::Utf8, &[b'x'; SIZE]);
    }

    #[divan::bench]
    fn json_lines_of_16_kib(bencher: Bencher<'_, '_>) {
        let entries =
            "{\"name\":\"alice\",\"count\":12345,\"list\":[true,null]},".repeat(SIZE / 50);
        let text = format!("[{}]", entries.trim_end_matches(','));
        decode(bencher, FrameKind::JsonLines, Text::Utf8, text.as_bytes());
    }
}

/// The public-key operations that no server gets around in a full handshake with a client certificate.
mod crypto {
    use super::*;
    use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
        UnparsedPublicKey as Verifier,
    };

    #[divan::bench]
    fn x25519_key_and_agreement(bencher: Bencher<'_, '_>) {
        let random = SystemRandom::new();
        let fresh = || EphemeralPrivateKey::generate(&X25519, &random).unwrap();
        let peer = fresh().compute_public_key().unwrap();
        bencher.bench_local(|| {
            let own = fresh();
            let public = own.compute_public_key().unwrap();
            let peer = UnparsedPublicKey::new(&X25519, peer.as_ref());
            agree_ephemeral(own, peer, (), |secret| Ok(secret.len())).unwrap();
            public
        });
    }

    fn signer() -> EcdsaKeyPair {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()
    }

    #[divan::bench]
    fn p256_sign(bencher: Bencher<'_, '_>) {
        let (signer, random) = (signer(), SystemRandom::new());
        bencher.bench_local(|| signer.sign(&random, black_box(&[7; 130])).is_ok());
    }

    #[divan::bench]
    fn p256_verify(bencher: Bencher<'_, '_>) {
        let signer = signer();
        let signature = signer.sign(&SystemRandom::new(), &[7; 130]).unwrap();
        let verifier = Verifier::new(&ECDSA_P256_SHA256_ASN1, signer.public_key().as_ref());
        bencher.bench_local(|| verifier.verify(black_box(&[7; 130]), signature.as_ref()).is_ok());
    }
}
