//! The typed client of a service: `#[wslink::service(client = pub ScopeClient)]`.

use crate::check::{self, Mistakes};
use crate::method::{DefaultValue, Method, Param};
use crate::service::Service;
use crate::topic::Topic;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned as _;
use syn::visit_mut::{self, VisitMut};
use syn::{Error, Generics, Lifetime, Type, TypeReference, Visibility, parse_quote_spanned};

/// How the client is called, and who sees it.
pub(crate) struct Client {
    vis: Visibility,
    ident: Ident,
}

impl Parse for Client {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        Ok(Self { vis: input.parse()?, ident: input.parse()? })
    }
}

/// Refuses what a client could not have.
pub(crate) fn check(
    methods: &[Method],
    topics: &[Topic],
    generics: &Generics,
    mistakes: &mut Mistakes,
) {
    let params = methods.iter().flat_map(|method| &method.params).map(|param| &param.ty);
    let results = methods.iter().map(|method| method.output.value());
    for ty in params.chain(results).chain(topics.iter().map(|topic| &topic.ty)) {
        if check::depends(ty, generics) {
            let message = "a client knows neither `Self` nor the parameters of the `impl`; write \
                the type without them, or make no client";
            mistakes.push(Error::new_spanned(ty, message));
        }
    }
    for method in methods.iter().filter(|method| method.ident == "new") {
        let message = "a client has a `new` of its own; call this method otherwise";
        mistakes.push(Error::new_spanned(&method.ident, message));
    }
    for param in methods.iter().flat_map(|method| &method.params) {
        let name = &param.ident;
        if param.is_optional() && ["within", "progress"].iter().any(|own| name == own) {
            let message = format!(
                "a client's call has a `{name}` of its own; write another name here, and \
                    #[rpc(name = \"{name}\")]"
            );
            mistakes.push(Error::new_spanned(name, message));
        }
    }
    for topic in topics {
        let name = subscribe(topic);
        if let Some(method) = methods.iter().find(|method| method.ident == name) {
            let message = format!("by `{name}` a client subscribes to `{}`", topic.ident);
            mistakes.push(Error::new_spanned(&method.ident, message));
        }
    }
}

/// The client and the calls that it builds.
pub(crate) fn expand(client: &Client, service: &Service) -> TokenStream {
    let Client { vis, ident } = client;
    let Service { item, methods, topics, .. } = service;
    let of = check::last_name(&item.self_ty).map_or_else(String::new, Ident::to_string);
    let doc = format!(
        "A client of `{of}`: a method for each of its methods, and one for each of its topics."
    );
    let (builders, methods): (Vec<_>, Vec<_>) =
        methods.iter().map(|method| call(client, method)).unzip();
    let topics = topics.iter().map(topic);
    let quiet = quote! {
        #[allow(
            clippy::all,
            clippy::pedantic,
            clippy::nursery,
            dead_code,
            missing_docs,
            private_interfaces,
            unreachable_pub
        )]
    };
    quote! {
        #[doc = #doc]
        #[derive(Clone, Debug)]
        #vis struct #ident<__C> {
            caller: __C,
        }

        #[allow(clippy::all, clippy::pedantic, clippy::nursery, dead_code, unreachable_pub)]
        impl<__C> #ident<__C> {
            /// A client that calls through `caller`.
            pub const fn new(caller: __C) -> Self {
                Self { caller }
            }
        }

        #quiet
        impl<__C: ::wslink::client::Caller> #ident<__C> {
            #(#methods)*
        }

        #quiet
        impl<__C: ::wslink::client::Subscriber> #ident<__C> {
            #(#topics)*
        }

        #(#builders)*
    }
}

