//! The shim for this package's tests: the product's is made by the root package.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    hoist_shim::main()
}
