//! Why the pods cannot be read, for the person who can change it.

use std::error::Error;
use std::io;
use std::time::Duration;

use kube::client::AuthError;
use kube::config::KubeconfigError;
use kube::core::Status;
use kube::runtime::watcher;

use super::guard::Unbounded;
use crate::oci::{Reason, text};
use crate::sources::SourceError;

/// The most bytes of a message of the API server or a library that are shown.
const TEXT_BYTES_MAX: usize = 1024;

/// The longest pause that the API server may ask for.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// What to do where something else answers.
const ADDRESS: &str = "; is this the address of a Kubernetes API server?";

/// A failure, and what follows from it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: SourceError,
    pub(super) next: Next,
    /// How long the API server asks to be left alone.
    pub(super) pause: Duration,
}

/// What is done after a failure and a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// What failed is tried again.
    Again,
    /// The watch begins where it was. Until that fails, nothing is wrong.
    Resume,
    /// All pods are listed again.
    List,
    /// The server no longer knows what has changed since: all pods are listed again, and nothing is wrong.
    Expired,
    /// The credentials are read again, since they may have been replaced.
    Login,
}

impl Failure {
    pub(super) fn new(reason: Reason, message: &str, next: Next) -> Self {
        let error = SourceError { reason, message: text::shown(message, 2 * TEXT_BYTES_MAX) };
        Self { error, next, pause: Duration::ZERO }
    }

    /// A kubeconfig that cannot be used. What is in it may be secret: an error of its parser is not shown.
    pub(super) fn of_kubeconfig(what: &str, error: &KubeconfigError) -> Self {
        let advice = "set `kubeconfig` and `context`, or run in the cluster with a service account";
        let said = match error {
            KubeconfigError::Parse(_) => "it is no kubeconfig".to_owned(),
            error => chain(error),
        };
        Self::new(Reason::Denied, &format!("{what}: {said}; {advice}"), Next::Login)
    }

    /// Credentials that cannot be used.
    pub(super) fn of_credentials(error: &kube::Error) -> Self {
        let said = find::<AuthError>(error).map_or_else(|| chain(error), login);
        Self::new(Reason::Denied, &format!("cannot use the credentials for the cluster: {said}"), Next::Login)
    }

    /// A failed list or watch of the pods in `scope`.
    pub(super) fn of_watch(error: &watcher::Error, scope: &str) -> Self {
        let (verb, cause): (_, Option<&kube::Error>) = match error {
            watcher::Error::InitialListFailed(error) => ("list", Some(error)),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => ("watch", Some(error)),
            watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => ("watch", None),
        };
        let status = match (error, cause) {
            (watcher::Error::WatchError(status), _) | (_, Some(kube::Error::Api(status))) => Some(&**status),
            _ => None,
        };
        if let Some(status) = status {
            // `kube` reads every object in JSON as a status: without a code it was none.
            if status.code == 0 {
                let message =
                    format!("cannot {verb} the pods {scope}: this is no answer that Kubernetes defines{ADDRESS}");
                let next = if matches!(error, watcher::Error::WatchFailed(_)) { Next::List } else { Next::Login };
                return Self::new(Reason::Invalid, &message, next);
            }
            return Self::of_status(status, verb, scope);
        }
        if let Some(cause) = cause
            && find::<AuthError>(cause).is_some()
        {
            return Self::of_credentials(cause);
        }
        let (reason, advice) = reason(cause);
        let next = match (error, reason) {
            (watcher::Error::WatchFailed(_), Reason::Network | Reason::Timeout) => Next::Resume,
            (watcher::Error::WatchFailed(_) | watcher::Error::NoResourceVersion, _) => Next::List,
            _ => Next::Again,
        };
        let said = match cause {
            // Which quotes what it cannot read.
            Some(kube::Error::SerdeError(error)) => {
                format!("the answer is no list of pods, in line {} column {}", error.line(), error.column())
            }
            // What it says of itself before its cause is the name of one of its layers.
            Some(kube::Error::Service(cause)) => chain(&**cause),
            Some(kube::Error::HyperError(cause)) => chain(cause),
            Some(kube::Error::ReadEvents(cause)) => chain(cause),
            Some(cause) => chain(cause),
            None => chain(error),
        };
        Self::new(reason, &format!("cannot {verb} the pods {scope}: {said}{advice}"), next)
    }

