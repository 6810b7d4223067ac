//! Classic BPF as the kernel runs it, as far as our programs use it, for tests.

use std::net::IpAddr;

use super::Program;
use super::assembly::{JUMP, JUMP_IF_AT_LEAST, LOAD_WORD, RETURN};

/// Whether the program lets a packet from this address pass. Panics where the kernel would refuse the
/// program.
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic where it overflows")]
pub(super) fn passes(program: &Program, source: IpAddr) -> bool {
    let mut header = [0xAA; 40];
    match source {
        IpAddr::V4(ip) => header[12..16].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => header[8..24].copy_from_slice(&ip.octets()),
    }
    let instructions = program.instructions();
    let (mut at, mut accumulator) = (0_usize, None::<u32>);
    loop {
        let one = instructions[at];
        at += 1;
        match one.code {
            LOAD_WORD => {
                let offset = usize::try_from(one.k - 0xFFF0_0000).unwrap_or(usize::MAX);
                accumulator = header[offset..].first_chunk().map(|word| u32::from_be_bytes(*word));
            }
            JUMP => at += usize::try_from(one.k).unwrap_or(usize::MAX),
            JUMP_IF_AT_LEAST => {
                let Some(value) = accumulator else {
                    panic!("compared before anything was loaded")
                };
                at += usize::from(if value >= one.k { one.jt } else { one.jf });
            }
            RETURN => {
                assert!(one.k == 0 || one.k == u32::MAX, "half a packet");
                return one.k != 0;
            }
            unknown => panic!("no instruction has the code {unknown:#x}"),
        }
    }
}
