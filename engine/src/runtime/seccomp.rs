//! placeholder
use hoist_kernel::init::program::Instruction;
/// x
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad")]
pub struct SeccompError;
/// x
#[derive(Debug)]
pub struct Facts {
    pub kernel: (u32, u32),
    pub capabilities: u64,
}
/// x
#[derive(Debug)]
pub struct Profile;
impl Profile {
    pub fn from_json(_: &str) -> Result<Self, SeccompError> {
        Ok(Self)
    }
}
pub fn default_profile() -> Profile {
    Profile
}
pub fn compile(_: &Profile, _: &Facts) -> Result<Vec<Instruction>, SeccompError> {
    Ok(vec![Instruction {
        code: 6,
        jump_true: 0,
        jump_false: 0,
        operand: 0x7fff_0000,
    }])
}
