//! Who may come in, and as whom.

use crate::Secret;
use crate::wire::{Dialect, MAX_DEPTH, Token, Value, Writer};
use core::fmt;
use core::net::SocketAddr;

/// The answer to a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Verdict {
    /// The peer may call and is sent publications.
    Accept,
    /// The same, and its calls tell who it is ([`Cx::identity`](crate::Cx::identity)).
    AcceptAs(Identity),
    /// -32000 `Authentication failed`; the peer may say hello again.
    Refuse,
}

impl Verdict {
    /// Who was accepted; [`Identity::NOBODY`] where that was left open.
    pub const fn identity(self) -> Option<Identity> {
        match self {
            Self::Accept => Some(Identity::NOBODY),
            Self::AcceptAs(identity) => Some(identity),
            Self::Refuse => None,
        }
    }

    /// The verdict of two services on the same hello: both have to accept, and the first that
    /// knows the peer says who it is.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Refuse, _) | (_, Self::Refuse) => Self::Refuse,
            (Self::AcceptAs(identity), _) | (_, Self::AcceptAs(identity)) => {
                Self::AcceptAs(identity)
            }
            _ => Self::Accept,
        }
    }
}

/// Who a peer is to the service that accepted it: small enough to be kept with each connection,
/// and handed to each of its calls.
///
/// ```
/// use wslink_core::{Hello, Identity, Verdict};
///
/// const MAY_WRITE: u32 = 1;
///
/// async fn authorize(hello: &Hello<'_>) -> Verdict {
///     match hello.secret().map(|secret| secret.reveal()) {
///         Some("operator's token") => Verdict::AcceptAs(Identity { user: 7, roles: MAY_WRITE }),
///         Some("guest's token") => Verdict::AcceptAs(Identity { user: 8, roles: 0 }),
///         _ => Verdict::Refuse,
///     }
/// }
/// # let _ = authorize;
/// assert!(Identity { user: 7, roles: MAY_WRITE }.has(MAY_WRITE));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Identity {
    /// The service's own number for a user.
    pub user: u32,
    /// Bits, of which the service says what they mean.
    pub roles: u32,
}

impl Identity {
    /// Whom nobody has asked: user 0 without any role.
    pub const NOBODY: Self = Self { user: 0, roles: 0 };

    /// Whether it has all of `roles`.
    pub const fn has(self, roles: u32) -> bool {
        self.roles & roles == roles
    }
}

/// The HTTP request that asked for the WebSocket, as far as the adapter kept it.
///
/// What it says is said by the client, the address excepted, and behind a reverse proxy that is the
/// proxy's.
pub trait HttpRequest: Sync {
    /// The path as it was sent, `%` and all.
    fn path(&self) -> &str;

    /// What follows the `?`, as it was sent.
    fn query(&self) -> Option<&str>;

    /// The first header of this name, whose case does not matter; `None` also if it is not text.
    fn header(&self, name: &str) -> Option<&str>;

    /// The address at the other end.
    fn remote(&self) -> Option<SocketAddr>;
}

impl<'a> dyn HttpRequest + 'a {
    /// The cookie of this name.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.header("cookie")?.split(';');
        cookies.filter_map(|cookie| cookie.trim().split_once('=')).find_map(value_of(name))
    }

    /// What the query has behind `name=`, as it was sent.
    pub fn query_value(&self, name: &str) -> Option<&str> {
        self.query()?.split('&').filter_map(|pair| pair.split_once('=')).find_map(value_of(name))
    }
}

fn value_of<'v>(name: &str) -> impl Fn((&'v str, &'v str)) -> Option<&'v str> {
    move |(key, value)| (key == name).then_some(value)
}

/// A hello that waits for its verdict.
#[derive(Clone, Copy)]
pub struct Hello<'a> {
    args: Option<Value<'a>>,
    expected: Option<&'a Secret<'a>>,
    request: Option<&'a (dyn HttpRequest + 'a)>,
}

impl<'a> Hello<'a> {
    /// A hello with the arguments that came and the secret to hold against them.
    pub const fn new(args: Option<Value<'a>>, expected: Option<&'a Secret<'a>>) -> Self {
        Self { args, expected, request: None }
    }

    /// The same hello, to be held against `expected`.
    pub const fn expecting(self, expected: &'a Secret<'a>) -> Self {
        Self { expected: Some(expected), ..self }
    }

