//! How a plan reads: one line per step, `#5 service db: wait until healthy after #4`.
//!
//! The text is the format of the planning tests, so it says everything a reviewer must see: object, action, cause, order.

use std::fmt::{Display, Formatter, Result};

use crate::graph::Condition;

use super::step::{Action, Kind, Object, Plan, Step, Until};

impl Display for Plan {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        self.steps
            .iter()
            .try_for_each(|step| writeln!(formatter, "{step}"))
    }
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{} {}: ", self.id, self.object)?;
        self.write_action(formatter)?;
        if let Some(cause) = &self.cause {
            write!(formatter, " ({cause})")?;
        }
        if let Some(hooks) = &self.hooks {
            let words = match &self.action {
                Action::StartContainer => ", then its post_start",
                Action::StopContainer { .. } => ", before that its pre_stop",
                _ if hooks.pre_stop.is_empty() => ", then its post_start",
                _ if hooks.post_start.is_empty() => ", before that its pre_stop",
                _ => ", before that its pre_stop, then its post_start",
            };
            formatter.write_str(words)?;
        }
        for (position, after) in self.after.iter().enumerate() {
            let lead = if position == 0 { " after " } else { ", " };
            write!(formatter, "{lead}{}", after.step)?;
        }
        Ok(())
    }
}

impl Step {
    fn write_action(&self, formatter: &mut Formatter<'_>) -> Result {
        match &self.action {
            Action::CreateContainer(_) if self.target != self.object.name => {
                write!(formatter, "create as {}", self.target)
            }
            Action::CreateNetwork(_) | Action::CreateVolume(_) | Action::CreateContainer(_) => {
                formatter.write_str("create")
            }
            Action::BuildImage(_) => formatter.write_str("build"),
            Action::RemoveNetwork | Action::RemoveVolume | Action::RemoveImage => {
                formatter.write_str("remove")
            }
            Action::PullImage { platform, .. } if platform.is_empty() => {
                formatter.write_str("pull")
            }
            Action::PullImage { platform, .. } => write!(formatter, "pull for {platform}"),
            Action::RemoveContainer { volumes: false } => formatter.write_str("remove"),
            Action::RemoveContainer { volumes: true } => {
                formatter.write_str("remove with its anonymous volumes")
            }
            Action::WriteFiles(files) => {
                let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
                write!(formatter, "write {}", paths.join(", "))
            }
            Action::RenameContainer => write!(formatter, "rename from {}", self.target),
            Action::StartContainer => formatter.write_str("start"),
            Action::UnpauseContainer => formatter.write_str("unpause"),
            Action::StopContainer { .. } => formatter.write_str("stop"),
            Action::RestartContainer { .. } => formatter.write_str("restart"),
            Action::KillContainer { signal } => write!(formatter, "kill with {signal}"),
            Action::Disconnect { network } => write!(formatter, "disconnect from {network}"),
            Action::Connect { network, .. } => write!(formatter, "connect to {network}"),
            Action::Wait(gate) => write!(formatter, "wait until {}", gate.until),
        }
    }
}

impl Display for Until {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(match self {
            Until::Met(Condition::Started) => "running",
            Until::Met(Condition::Healthy) => "healthy",
            Until::Met(Condition::Completed) => "completed",
            Until::Ready {
                may_complete: false,
            } => "running or healthy",
            Until::Ready { may_complete: true } => "running, healthy or completed",
        })
    }
}

impl Display for Object {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{} {}", self.kind, self.name)
    }
}

impl Display for Kind {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(match self {
            Kind::Network => "network",
            Kind::Volume => "volume",
            Kind::Image => "image",
            Kind::Container => "container",
            Kind::Service => "service",
        })
    }
}
