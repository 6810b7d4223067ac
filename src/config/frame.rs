//! `[service.frame]`: what a well-formed message is.

use super::section::Section;
use crate::frame::FramePolicy;
use crate::service::ServiceKind;

pub(super) fn read(section: Section<'_>, service: Option<&ServiceKind>) -> Option<FramePolicy> {
    let _ = service;
    section.finish();
    Some(FramePolicy)
}
