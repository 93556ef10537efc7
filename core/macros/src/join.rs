//! `#[derive(wslink::Service)]`: a struct of services that are one.

use crate::check::Mistakes;
use crate::slots::Slots;
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned as _;
use syn::{Data, DeriveInput, Error, Fields, Generics, Ident, Token, Type, parse_quote_spanned};

/// One of the services.
struct Part {
    ident: Ident,
    ty: Type,
    authorizes: bool,
}

/// What stands in `#[service(..)]` before the struct: the name of an enum of blobs.
struct BlobsOption(Ident);

impl Parse for BlobsOption {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let option: Ident = input.parse()?;
        if option == "blobs" {
            input.parse::<Token![=]>()?;
            return Ok(Self(input.parse()?));
        }
        let message = format!(
            "unknown option `{option}`; before the struct there is: blobs = NameOfAnEnum, before \
                a field: authorize"
        );
        Err(Error::new_spanned(&option, message))
    }
}

/// What stands in `#[service(..)]` before a field.
struct FieldOption;

impl Parse for FieldOption {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let option: Ident = input.parse()?;
        if option == "authorize" {
            return Ok(Self);
        }
        let message = format!("unknown option `{option}`; before a field there is: authorize");
        Err(Error::new_spanned(&option, message))
    }
}

/// Expands the derive macro.
pub(crate) fn expand(item: TokenStream) -> syn::Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    let (parts, blobs) = read(&item)?;
    Ok(implement(&item, &parts, blobs.as_ref()))
}

fn read(item: &DeriveInput) -> syn::Result<(Vec<Part>, Option<Ident>)> {
    let message = "services are joined by a struct with a named field for each";
    let fields = match &item.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) if !fields.named.is_empty() => fields,
            _ => return Err(Error::new_spanned(&item.ident, message)),
        },
        _ => return Err(Error::new_spanned(&item.ident, message)),
    };
    let mut mistakes = Mistakes::default();
    let mut parts: Vec<Part> = Vec::new();
    let mut blobs = None;
    for attr in item.attrs.iter().filter(|attr| attr.path().is_ident("service")) {
        if let Some(BlobsOption(name)) = mistakes.keep(attr.parse_args())
            && blobs.replace(name).is_some()
        {
            mistakes.push(Error::new_spanned(attr, "`blobs` is given twice"));
        }
    }
    for field in &fields.named {
        let Some(ident) = field.ident.clone() else { continue };
        let mut authorizes = false;
        for attr in field.attrs.iter().filter(|attr| attr.path().is_ident("service")) {
            authorizes |= mistakes.keep(attr.parse_args::<FieldOption>()).is_some();
            if authorizes && parts.iter().any(|part| part.authorizes) {
                mistakes.push(Error::new_spanned(attr, "one service decides about a hello"));
            }
        }
        parts.push(Part { ident, ty: field.ty.clone(), authorizes });
    }
    match mistakes.into_error() {
        Some(error) => Err(error),
        None => Ok((parts, blobs)),
    }
}

