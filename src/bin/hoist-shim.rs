//! The shim of one container; everything is in the library `hoist-shim`.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    hoist_shim::main()
}
