//! The loop between clone3(2) and execve(2).
//!
//! Nothing here allocates, locks, logs or formats: what operations need was made ready in [`Child::new`], in
//! the parent. Nothing here decides either, beyond what only this process can see (a directory or a file, an
//! entry of the container's `/etc/passwd`).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use super::program::{Command, InitProgram, Namespace, OnFailure, Op, Slot};
use super::report::{self, Reason};
use super::{console, identity, mounts, reaper};
use crate::sys::{self, PointerTable, SingleThreaded};

/// What stops a program.
pub(crate) type Step<T = ()> = Result<T, Reason>;

/// What the interpreter starts with.
#[derive(Debug)]
pub(crate) struct Descriptors {
    /// For the first slots.
    pub(crate) slots: Vec<OwnedFd>,
    /// The channel to the shim.
    pub(crate) channel: OwnedFd,
    /// The standard streams to be.
    pub(crate) streams: [Option<OwnedFd>; 3],
}

/// State of the interpreter.
#[derive(Debug)]
pub(crate) struct Child<'program> {
    /// Descriptors by slot.
    pub(crate) slots: Vec<Option<OwnedFd>>,
    /// What becomes `/`, until it is.
    pub(crate) root: Option<OwnedFd>,
    /// The channel to the shim.
    pub(crate) channel: OwnedFd,
    /// The standard streams to be.
    pub(crate) streams: [Option<OwnedFd>; 3],
    /// Who the process is going to be.
    pub(crate) identity: identity::Identity,
    /// Held by the process that makes this one.
    pub(crate) proof: SingleThreaded,
    argv: PointerTable<'program>,
    environment: PointerTable<'program>,
    /// Index of the operation that runs, as reports name it.
    pub(crate) operation: usize,
}

impl<'program> Child<'program> {
    /// Makes everything ready that the operations of `program` need. Runs in the parent.
    pub(crate) fn new(
        program: &'program InitProgram,
        inputs: Descriptors,
        proof: SingleThreaded,
    ) -> Self {
        let command = program.inside.iter().find_map(|op| match op {
            Op::Exec(command) => Some(command),
            _ => None,
        });
        let (argv, environment) = command.map_or((&[][..], &[][..]), |command| {
            (&command.argv[..], &command.environment[..])
        });
        let mut slots: Vec<Option<OwnedFd>> = inputs.slots.into_iter().map(Some).collect();
        slots.resize_with(slots.len().max(usize::from(program.slots)), || None);
        Self {
            slots,
            root: None,
            channel: inputs.channel,
            streams: inputs.streams,
            identity: identity::Identity::with_room(),
            proof,
            argv: PointerTable::new(argv, 0),
            environment: PointerTable::new(environment, 1),
            operation: 0,
        }
    }

    /// Runs the program. Returns only by ending the process when an operation fails.
    pub(crate) fn run(&mut self, program: &'program InitProgram) -> ! {
        for (index, op) in program.inside.iter().enumerate() {
            self.operation = index;
            if let Err(reason) = self.step(op) {
                report::send_failure(self.channel.as_fd(), index, reason);
                sys::exit_now(127);
            }
        }
        sys::exit_now(127)
    }

    /// Runs one operation; also used by the shim for those that come before the process.
    pub(crate) fn step(&mut self, op: &'program Op) -> Step {
        match op {
            Op::CloneTree { .. }
            | Op::CloneTreeOf { .. }
            | Op::MapIds { .. }
            | Op::MakeMountsPrivate
            | Op::MakeOverlay { .. }
            | Op::MountOverlay { .. }
            | Op::MountRoot { .. }
            | Op::MakeFilesystem { .. }
            | Op::SetAttributes { .. }
            | Op::Attach { .. }
            | Op::MakeDevice(_)
            | Op::MakeLink { .. }
            | Op::Mask { .. }
            | Op::MakeReadOnly { .. }
            | Op::MakeRootReadOnly
            | Op::PivotRoot
            | Op::SetRootPropagation(_) => mounts::step(self, op),
            Op::LookUpUser(_)
            | Op::WorkingDirectory { .. }
            | Op::ActAs { .. }
            | Op::GiveStreams { .. }
            | Op::BecomeRoot
            | Op::Stdio
            | Op::BecomeUser(_)
            | Op::FinishCapabilities(_)
            | Op::NoNewPrivileges
            | Op::LoadFilter(_)
            | Op::JoinKeyring(_)
            | Op::SetLimit { .. } => identity::step(self, op),
            Op::OpenConsole { .. } => console::open(self, op),
            Op::Write {
                slot,
                path,
                value,
                on_failure,
            } => {
                let written = self.write(*slot, path, value);
                self.optional(*on_failure, written)
            }
            Op::BecomeInit => reaper::become_init(self),
            Op::Exec(command) => Err(self.exec(command)),
            other => self.process_step(other),
        }
    }

