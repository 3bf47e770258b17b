//! Further processes in a running container.

use crate::wire::wire;

wire! {
    /// Body of an exec's creation.
    pub struct ExecCreate {
        /// Send standard input.
        pub attach_stdin: bool,
        /// Receive standard output.
        pub attach_stdout: bool,
        /// Receive standard error.
        pub attach_stderr: bool,
        /// Keys that end the attachment.
        #[serde(alias = "detachKeys", skip_serializing_if = "String::is_empty")]
        pub detach_keys: String,
        /// Give it a terminal.
        pub tty: bool,
        /// Terminal size at start, height and width.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub console_size: Option<[u32; 2]>,
        /// Additional environment, `NAME=value`.
        pub env: Vec<String>,
        /// Command and arguments.
        pub cmd: Vec<String>,
        /// Everything allowed.
        pub privileged: bool,
        /// `user[:group]`; empty: the container's.
        pub user: String,
        /// Working directory; empty: the container's.
        pub working_dir: String,
    }

    /// Answer to an exec's creation.
    pub struct ExecCreated {
        /// The exec's id.
        pub id: String,
    }

    /// Body of an exec's start.
    pub struct ExecStart {
        /// Do not attach.
        pub detach: bool,
        /// Must equal the creation's.
        pub tty: bool,
        /// Terminal size at start, height and width.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub console_size: Option<[u32; 2]>,
    }

    /// What an exec executes.
    pub struct ProcessConfig {
        /// Has a terminal.
        #[serde(rename = "tty")]
        pub tty: bool,
        /// Program.
        #[serde(rename = "entrypoint")]
        pub entrypoint: String,
        /// Arguments.
        #[serde(rename = "arguments")]
        pub arguments: Vec<String>,
        /// Everything allowed.
        #[serde(rename = "privileged")]
        pub privileged: bool,
        /// User.
        #[serde(rename = "user", skip_serializing_if = "String::is_empty")]
        pub user: String,
    }

    /// Everything about an exec.
    pub struct ExecInspect {
        /// Id.
        #[serde(rename = "ID")]
        pub id: String,
        /// Runs.
        pub running: bool,
        /// Exit code; absent while it runs.
        pub exit_code: Option<i64>,
        /// What it executes.
        pub process_config: ProcessConfig,
        /// Standard input is open.
        pub open_stdin: bool,
        /// Standard error is attached.
        pub open_stderr: bool,
        /// Standard output is attached.
        pub open_stdout: bool,
        /// May be removed.
        pub can_remove: bool,
        /// The container's id.
        #[serde(rename = "ContainerID")]
        pub container_id: String,
        /// Keys that end the attachment.
        pub detach_keys: String,
        /// Process id on the host.
        pub pid: i64,
    }
}
