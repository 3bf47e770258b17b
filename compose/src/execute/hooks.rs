//! Lifecycle hooks: commands that run in a container after its start or before its end (Compose Specification, `post_start`,
//! `pre_stop`). One that fails is the step's failure.

use futures_util::StreamExt;
use hoist_api::exec::{ExecCreate, ExecStart};
use hoist_api::{Engine, ErrorKind};

use super::{ExecuteError, Run, Status};
use crate::model::Hook;
use crate::plan::{Action, Step};

/// How much of what a hook says is kept for the failure's text: the last bytes.
const KEPT: usize = 4096;

impl<E: Engine> Run<'_, E> {
    /// Runs what comes before the container is stopped.
    pub(super) async fn before_stop(&self, step: &Step) -> Result<(), ExecuteError> {
        let stops = matches!(
            step.action,
            Action::StopContainer { .. } | Action::RestartContainer { .. }
        );
        match &step.hooks {
            Some(hooks) if stops => {
                self.hooks(step, (&hooks.service, true), &hooks.pre_stop)
                    .await
            }
            _ => Ok(()),
        }
    }

    /// Runs what comes after the container was started.
    pub(super) async fn after_start(&self, step: &Step) -> Result<(), ExecuteError> {
        let starts = matches!(
            step.action,
            Action::StartContainer | Action::RestartContainer { .. }
        );
        match &step.hooks {
            Some(hooks) if starts => {
                self.hooks(step, (&hooks.service, false), &hooks.post_start)
                    .await
            }
            _ => Ok(()),
        }
    }

    async fn hooks(
        &self,
        step: &Step,
        (service, before_stop): (&str, bool),
        hooks: &[Hook],
    ) -> Result<(), ExecuteError> {
        for hook in hooks {
            let failure = |source| ExecuteError::Engine {
                action: "run a hook in",
                object: step.object.clone(),
                source,
            };
            match self.hook(step, hook).await {
                Ok((0, _)) => {}
                Ok((code, output)) => {
                    return Err(ExecuteError::Hook {
                        service: service.to_owned(),
                        before_stop,
                        code,
                        output,
                    });
                }
                // It has ended by itself: there is nothing to prepare for its end.
                Err(error)
                    if matches!(step.action, Action::StopContainer { .. })
                        && (error.is(ErrorKind::Conflict) || error.is(ErrorKind::NotFound)) => {}
                Err(error) => return Err(failure(error)),
            }
        }
        Ok(())
    }

    /// The hook's exit code, and the end of what it said.
    async fn hook(&self, step: &Step, hook: &Hook) -> hoist_api::Result<(i64, String)> {
        let environment = hook.environment.iter();
        let env = environment.filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)));
        let body = ExecCreate {
            attach_stdout: true,
            attach_stderr: true,
            cmd: hook.command.clone().unwrap_or_default(),
            env: env.collect(),
            privileged: hook.privileged,
            user: hook.user.clone().unwrap_or_default(),
            working_dir: hook.working_dir.clone().unwrap_or_default(),
            ..ExecCreate::default()
        };
        let created = self.engine.exec_create(&step.target, &body).await?;
        let start = ExecStart::default();
        let mut attached = self.engine.exec_start(&created.id, &start).await?;
        let mut said = Vec::new();
        while let Some(frame) = attached.output.next().await {
            let data = frame?.data;
            let text = String::from_utf8_lossy(&data).into_owned();
            self.tell(&step.object, Status::Said, Some(text));
            said.extend_from_slice(&data);
            let surplus = said.len().saturating_sub(KEPT);
            said.drain(..surplus);
        }
        let code = self.engine.exec_inspect(&created.id).await?.exit_code;
        Ok((
            code.unwrap_or(0),
            String::from_utf8_lossy(&said).into_owned(),
        ))
    }
}
