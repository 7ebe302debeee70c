//! Text that must not be printed.

/// A password or token. It has neither `Debug` nor `Display`, so that no log, error or panic can print it; code that
/// needs the text calls `expose`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Box<str>);

impl Secret {
    /// Wraps the text.
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text, for the one request that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};
    use std::marker::PhantomData;

    use super::*;
    use crate::config::Config;
    use crate::registry::auth::cache::{Authorization, AuthorizationCache};
    use crate::registry::auth::cloud::{CloudIdentity, CloudLogin};
    use crate::registry::auth::credential::{Login, SourcedLogin};
    use crate::registry::auth::keychain::Keychain;
    use crate::registry::auth::lockout::Lockout;
    use crate::registry::auth::token::{Token, TokenRequest};
    use crate::registry::auth::{FoundSecrets, PullSecret, PullSecrets, Session};
    use crate::registry::transport::redact::Secrets;
    use crate::registry::transport::{Request, Response, Transport};
    use crate::registry::{Client, Credential, Registries, Settings};
    use crate::web::WebConfig;

    /// An inherent constant takes precedence over the trait's.
    struct Printable<T>(PhantomData<T>);
    struct Debuggable<T>(PhantomData<T>);

    trait Neither {
        const IS: bool = false;
    }

    impl<T> Neither for Printable<T> {}
    impl<T> Neither for Debuggable<T> {}

    impl<T: Display> Printable<T> {
        const IS: bool = true;
    }

    impl<T: Debug> Debuggable<T> {
        const IS: bool = true;
    }

    #[test]
    fn nothing_that_holds_a_secret_can_be_printed() {
        macro_rules! check {
            ($($type:ty),*) => {
                $(assert!(!Printable::<$type>::IS && !Debuggable::<$type>::IS, stringify!($type));)*
            };
        }
        check!(Secret, Secrets, Login, SourcedLogin, Keychain, Lockout, Session, Authorization, AuthorizationCache);
        check!(Token, TokenRequest<'static>, CloudIdentity, CloudLogin, PullSecret, PullSecrets, FoundSecrets);
        check!(Request<'static>, Response, Transport, Client, Registries, Credential, Settings, Config, WebConfig);
        let works = [Debuggable::<String>::IS, Printable::<String>::IS];
        assert_eq!(works, [true, true], "the check itself");
    }
}
