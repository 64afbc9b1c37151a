//! SIGINT and SIGTERM: the first one asks for an orderly end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::exit::ExitCode;

/// Tells whether a signal came, and which exit code it means.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    code: watch::Receiver<Option<ExitCode>>,
    asked: CancellationToken,
}

impl Stop {
    /// Begins to listen for both signals.
    pub(super) fn listen() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, code) = watch::channel(None);
        let asked = CancellationToken::new();
        let ask = asked.clone();
        tokio::spawn(async move {
            let code = tokio::select! {
                _ = interrupt.recv() => ExitCode::Interrupted,
                _ = terminate.recv() => ExitCode::Terminated,
            };
            let _ = sender.send(Some(code));
            ask.cancel();
            // The receivers must keep the value after this task has ended.
            sender.closed().await;
        });
        Ok(Self { code, asked })
    }

    /// The exit code of the signal that came, if one did.
    pub(super) fn code(&self) -> Option<ExitCode> {
        *self.code.borrow()
    }

    /// Cancelled by the first signal, when its exit code is known.
    pub(super) fn token(&self) -> CancellationToken {
        self.asked.clone()
    }

    /// Waits for a signal.
    pub(super) async fn requested(mut self) -> ExitCode {
        let code = self.code.wait_for(Option::is_some).await.ok().and_then(|code| *code);
        match code {
            Some(code) => code,
            None => std::future::pending().await,
        }
    }
}