fn implement(item: &DeriveInput, parts: &[Part], blobs: Option<&Ident>) -> TokenStream {
    let ident = &item.ident;
    let (_, arguments, _) = item.generics.split_for_impl();
    let generics = bounded(&item.generics, parts, blobs.is_none());
    let (impl_generics, _, bounds) = generics.split_for_impl();
    let (request, reply) = (format_ident!("__{ident}Request"), format_ident!("__{ident}Reply"));
    let of = |what: &str| {
        let mut slots = Slots::new(&item.generics);
        let what = format_ident!("{what}");
        let mut variants = Vec::new();
        for Part { ident, ty, .. } in parts {
            let slot =
                slots.add(parse_quote_spanned!(ty.span()=> <#ty as ::wslink::Service>::#what));
            variants.push(quote!(#ident(#slot)));
        }
        (slots, variants)
    };
    let (requests, request_variants) = of("Request");
    let (replies, reply_variants) = of("Reply");
    let (request_params, request_of) = (requests.params(None), requests.arguments());
    let (reply_params, reply_of) = (replies.params(None), replies.arguments());
    let serializable = replies.params(Some(quote!(::wslink::__private::Serialize)));
    let names: Vec<_> = parts.iter().map(|part| &part.ident).collect();
    let types: Vec<_> = parts.iter().map(|part| &part.ty).collect();
    let clashes = clashes(parts);
    // What depends on a parameter is known when the type is used.
    let (early, late) = if item.generics.params.is_empty() {
        (quote!(#(const _: () = #clashes;)*), None)
    } else {
        (TokenStream::new(), Some(quote!(#(#clashes;)*)))
    };
    let (blob_slots, blob_variants) = of("Blob");
    let blob_enum = blobs.map(|name| blob_enum(item, name, &names, &blob_slots, &blob_variants));
    let blob_of = match (blobs, types.first()) {
        (Some(name), _) => {
            let arguments = blob_slots.arguments();
            quote!(#name #arguments)
        }
        (None, first) => quote!(<#first as ::wslink::Service>::Blob),
    };
    let calls = parts.iter().map(|Part { ident, ty, .. }| {
        let (part, cx) = match blobs {
            Some(name) => (
                Some(quote!(let part = ::wslink::Part::new(cx.host(), #name::#ident);)),
                quote!(cx.with_host(&part)),
            ),
            None => (None, quote!(cx)),
        };
        quote! {
            #request::#ident(request) => {
                #part
                <#ty as ::wslink::Service>::call(&self.#ident, #cx, request)
                    .await
                    .map(#reply::#ident)
            }
        }
    });
    let authorize = authorize(parts);
    quote! {
        #blob_enum

        #[allow(
            clippy::all,
            clippy::pedantic,
            clippy::nursery,
            missing_docs,
            private_interfaces,
            unreachable_pub
        )]
        const _: () = {
            #early

            /// A request to one of the services.
            #[allow(non_camel_case_types)]
            pub enum #request #request_params { #(#request_variants),* }

            /// What one of the services gives back.
            #[allow(non_camel_case_types)]
            pub enum #reply #reply_params { #(#reply_variants),* }

            #[automatically_derived]
            impl #serializable ::wslink::__private::Serialize for #reply #reply_params {
                fn serialize<__S: ::wslink::__private::Serializer>(
                    &self,
                    serializer: __S,
                ) -> ::core::result::Result<__S::Ok, __S::Error> {
                    match self {
                        #(Self::#names(reply) => {
                            ::wslink::__private::Serialize::serialize(reply, serializer)
                        })*
                    }
                }
            }

            #[automatically_derived]
            impl #impl_generics ::wslink::__private::Joined for #ident #arguments #bounds {
                const METHODS: &'static [&'static [::wslink::MethodInfo]] =
                    &[#(<#types as ::wslink::Service>::METHODS),*];
                const TOPICS: &'static [&'static [::wslink::TopicInfo]] =
                    &[#(<#types as ::wslink::Service>::TOPICS),*];
            }

            #[automatically_derived]
            impl #impl_generics ::wslink::Service for #ident #arguments #bounds {
                type Request = #request #request_of;
                type Reply = #reply #reply_of;
                type Blob = #blob_of;

                const METHODS: &'static [::wslink::MethodInfo] = {
                    #late
                    ::wslink::__private::Lists::<Self>::METHODS
                };
                const TOPICS: &'static [::wslink::TopicInfo] =
                    ::wslink::__private::Lists::<Self>::TOPICS;

                fn decode(
                    &self,
                    call: &::wslink::Call<'_>,
                ) -> ::core::result::Result<Self::Request, ::wslink::RpcError> {
                    let mut call = *call;
                    #(
                        let methods = <#types as ::wslink::Service>::METHODS.len();
                        if call.index < methods {
                            return <#types as ::wslink::Service>::decode(&self.#names, &call)
                                .map(#request::#names);
                        }
                        call.index -= methods;
                    )*
                    ::core::result::Result::Err(::wslink::__private::unknown_method())
                }

                async fn call(
                    &self,
                    cx: ::wslink::Cx<'_, Self::Blob>,
                    request: Self::Request,
                ) -> ::core::result::Result<Self::Reply, ::wslink::RpcError> {
                    match request { #(#calls)* }
                }

                #authorize

                fn opened(&self, peer: ::wslink::PeerId) {
                    #(<#types as ::wslink::Service>::opened(&self.#names, peer);)*
                }

                fn closed(&self, peer: ::wslink::PeerId, reason: ::wslink::CloseReason) {
                    #(<#types as ::wslink::Service>::closed(&self.#names, peer, reason);)*
                }

                fn lagged(&self, peer: ::wslink::PeerId, topic: &'static str, missed: u64) {
                    #(if ::wslink::__private::declares::<#types>(topic) {
                        <#types as ::wslink::Service>::lagged(&self.#names, peer, topic, missed);
                    })*
                }

                fn listened(&self, topic: &'static str, listened: bool) {
                    #(if ::wslink::__private::declares::<#types>(topic) {
                        <#types as ::wslink::Service>::listened(&self.#names, topic, listened);
                    })*
                }
            }
        };
    }
}

/// Attachments of all of the services.
fn blob_enum(
    item: &DeriveInput,
    name: &Ident,
    names: &[&Ident],
    slots: &Slots<'_>,
    variants: &[TokenStream],
) -> TokenStream {
    let vis = &item.vis;
    let doc = format!("What the services of [`{}`] attach.", item.ident);
    let params = slots.params(None);
    let bounded = slots.params(Some(quote!(::wslink::Blob)));
    let docs = names.iter().map(|name| format!("What `{name}` attaches."));
    quote! {
        #[doc = #doc]
        #[derive(Clone)]
        #[allow(clippy::all, non_camel_case_types, private_interfaces)]
        #vis enum #name #params { #(#[doc = #docs] #variants),* }

        #[automatically_derived]
        impl #bounded ::wslink::Blob for #name #params {
            fn len(&self) -> u64 {
                match self { #(Self::#names(blob) => ::wslink::Blob::len(blob)),* }
            }

            fn read(&self, offset: u64, into: &mut [u8]) -> usize {
                match self { #(Self::#names(blob) => ::wslink::Blob::read(blob, offset, into)),* }
            }

            fn as_slice(&self) -> ::core::option::Option<&[u8]> {
                match self { #(Self::#names(blob) => ::wslink::Blob::as_slice(blob)),* }
            }
        }
    }
}

/// The struct's generics, and that each field is a service; if `alike`, with the blobs of the
/// first.
fn bounded(generics: &Generics, parts: &[Part], alike: bool) -> Generics {
    let mut generics = generics.clone();
    let bounds = &mut generics.make_where_clause().predicates;
    let first = parts.first().map(|part| &part.ty);
    for (place, Part { ty, .. }) in parts.iter().enumerate() {
        bounds.push(if place == 0 || !alike {
            parse_quote_spanned!(ty.span()=> #ty: ::wslink::Service)
        } else {
            parse_quote_spanned!(ty.span()=>
                #ty: ::wslink::Service<Blob = <#first as ::wslink::Service>::Blob>
            )
        });
    }
    generics
}

/// Fails to compile where a service stands that clashes with one before.
fn clashes(parts: &[Part]) -> Vec<TokenStream> {
    let later = parts.iter().enumerate().skip(1);
    let pairs = later.flat_map(|(place, later)| {
        parts.iter().take(place).map(move |earlier| {
            let (a, b) = (&earlier.ty, &later.ty);
            quote_spanned!(b.span()=> ::wslink::__private::no_clash::<#a, #b>())
        })
    });
    pairs.collect()
}

/// All have to accept, or the one that is marked.
fn authorize(parts: &[Part]) -> TokenStream {
    let marked: Vec<_> = parts.iter().filter(|part| part.authorizes).collect();
    let deciding = if marked.is_empty() { parts.iter().collect() } else { marked };
    let asked = deciding.iter().map(|Part { ident, ty, .. }| {
        quote! {
            if verdict != ::wslink::Verdict::Refuse {
                let own = <#ty as ::wslink::Service>::authorize(&self.#ident, hello).await;
                verdict = verdict.and(own);
            }
        }
    });
    quote! {
        async fn authorize(&self, hello: &::wslink::Hello<'_>) -> ::wslink::Verdict {
            let mut verdict = ::wslink::Verdict::Accept;
            #(#asked)*
            verdict
        }
    }
}
