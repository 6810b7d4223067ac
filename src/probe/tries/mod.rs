//! How each attack is made.

mod addresses;
mod bytes;
mod certificates;
mod crowd;
pub(super) mod frames;
mod machine;
mod names;
mod sessions;

use frames::End;
use time::{Duration, OffsetDateTime};

use super::judge::Tried;
use super::papers::text;
use super::{Attack, Probe};
use crate::pki::{Draft, RawName, Usage};
use crate::refusal::Refusal;

impl Probe {
    /// Makes an attack; in words, why it could not be made.
    #[expect(clippy::too_many_lines, reason = "an arm for each attack, so that none is forgotten")]
    pub(super) async fn attack(&self, attack: Attack) -> Tried {
        let policy = &*self.service.frame;
        let name = &self.papers.name;
        match attack {
            Attack::PortTheft => Ok(self.port_theft()),
            Attack::IdleStrangers => self.idle_strangers().await,
            Attack::UnlistedSource => self.come_from(&[Refusal::AddressNotListed]).await,
            Attack::DeniedSource => self.come_from(&[Refusal::AddressDenied]).await,
            Attack::MappedTwin => self.mapped_twin().await,
            Attack::PlainText => self.throw(bytes::HTTP).await,
            Attack::ProxyHeader => self.proxy_header().await,
            Attack::Sslv2 => self.throw(bytes::SSL_2_HELLO).await,
            Attack::Tls11 => self.throw(&bytes::hello_of_tls_1_1()).await,
            Attack::Tls12 => self.tls_1_2().await,
            Attack::NoCommonGroup => self.no_common_group().await,
            Attack::OtherProtocol => self.other_protocol().await,
            Attack::BrokenMessage => self.throw(bytes::BROKEN_MESSAGE).await,
            Attack::HugeHello => self.throw(&bytes::huge_hello()).await,
            Attack::Silence => self.silent_stranger().await,
            Attack::Drips => self.drips().await,
            Attack::NoCertificate => self.show(Ok(None)).await,
            Attack::SelfSigned => self.show(self.self_signed()).await,
            Attack::OtherAuthority => self.show(self.of_another_authority()).await,
            Attack::Expired => self.flawed(|draft| draft.valid(days(-9), days(-1))).await,
            Attack::NotYetValid => self.flawed(|draft| draft.valid(days(1), days(9))).await,
            Attack::Revoked => self.show(self.papers.revoked.clone().map(Some)).await,
            Attack::ServerCertificate => self.show(self.papers.server.clone().map(Some)).await,
            Attack::NoClientUsage => self.flawed(|draft| draft.extended_usages(&[])).await,
            Attack::CodeSigning => {
                self.flawed(|draft| draft.extended_usages(&[Usage::CodeSigning])).await
            }
            Attack::WrongKeyUsage => self.flawed(Draft::key_usage_of_encipherment).await,
            Attack::ClaimsAuthority => self.flawed(Draft::claiming_to_be_an_authority).await,
            Attack::CriticalMystery => self.flawed(Draft::with_unknown_critical_extension).await,
            Attack::StolenCertificate => self.show(self.stolen()).await,
            Attack::LongChain => self.behind(&vec![self.papers.expected.clone(); 6]).await,
            Attack::HugeChain => self.behind(&[certificates::rubbish(20_000)]).await,
            Attack::GarbageInChain => self.behind(&[certificates::rubbish(200)]).await,
            Attack::ManyNames => self.many_names().await,
            Attack::LongName => self.flawed(|draft| draft.common_name(&vec![b'a'; 30_000])).await,
            Attack::Tickets => self.tickets().await,
            Attack::Resumption => self.resumption().await,
            Attack::ResumptionTls12 => self.resumption_tls_1_2().await,
            Attack::EarlyData => self.early_data().await,
            Attack::WrongName => self.claim(names::with(name, names::sibling)).await,
            Attack::CommonNameOnly => self.claim_in_subject(text(name).as_bytes(), &[]).await,
            Attack::NamePrefix => self.claim(names::with(name, |text| format!("x{text}"))).await,
            Attack::NameSuffix => {
                self.claim(names::with(name, |text| format!("{text}.test"))).await
            }
            Attack::NameOfOtherType => self.claim(Ok(names::other_type(name))).await,
            Attack::NameInCapitals => self.claim(names::capitals(name)).await,
            Attack::ZeroInName => {
                self.claim(names::with(name, |text| format!("{text}\0.elsewhere.test"))).await
            }
            Attack::ControlInName => {
                self.claim_in_subject(b"probe\x1b[2J\n", &names::own(name)).await
            }
            Attack::NoTextInName => {
                let more = [names::own(name), vec![RawName::Email(vec![0xFF, 0xFE])]].concat();
                self.claim_in_subject(b"probe", &more).await
            }
            Attack::WrongNetwork => self.wrong_network().await,
            Attack::TooLong => self.frame(|| frames::too_long(policy), End::Open).await,
            Attack::LengthLie => self.frame(|| frames::length_lie(policy), End::Open).await,
            Attack::Truncated => self.frame(|| Ok(frames::half(policy)), End::Proper).await,
            Attack::TooShort => self.frame(|| frames::too_short(policy), End::Open).await,
            Attack::NoText => self.frame(|| frames::no_text(policy), End::Open).await,
            Attack::ControlCharacter => {
                self.frame(|| frames::control_character(policy), End::Open).await
            }
            Attack::BadJson => self.frame(|| frames::json(policy, "{'a': 1}"), End::Open).await,
            Attack::TooDeep => {
                self.frame(|| frames::json(policy, &"[".repeat(1000)), End::Open).await
            }
            Attack::RateBurst => self.frame(|| self.burst(policy), End::Open).await,
            Attack::SilentMember => self.silent_member().await,
            Attack::HalfOpen => self.frame(|| Ok(frames::half(policy)), End::Broken).await,
            Attack::AdminByOther => self.admin_by_other().await,
        }
    }
}

/// So many days before (negative) or after now.
fn days(count: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc().saturating_add(Duration::days(count))
}