    /// A pull secret that cannot be read.
    pub(super) fn of_secret(error: &kube::Error, namespace: &str, name: &str) -> Self {
        let (reason, said) = match error {
            kube::Error::Api(status) => {
                let said = text::beginning(&status.message, TEXT_BYTES_MAX);
                let advice = "; give this account a role with `get` of `secrets` there, or leave out `pull_secrets`";
                (Reason::Denied, format!("{} {said}{}", status.code, if status.code == 403 { advice } else { "" }))
            }
            // Which quotes what it cannot read.
            kube::Error::SerdeError(_) => (Reason::Invalid, "it is no secret".to_owned()),
            error => find::<AuthError>(error)
                .map_or_else(|| (Reason::Network, chain(error)), |error| (Reason::Denied, login(error))),
        };
        Self::new(
            reason,
            &format!("cannot get the secret `{name}` in the namespace `{namespace}`: {said}"),
            Next::Again,
        )
    }

    /// An answer of the API server. Its message names the account, the permission and the place.
    fn of_status(status: &Status, verb: &str, scope: &str) -> Self {
        let (reason, next, advice) = match status.code {
            401 => (Reason::Denied, Next::Login, "; the credentials are not, or no longer, accepted"),
            403 => (
                Reason::Denied,
                Next::Again,
                "; give this account a role with `list` and `watch` of `pods`, or name in `namespaces` where it has one",
            ),
            404 => (Reason::NotFound, Next::Again, ADDRESS),
            410 => (Reason::NotFound, Next::Expired, ""),
            429 => (Reason::RateLimited, Next::Again, ""),
            400..500 => (
                Reason::Invalid,
                Next::Again,
                "; is `selector` a label selector, and does `namespaces` name namespaces?",
            ),
            _ => (Reason::Server, Next::Again, ""),
        };
        let said = if status.message.is_empty() { &status.reason } else { &status.message };
        let said = text::beginning(said, TEXT_BYTES_MAX);
        let message = format!("cannot {verb} the pods {scope}: {} {said}{advice}", status.code);
        let pause = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        let pause = Duration::from_secs(pause.into()).min(PAUSE_MAX);
        Self { pause, ..Self::new(reason, &message, next) }
    }
}

fn reason(cause: Option<&kube::Error>) -> (Reason, &'static str) {
    let Some(cause) = cause else { return (Reason::Invalid, "") };
    match cause {
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => return (Reason::Invalid, ADDRESS),
        kube::Error::BuildRequest(_) => return (Reason::Invalid, ""),
        _ => {}
    }
    match find::<Unbounded>(cause) {
        Some(Unbounded::Late(_)) => (Reason::Timeout, ""),
        Some(Unbounded::Page | Unbounded::List | Unbounded::Event) => {
            (Reason::Limit, "; `namespaces` and `selector` choose fewer pods")
        }
        None => match find::<io::Error>(cause) {
            Some(error) if error.kind() == io::ErrorKind::TimedOut => (Reason::Timeout, ""),
            _ => (Reason::Network, ""),
        },
    }
}

/// Why there are no credentials. What a program printed may be some, and so may what an error quotes of it.
fn login(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecStart(error) => format!("the program that the kubeconfig names cannot be started: {error}"),
        AuthError::AuthExecRun { cmd, out } => {
            format!("`{cmd}`, which the kubeconfig names, ended with {}", out.status)
        }
        AuthError::ReadTokenFile(error, path) => format!("the token `{}` cannot be read: {error}", path.display()),
        _ => "what the kubeconfig names for this user gives none".to_owned(),
    }
}

/// The error of type `E` behind another one. An `io::Error` hides the one that it is made of from its sources.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// An error with its causes, where they say more than it does.
fn chain(error: &dyn Error) -> String {
    let mut text = text::beginning(&error.to_string(), TEXT_BYTES_MAX).to_owned();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if text.len() < TEXT_BYTES_MAX && !text.contains(&said) {
            text.push_str(": ");
            text.push_str(text::beginning(&said, TEXT_BYTES_MAX));
        }
        source = cause.source();
    }
    text
}