/// A method of the client, and what it builds if something may be left out.
fn call(client: &Client, method: &Method) -> (TokenStream, TokenStream) {
    let Method { ident, name, doc, params, output, .. } = method;
    let doc = (!doc.is_empty()).then(|| quote!(#[doc = #doc]));
    let place = params.iter().position(Param::is_optional).unwrap_or(params.len());
    let (by_place, by_name) = params.split_at(place);
    let values = by_place.iter().map(value);
    let types = by_place.iter().map(|param| given(&param.ty));
    let arguments = params.iter().filter(|param| !param.is_optional()).map(|param| {
        let (ident, ty) = (&param.ident, given(&param.ty));
        quote!(#ident: #ty)
    });
    let arguments = quote!(#(#arguments),*);
    let (args, args_of) = (quote!((#(#values,)*)), quote!((#(#types,)*)));
    let reply = received(output.value());
    let new = |kwargs: TokenStream| {
        quote_spanned!(output.value().span()=>
            ::wslink::__private::ask::<__C, _, _, #reply>(&self.caller, #name, #args, #kwargs)
        )
    };
    if by_name.is_empty() {
        let new = new(quote!(()));
        let method = quote! {
            #doc
            pub fn #ident<'__call>(
                &'__call self,
                #arguments
            ) -> ::wslink::client::TypedCall<'__call, __C, #args_of, (), #reply> {
                #new
            }
        };
        return (TokenStream::new(), method);
    }
    let builder = Builder::new(client, method, by_name);
    let (options, name) = (&builder.options, &builder.name);
    let values = by_name.iter().map(|param| {
        let ident = &param.ident;
        if param.is_optional() {
            quote!(#ident: ::core::option::Option::None)
        } else {
            let value = value(param);
            quote!(#ident: #value)
        }
    });
    let new = new(quote!(#options { #(#values,)* __call: ::core::marker::PhantomData }));
    let method = quote! {
        #doc
        pub fn #ident<'__call>(&'__call self, #arguments) -> #name<'__call, __C> {
            #name(#new)
        }
    };
    (builder.define(client, method_name(client, ident), &args_of, &reply), method)
}

fn method_name(client: &Client, method: &Ident) -> String {
    format!("{}::{method}", client.ident)
}

/// A call of a method of which arguments may be left out.
struct Builder<'m> {
    name: Ident,
    /// The arguments that are given by name.
    options: Ident,
    params: &'m [Param],
}

impl<'m> Builder<'m> {
    fn new(client: &Client, method: &Method, params: &'m [Param]) -> Self {
        let words = method.ident.unraw().to_string();
        let words: String = words.split('_').map(capitalized).collect();
        let name = format_ident!("{}{words}", client.ident);
        Self { options: format_ident!("__{name}Options"), name, params }
    }

    fn define(
        &self,
        client: &Client,
        method: String,
        args: &TokenStream,
        reply: &TokenStream,
    ) -> TokenStream {
        let Self { name, options, params } = self;
        let vis = &client.vis;
        let doc = format!("A call by [`{method}`], to which what may be left out can be added.");
        let fields = params.iter().map(|param| {
            let (ident, ty) = (&param.ident, Self::field(param));
            quote!(#ident: #ty)
        });
        let count = params.iter().map(|param| {
            let ident = &param.ident;
            if param.is_optional() { quote!(usize::from(self.#ident.is_some())) } else { quote!(1) }
        });
        let entries = params.iter().map(|param| {
            let (ident, key) = (&param.ident, &param.name);
            let entry = |value: TokenStream| quote!(map.serialize_entry(#key, #value)?;);
            if !param.is_optional() {
                return entry(quote!(&self.#ident));
            }
            let entry = entry(quote!(value));
            quote!(if let ::core::option::Option::Some(value) = &self.#ident { #entry })
        });
        let setters = params.iter().filter(|param| param.is_optional()).map(|param| {
            let ident = &param.ident;
            let wanted = given(param.option.as_ref().unwrap_or(&param.ty));
            let doc = format!("Gives `{}`, unless it is `None`.", param.name);
            let mut value = quote!(::core::convert::Into::into(#ident));
            if Self::knows_null(param) {
                value = quote!(::core::option::Option::Some(#value));
            }
            let doc = if Self::knows_null(param) {
                format!("Gives `{}`; `None` is not the same as to leave it out.", param.name)
            } else {
                doc
            };
            quote! {
                #[doc = #doc]
                pub fn #ident(
                    mut self,
                    #ident: impl ::core::convert::Into<::core::option::Option<#wanted>>,
                ) -> Self {
                    self.0.kwargs_mut().#ident = #value;
                    self
                }
            }
        });
        let of =
            quote!(::wslink::client::TypedCall<'__call, __C, #args, #options<'__call>, #reply>);
        quote! {
            #[doc(hidden)]
            #[allow(missing_debug_implementations, unreachable_pub, private_interfaces)]
            #vis struct #options<'__call> {
                #(#fields,)*
                __call: ::core::marker::PhantomData<&'__call ()>,
            }

            #[automatically_derived]
            #[allow(clippy::all, clippy::pedantic, clippy::nursery)]
            impl ::wslink::__private::Serialize for #options<'_> {
                fn serialize<__S: ::wslink::__private::Serializer>(
                    &self,
                    serializer: __S,
                ) -> ::core::result::Result<__S::Ok, __S::Error> {
                    use ::wslink::__private::SerializeMap as _;
                    let count = 0 #(+ #count)*;
                    let mut map = serializer.serialize_map(::core::option::Option::Some(count))?;
                    #(#entries)*
                    map.end()
                }
            }

            #[doc = #doc]
            #[must_use = "a call is not made until it is awaited"]
            #[allow(missing_debug_implementations, unreachable_pub, private_interfaces)]
            #vis struct #name<'__call, __C: ::wslink::client::Caller>(#of);

            #[allow(
                clippy::all,
                clippy::pedantic,
                clippy::nursery,
                dead_code,
                unreachable_pub,
                private_interfaces
            )]
            impl<'__call, __C: ::wslink::client::Caller> #name<'__call, __C> {
                #(#setters)*

                /// How long the call may take, instead of what the client was told for all.
                pub fn within(self, deadline: ::core::time::Duration) -> Self {
                    Self(self.0.within(deadline))
                }

                /// Tells there how far the call has come.
                pub fn progress(self, progress: __C::Progress) -> Self {
                    Self(self.0.progress(progress))
                }
            }

            #[automatically_derived]
            impl<'__call, __C: ::wslink::client::Caller> ::core::future::IntoFuture
                for #name<'__call, __C>
            {
                type Output = <#of as ::core::future::IntoFuture>::Output;
                type IntoFuture = <#of as ::core::future::IntoFuture>::IntoFuture;

                fn into_future(self) -> Self::IntoFuture {
                    ::core::future::IntoFuture::into_future(self.0)
                }
            }
        }
    }

    /// Whether null is something else than to leave it out.
    const fn knows_null(param: &Param) -> bool {
        param.option.is_some() && matches!(param.default, Some(DefaultValue::Value(_)))
    }

    fn field(param: &Param) -> TokenStream {
        let ty = given(&param.ty);
        match (&param.option, param.is_optional()) {
            (Some(_), _) if !Self::knows_null(param) => ty,
            (_, true) => quote!(::core::option::Option<#ty>),
            _ => ty,
        }
    }
}

/// What subscribes to a topic.
fn topic(topic: &Topic) -> TokenStream {
    let Topic { name, ty, doc, policy, .. } = topic;
    let method = subscribe(topic);
    let value = received(ty);
    let doc = (!doc.is_empty()).then(|| quote!(#[doc = #doc]));
    let policy = match policy {
        Some(policy) => quote!(#policy),
        None => quote!(::wslink::Policy::DropOldest(u16::MAX)),
    };
    let subscribe = quote_spanned!(ty.span()=>
        ::wslink::__private::subscribe::<__C, #value>(&self.caller, #name, #policy)
    );
    let subscription = quote_spanned!(ty.span()=> __C::Subscription<#value>);
    quote! {
        #doc
        pub fn #method(&self) -> #subscription {
            #subscribe
        }
    }
}

fn subscribe(topic: &Topic) -> Ident {
    let name = topic.ident.unraw().to_string().to_lowercase();
    format_ident!("subscribe_{name}", span = topic.ident.span())
}

/// An argument, of which it is looked whether it can be sent.
fn value(param: &Param) -> TokenStream {
    let ident = &param.ident;
    quote_spanned!(param.ty.span()=> ::wslink::__private::given(#ident))
}

/// The type of an argument on the side that gives it: what is borrowed lasts as long as the call.
fn given(ty: &Type) -> TokenStream {
    struct Named;

    impl VisitMut for Named {
        fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
            let span = reference.and_token.span();
            reference.lifetime.get_or_insert_with(|| Lifetime::new("'__call", span));
            visit_mut::visit_type_reference_mut(self, reference);
        }

        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident == "_" {
                *lifetime = Lifetime::new("'__call", lifetime.span());
            }
        }
    }

    // What the service reads as it comes, a client has.
    if check::last_name(ty).is_some_and(|name| name == "Upload") {
        return quote_spanned!(ty.span()=> ::wslink::Binary<'__call>);
    }
    let mut ty = ty.clone();
    Named.visit_type_mut(&mut ty);
    quote!(#ty)
}

/// The type of a result on the side that receives it: what was attached is there.
fn received(ty: &Type) -> TokenStream {
    struct Attached;

    impl VisitMut for Attached {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            let span = ty.span();
            let attachment = check::last_name(ty).is_some_and(|name| name == "Attachment");
            if attachment && check::first_argument(ty).is_none() {
                *ty = parse_quote_spanned!(span=> <__C as ::wslink::client::Caller>::Bytes);
            } else {
                visit_mut::visit_type_mut(self, ty);
            }
        }
    }

    let mut ty = ty.clone();
    Attached.visit_type_mut(&mut ty);
    quote!(#ty)
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}