    /// The same hello on a WebSocket that was asked for in this way.
    pub const fn asked_by(self, request: &'a (dyn HttpRequest + 'a)) -> Self {
        Self { request: Some(request), ..self }
    }

    /// The first argument, by convention a map: `{"secret": ..}`.
    pub fn credentials(&self) -> Option<Value<'a>> {
        self.args?.items().next()
    }

    /// All arguments, as they came.
    pub const fn args(&self) -> Option<Value<'a>> {
        self.args
    }

    /// Copies the arguments, as MessagePack in either dialect, to where they outlive their frame;
    /// [`Value::check_msgpack`] reads them there. Gives the length of the copy: 0 where there are
    /// none, or where something was nested too deeply to be a hello.
    ///
    /// # Errors
    /// How many bytes are needed, if `into` is too short.
    pub fn copy_args(&self, into: &mut [u8]) -> Result<usize, usize> {
        let Some(args) = self.args else { return Ok(0) };
        let mut writer = Writer::new(Dialect::V2, into, 0, &|_| None);
        if copy(args, &mut writer, MAX_DEPTH).is_none() {
            return Ok(0);
        }
        let encoded = writer.finish().map_err(|overflow| overflow.needed)?;
        Ok(encoded.len as usize)
    }

    /// How the WebSocket was asked for, where the adapter tells.
    pub const fn request(&self) -> Option<&'a (dyn HttpRequest + 'a)> {
        self.request
    }

    /// The secret, if the first argument is a map that holds one as a string.
    pub fn secret(&self) -> Option<Secret<'a>> {
        let mut secret = None;
        for (key, value) in self.credentials()?.entries() {
            if key == "secret" {
                secret = value.as_str().map(Secret::new);
            }
        }
        secret
    }

    /// Accepts exactly the expected secret, compared in constant time; refuses when none is
    /// expected.
    pub fn verify(&self) -> Verdict {
        match (self.secret(), self.expected) {
            (Some(said), Some(expected)) if said.matches(expected) => Verdict::Accept,
            _ => Verdict::Refuse,
        }
    }
}

fn copy(value: Value<'_>, writer: &mut Writer<'_>, depth: usize) -> Option<()> {
    match value.reader().next().ok()? {
        Token::Bool(value) => writer.bool(value),
        Token::Int(value) => writer.int(value),
        Token::Uint(value) => writer.uint(value),
        Token::Float(value) => writer.float(value),
        Token::Str(value) => writer.str(value),
        Token::Bytes(value) => writer.bytes(value),
        Token::Seq(_) => {
            let depth = depth.checked_sub(1)?;
            let open = writer.begin_seq(Some(value.items().count())).ok()?;
            for item in value.items() {
                copy(item, writer, depth)?;
            }
            writer.end(open).ok()?;
        }
        Token::Map(_) => {
            let depth = depth.checked_sub(1)?;
            let open = writer.begin_map(Some(value.entries().count())).ok()?;
            for (key, value) in value.entries() {
                writer.key(key);
                copy(value, writer, depth)?;
            }
            writer.end(open).ok()?;
        }
        _ => writer.null(),
    }
    Some(())
}

/// Prints nothing that somebody said: it may be secret.
impl fmt::Debug for Hello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hello")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Request;

    impl HttpRequest for Request {
        fn path(&self) -> &str {
            "/ws"
        }

        fn query(&self) -> Option<&str> {
            Some("a=1&token=x%20y&token=z&b")
        }

        fn header(&self, name: &str) -> Option<&str> {
            name.eq_ignore_ascii_case("Cookie").then_some("a=1; session=s=1; session2=no")
        }

        fn remote(&self) -> Option<SocketAddr> {
            None
        }
    }

    #[test]
    fn cookies_and_parts_of_the_query_are_found_by_their_whole_names() {
        let hello = Hello::new(None, None).asked_by(&Request);
        let request = hello.request().unwrap();
        assert_eq!(request.cookie("session"), Some("s=1"));
        assert_eq!(request.cookie("session2"), Some("no"));
        assert_eq!(request.cookie("sess"), None);
        assert_eq!(request.query_value("token"), Some("x%20y"));
        assert_eq!(request.query_value("b"), None);
        assert!(Hello::new(None, None).request().is_none());
    }

    #[test]
    fn of_two_verdicts_both_have_to_accept() {
        use Verdict::{Accept, AcceptAs, Refuse};
        let one = AcceptAs(Identity { user: 1, roles: 0 });
        let two = AcceptAs(Identity { user: 2, roles: 3 });
        for verdict in [Accept, one, Refuse] {
            assert_eq!(verdict.and(Refuse), Refuse);
            assert_eq!(Refuse.and(verdict), Refuse);
        }
        assert_eq!((Accept.and(Accept), Accept.and(two)), (Accept, two));
        assert_eq!((one.and(two), one.and(Accept)), (one, one));
        assert_eq!(two.identity().map(|it| (it.has(2), it.has(4))), Some((true, false)));
        assert_eq!((Accept.identity(), Refuse.identity()), (Some(Identity::NOBODY), None));
    }
}
