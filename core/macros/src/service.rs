//! `#[wslink::service]`: an `impl` block taken apart into methods, topics and hooks.

use crate::check::Mistakes;
use crate::client::{self, Client};
use crate::expand;
use crate::method::{Method, take};
use crate::topic::Topic;
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Ident, ImplItem, ImplItemFn, Item, ItemImpl, LitStr, Token, Type};

/// What the block is made of.
pub(crate) struct Service {
    /// The block, without what is only said to the macro.
    pub(crate) item: ItemImpl,
    pub(crate) blob: Option<Type>,
    pub(crate) methods: Vec<Method>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) hooks: Vec<Hook>,
}

/// A method that the engine calls.
pub(crate) struct Hook {
    pub(crate) name: HookName,
    pub(crate) item: ImplItemFn,
}

/// Which one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookName {
    Authorize,
    Opened,
    Closed,
    Lagged,
    Listened,
}

impl HookName {
    const ALL: [Self; 5] =
        [Self::Authorize, Self::Opened, Self::Closed, Self::Lagged, Self::Listened];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Lagged => "lagged",
            Self::Listened => "listened",
        }
    }
}

impl Parse for HookName {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name: Ident = input.parse()?;
        Self::ALL.into_iter().find(|hook| name == hook.as_str()).ok_or_else(|| {
            Error::new_spanned(&name, "there are: authorize, opened, closed, lagged, listened")
        })
    }
}

/// Expands the attribute. The block itself always stays, so that a mistake in it is the only error.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    let whole = item.clone();
    let mut item = match syn::parse2(item) {
        Ok(Item::Impl(item)) => item,
        Ok(other) => {
            let error = Error::new_spanned(
                first_token(&other.to_token_stream()),
                "#[wslink::service] belongs before `impl YourType { .. }`",
            );
            let error = error.into_compile_error();
            return quote!(#error #whole);
        }
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#error #whole);
        }
    };
    let mut mistakes = Mistakes::default();
    let options = mistakes.keep(syn::parse2::<Options>(options)).unwrap_or_default();
    if let Some((path, _)) = &item.trait_ {
        mistakes.push(Error::new_spanned(
            path,
            "#[wslink::service] belongs before the type's own `impl`; it implements `Service` \
                itself",
        ));
    }
    let (methods, topics, hooks) = read_items(&mut item, &mut mistakes);
    check_unique("method", methods.iter().map(|it| (&it.name, &it.ident)), &mut mistakes);
    check_unique("topic", topics.iter().map(|it| (&it.name, &it.ident)), &mut mistakes);
    if options.client.is_some() {
        client::check(&methods, &topics, &item.generics, &mut mistakes);
    }
    if let Some(error) = mistakes.into_error() {
        let error = error.into_compile_error();
        return quote!(#item #error);
    }
    let Options { blob, client } = options;
    let service = Service { item, blob, methods, topics, hooks };
    let client = client.map(|client| client::expand(&client, &service));
    let service = expand::service(&service);
    quote!(#service #client)
}

/// What stands in `#[wslink::service(..)]`.
#[derive(Default)]
struct Options {
    blob: Option<Type>,
    client: Option<Client>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut it = Self::default();
        while !input.is_empty() {
            let option: Ident = input.parse()?;
            if option != "blob" && option != "client" {
                let message = format!(
                    "unknown option `{option}`; there are: blob = Type, client = pub NameOfAClient"
                );
                return Err(Error::new_spanned(&option, message));
            }
            if !input.peek(Token![=]) {
                let message =
                    "what it is stands behind a `=`: blob = Type, client = pub NameOfAClient";
                return Err(Error::new_spanned(&option, message));
            }
            input.parse::<Token![=]>()?;
            let again = if option == "blob" {
                it.blob.replace(input.parse()?).is_some()
            } else {
                it.client.replace(input.parse()?).is_some()
            };
            if again {
                let message = format!("`{option}` is given twice");
                return Err(Error::new_spanned(&option, message));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(it)
    }
}

fn read_items(
    item: &mut ItemImpl,
    mistakes: &mut Mistakes,
) -> (Vec<Method>, Vec<Topic>, Vec<Hook>) {
    let (mut methods, mut topics, mut hooks) = (Vec::new(), Vec::new(), Vec::new());
    for item in &mut item.items {
        match item {
            ImplItem::Fn(item) => {
                let rpc = take(&mut item.attrs, "rpc");
                let on = take(&mut item.attrs, "on");
                if let Some(topic) = take(&mut item.attrs, "topic").first() {
                    mistakes.push(Error::new_spanned(
                        topic,
                        "a topic is declared by a constant: \
                        #[topic(\"scope.trace\")] const TRACE: Topic<Trace>;",
                    ));
                }
                if let Some(second) = rpc.iter().chain(&on).nth(1) {
                    mistakes.push(Error::new_spanned(
                        second,
                        "a method has one name for clients, or is one hook",
                    ));
                }
                if let Some(rpc) = rpc.first() {
                    methods.extend(Method::read(item, rpc, mistakes));
                } else if let Some(on) = on.first() {
                    hooks.extend(mistakes.keep(read_hook(item, on, &hooks)));
                }
            }
            ImplItem::Verbatim(tokens) => {
                topics.extend(Topic::read(tokens, mistakes));
            }
            ImplItem::Const(item) => {
                if let Some(topic) = take(&mut item.attrs, "topic").first() {
                    mistakes.push(Error::new_spanned(
                        topic,
                        "the macro makes the topic: leave out what is behind the `=`",
                    ));
                }
                refuse(&mut item.attrs, mistakes);
            }
            ImplItem::Type(item) => refuse(&mut item.attrs, mistakes),
            _ => {}
        }
    }
    (methods, topics, hooks)
}

fn refuse(attrs: &mut Vec<Attribute>, mistakes: &mut Mistakes) {
    for name in ["rpc", "on"] {
        for attr in take(attrs, name) {
            mistakes
                .push(Error::new_spanned(&attr, format!("#[{name}(..)] belongs before a method")));
        }
    }
}

fn read_hook(item: &ImplItemFn, on: &Attribute, others: &[Hook]) -> syn::Result<Hook> {
    let name: HookName = on.parse_args()?;
    if others.iter().any(|other| other.name == name) {
        let message = format!("there is another hook `{}`", name.as_str());
        return Err(Error::new_spanned(on, message));
    }
    if let Some(token) = item.sig.asyncness
        && name != HookName::Authorize
    {
        let message = format!("the hook `{}` cannot wait: it is no `async fn`", name.as_str());
        return Err(Error::new(token.span, message));
    }
    Ok(Hook { name, item: item.clone() })
}

fn check_unique<'a>(
    what: &str,
    names: impl Iterator<Item = (&'a LitStr, &'a Ident)>,
    mistakes: &mut Mistakes,
) {
    let mut seen: Vec<(String, &Ident)> = Vec::new();
    for (name, ident) in names {
        let text = name.value();
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == text) {
            let message = format!("the {what} `{text}` is there already: `{first}`");
            mistakes.push(Error::new_spanned(name, message));
        } else {
            seen.push((text, ident));
        }
    }
}

fn first_token(tokens: &TokenStream) -> TokenStream {
    let first = tokens.clone().into_iter().next();
    first.map_or_else(|| quote::quote_spanned!(Span::call_site()=> ), Into::into)
}