    fn process_step(&mut self, op: &'program Op) -> Step {
        match op {
            Op::OpenNamespace { slot, path } => {
                let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
                self.set(*slot, fd)
            }
            Op::Join { slot, namespace } => join(self.get(*slot)?, *namespace),
            Op::JoinProcess { slot, namespaces } => {
                sys::join_process(self.get(*slot)?, *namespaces).map_err(Reason::from)
            }
            Op::JoinCgroup { procs } => {
                let file =
                    rustix::fs::open(procs, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::io::write(file, b"0")
                    .map(drop)
                    .map_err(Reason::from)
            }
            Op::NewSession => rustix::process::setsid().map(drop).map_err(Reason::from),
            Op::DieWithParent => self.die_with_parent(),
            Op::SetHostName(name) => rustix::system::sethostname(name).map_err(Reason::from),
            Op::SetDomainName(name) => rustix::system::setdomainname(name).map_err(Reason::from),
            Op::AwaitGo => self.await_go(),
            Op::Unshare { namespaces } => {
                let flags = u32::try_from(*namespaces).map_err(|_| Errno::INVAL)?;
                sys::unshare(UnshareFlags::from_bits_retain(flags)).map_err(Reason::from)
            }
            Op::SetUmask(mask) => {
                rustix::process::umask(Mode::from_raw_mode(*mask));
                Ok(())
            }
            _ => Err(Errno::NOSYS.into()),
        }
    }

    /// The descriptor of a slot.
    pub(crate) fn get(&self, slot: Slot) -> Step<BorrowedFd<'_>> {
        let place = self.slots.get(usize::from(slot.0)).and_then(Option::as_ref);
        place.map(AsFd::as_fd).ok_or(Reason::Errno(Errno::BADF))
    }

    /// Fills a slot.
    pub(crate) fn set(&mut self, slot: Slot, fd: OwnedFd) -> Step {
        let place = self.slots.get_mut(usize::from(slot.0)).ok_or(Errno::BADF)?;
        *place = Some(fd);
        Ok(())
    }

    /// The container's root, before and after it became `/`.
    pub(crate) fn root(&self) -> Step<BorrowedFd<'_>> {
        self.root
            .as_ref()
            .map(AsFd::as_fd)
            .ok_or(Reason::Errno(Errno::BADF))
    }

    /// Opens `/` as the root for operations of a process that has joined a container.
    pub(crate) fn open_own_root(&mut self) -> Step {
        if self.root.is_none() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.root = Some(rustix::fs::open(c"/", flags, Mode::empty())?);
        }
        Ok(())
    }

    /// Passes a failure on, or reports it as a warning.
    pub(crate) fn optional(&self, on_failure: OnFailure, result: Step) -> Step {
        match (on_failure, result) {
            (OnFailure::Warn, Err(reason)) => {
                report::send_warning(self.channel.as_fd(), self.operation, reason);
                Ok(())
            }
            (_, result) => result,
        }
    }

    fn write(&self, slot: Slot, path: &CStr, value: &[u8]) -> Step {
        // Inside a file system of our own: no link of it may lead elsewhere, and nothing may be mounted over.
        let resolve = rustix::fs::ResolveFlags::BENEATH
            | rustix::fs::ResolveFlags::NO_XDEV
            | rustix::fs::ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(self.get(slot)?, path, flags, Mode::empty(), resolve)?;
        rustix::io::write(file, value)
            .map(drop)
            .map_err(Reason::from)
    }

    fn die_with_parent(&self) -> Step {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // The parent may have died just before: then the other end of the channel is closed.
        let mut fds = [rustix::event::PollFd::new(
            &self.channel,
            rustix::event::PollFlags::empty(),
        )];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        rustix::event::poll(&mut fds, Some(&now))?;
        if fds[0].revents().contains(rustix::event::PollFlags::HUP) {
            return Err(Errno::PIPE.into());
        }
        Ok(())
    }

    fn await_go(&self) -> Step {
        let mut byte = [0];
        let received = rustix::io::retry_on_intr(|| rustix::io::read(&self.channel, &mut byte))?;
        if received == 1 {
            Ok(())
        } else {
            Err(Errno::PIPE.into())
        }
    }

    fn exec(&mut self, command: &'program Command) -> Reason {
        sys::reset_signals();
        let home = self.identity.take_home_variable();
        let mut environment: PointerTable<'_> = std::mem::take(&mut self.environment);
        if command.add_home {
            environment.push(CStr::from_bytes_until_nul(&home).unwrap_or(c"HOME=/"));
        }
        let searched = command.candidates.len() != 1 || !names_a_path(command);
        for path in &command.candidates {
            let errno = sys::execve(path, &self.argv, &environment);
            match errno {
                Errno::NOENT | Errno::NOTDIR | Errno::ACCESS if searched => {}
                Errno::ACCESS if is_directory(path) => return Reason::IsDirectory,
                errno => return errno.into(),
            }
        }
        Reason::NotInPath
    }
}

fn names_a_path(command: &Command) -> bool {
    command
        .argv
        .first()
        .is_some_and(|name| name.as_bytes().contains(&b'/'))
}

fn is_directory(path: &CStr) -> bool {
    rustix::fs::stat(path)
        .is_ok_and(|status| rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir())
}

fn join(fd: BorrowedFd<'_>, namespace: Namespace) -> Step {
    use rustix::thread::LinkNameSpaceType as Kind;
    let kind = match namespace {
        Namespace::Mount => Kind::Mount,
        Namespace::Pid => Kind::ProcessID,
        Namespace::Network => Kind::Network,
        Namespace::Ipc => Kind::InterProcessCommunication,
        Namespace::Uts => Kind::HostNameAndNISDomainName,
        Namespace::Cgroup => Kind::ControlGroup,
        Namespace::User => Kind::User,
    };
    rustix::thread::move_into_link_name_space(fd, Some(kind)).map_err(Reason::from)
}
