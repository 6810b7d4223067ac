//! How each attack is made.

mod addresses;
mod bytes;
mod certificates;
mod crowd;
pub(super) mod frames;
mod machine;
mod names;
mod sessions;

use super::judge::Tried;
use super::{Attack, Probe};

impl Probe {
    /// Makes an attack; in words, why it could not be made.
    pub(super) async fn attack(&self, attack: Attack) -> Tried {
        match attack {
            Attack::PortTheft => self.port_theft(),
            Attack::AdminByOther => self.admin_by_other().await,
            Attack::IdleStrangers => self.idle_strangers().await,
            Attack::UnlistedSource => self.unlisted_source().await,
            Attack::DeniedSource => self.denied_source().await,
            Attack::MappedTwin => self.mapped_twin().await,
            Attack::PlainText | Attack::Sslv2 | Attack::Tls11 | Attack::BrokenMessage => {
                self.bytes(attack).await
            }
            Attack::ProxyHeader => self.proxy_header().await,
            Attack::HugeHello => self.huge_hello().await,
            Attack::Silence => self.silent_stranger().await,
            Attack::Drips => self.drips().await,
            Attack::Tls12 => self.tls_1_2().await,
            Attack::NoCommonGroup => self.no_common_group().await,
            Attack::OtherProtocol => self.other_protocol().await,
            Attack::Tickets => self.tickets().await,
            Attack::Resumption => self.resumption().await,
            Attack::ResumptionTls12 => self.resumption_tls_1_2().await,
            Attack::EarlyData => self.early_data().await,
            Attack::NoCertificate
            | Attack::SelfSigned
            | Attack::OtherAuthority
            | Attack::Expired
            | Attack::NotYetValid
            | Attack::Revoked
            | Attack::ServerCertificate
            | Attack::NoClientUsage
            | Attack::CodeSigning
            | Attack::WrongKeyUsage
            | Attack::ClaimsAuthority
            | Attack::CriticalMystery
            | Attack::StolenCertificate
            | Attack::LongChain
            | Attack::HugeChain
            | Attack::GarbageInChain
            | Attack::ManyNames
            | Attack::LongName => self.show(attack).await,
            Attack::WrongName
            | Attack::CommonNameOnly
            | Attack::NamePrefix
            | Attack::NameSuffix
            | Attack::NameOfOtherType
            | Attack::NameInCapitals
            | Attack::ZeroInName
            | Attack::ControlInName
            | Attack::NoTextInName => self.claim(attack).await,
            Attack::WrongNetwork => self.wrong_network().await,
            Attack::TooLong
            | Attack::LengthLie
            | Attack::Truncated
            | Attack::TooShort
            | Attack::NoText
            | Attack::ControlCharacter
            | Attack::BadJson
            | Attack::TooDeep
            | Attack::RateBurst
            | Attack::SilentMember
            | Attack::HalfOpen => self.frame(attack).await,
        }
    }
}
