//! The class: a teacher's tickets, and submissions that are judged again on the teacher's machine.
//!
//! Nothing that a learner's machine says is worth a mark. A [`parcel`] brings the learner's files; [`mark`] attacks
//! them anew with seeds that nobody has seen, one process an exercise, and only what that process saw counts.

pub(crate) mod gradescope;
pub(crate) mod grade;
pub(crate) mod lists;
pub(crate) mod mark;
pub(crate) mod parcel;
pub(crate) mod register;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod syllabus;
pub(crate) mod ticket;
pub(crate) mod viva;
