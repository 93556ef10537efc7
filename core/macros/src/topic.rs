//! A topic as it is declared: `#[topic("scope.trace", keep_latest)] const TRACE: Topic<Trace>;`.

use crate::check::{self, Mistakes};
use crate::method::take;
use crate::text;
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Ident, LitInt, LitStr, Token, Type, Visibility, parenthesized};

/// A declared topic.
pub(crate) struct Topic {
    pub(crate) ident: Ident,
    pub(crate) name: LitStr,
    /// What is published.
    pub(crate) ty: Type,
    pub(crate) doc: String,
    /// The policy, if one is given.
    pub(crate) policy: Option<TokenStream>,
    /// The constant as it will stand in the impl.
    pub(crate) item: TokenStream,
}

impl Topic {
    /// Reads a constant that has no value yet, and gives it one; `None` if `tokens` are something
    /// else.
    pub(crate) fn read(tokens: &mut TokenStream, mistakes: &mut Mistakes) -> Option<Self> {
        let mut item: Constant = syn::parse2(tokens.clone()).ok()?;
        let topic = take(&mut item.attrs, "topic").into_iter().next()?;
        let Constant { vis, ident, ty, .. } = &item;
        // Stays if there is a mistake, so that users of the topic are not reported as well.
        *tokens = if is_topic(ty) {
            quote!(#vis const #ident: #ty = ::wslink::Topic::new("mistaken");)
        } else {
            TokenStream::new()
        };
        let topic = mistakes.keep(Self::declared(item, &topic))?;
        tokens.clone_from(&topic.item);
        Some(topic)
    }

    fn declared(item: Constant, topic: &Attribute) -> syn::Result<Self> {
        let options: Options = topic.parse_args()?;
        check::name(&options.name, "a topic")?;
        let Constant { attrs, vis, ident, ty } = item;
        let Some(value) = check::first_argument(&ty).filter(|_| is_topic(&ty)) else {
            return Err(Error::new_spanned(
                &ty,
                "a topic's type is `Topic<T>`, with the type that is published under it",
            ));
        };
        let Options { name, policy, retained } = options;
        let with_policy = policy.as_ref().map(|policy| quote!(.with_policy(#policy)));
        let retained = retained.then(|| quote!(.retained()));
        let new = quote_spanned!(name.span()=> ::wslink::Topic::new(#name));
        let doc = text::doc(&attrs);
        let with_doc = (!doc.is_empty()).then(|| quote!(.with_doc(#doc)));
        let written = text::written(value);
        let published = value.clone();
        let item = quote! {
            #(#attrs)* #vis const #ident: #ty =
                #new #with_doc.with_type(#written) #with_policy #retained;
        };
        Ok(Self { ident, name, ty: published, doc, policy, item })
    }
}

fn is_topic(ty: &Type) -> bool {
    check::last_name(ty).is_some_and(|name| name == "Topic")
}

struct Constant {
    attrs: Vec<Attribute>,
    vis: Visibility,
    ident: Ident,
    ty: Type,
}

impl Parse for Constant {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        input.parse::<Token![const]>()?;
        let ident = input.parse()?;
        input.parse::<Token![:]>()?;
        let ty = input.parse()?;
        input.parse::<Token![;]>()?;
        Ok(Self { attrs, vis, ident, ty })
    }
}

/// What stands in `#[topic(..)]`.
struct Options {
    name: LitStr,
    policy: Option<TokenStream>,
    retained: bool,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if !input.peek(LitStr) {
            return Err(input.error(
                "first comes the name under which clients subscribe: #[topic(\"scope.trace\")]",
            ));
        }
        let mut it = Self { name: input.parse()?, policy: None, retained: false };
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            let option = input.call(Ident::parse_any)?;
            let policy = match option.to_string().as_str() {
                "retained" => {
                    if it.retained {
                        return Err(Error::new_spanned(&option, "`retained` is given twice"));
                    }
                    it.retained = true;
                    continue;
                }
                "keep_latest" => quote!(::wslink::Policy::KeepLatest),
                "disconnect" => quote!(::wslink::Policy::Disconnect),
                "drop_oldest" => {
                    let most;
                    parenthesized!(most in input);
                    let most = most.parse::<LitInt>()?;
                    if most.base10_parse::<u16>()? == 0 {
                        return Err(Error::new_spanned(&most, "at least one publication is kept"));
                    }
                    quote!(::wslink::Policy::DropOldest(#most))
                }
                _ => {
                    let message = format!(
                        "unknown option `{option}`; there are: keep_latest, drop_oldest(n), \
                            disconnect, retained"
                    );
                    return Err(Error::new_spanned(&option, message));
                }
            };
            if it.policy.replace(policy).is_some() {
                return Err(Error::new_spanned(&option, "a topic has one policy"));
            }
        }
        Ok(it)
    }
}
