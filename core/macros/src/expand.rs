//! What stands for the trait written by hand.

use crate::check;
use crate::method::{DefaultValue, Method, Param};
use crate::service::{Hook, HookName, Service};
use crate::slots::Slots;
use crate::text;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{FnArg, ImplItemFn, Pat, PatType};

/// The block, the enums of its requests and replies, and the trait.
pub(crate) fn service(service: &Service) -> TokenStream {
    let Service { item, blob, methods, topics, hooks } = service;
    let (impl_generics, _, bounds) = item.generics.split_for_impl();
    let ty = &item.self_ty;
    let blob = blob.as_ref().map_or_else(|| quote!(::wslink::NoBlob), |blob| quote!(#blob));
    let enums = Enums::new(service);
    let definitions = enums.define(methods);
    let Enums { request, reply, .. } = &enums;
    let (request_of, reply_of) = (enums.requests.arguments(), enums.replies.arguments());
    let infos = methods.iter().map(method_info);
    let topics = topics.iter().map(|topic| &topic.ident);
    let decode = decode(methods, request);
    let call = call(methods, request, reply);
    let hooks = hooks.iter().map(hook);
    quote! {
        #item

        #[allow(
            clippy::all,
            clippy::pedantic,
            clippy::nursery,
            missing_docs,
            private_interfaces,
            unreachable_code,
            unreachable_pub
        )]
        const _: () = {
            #definitions

            #[automatically_derived]
            impl #impl_generics ::wslink::Service for #ty #bounds {
                type Request = #request #request_of;
                type Reply = #reply #reply_of;
                type Blob = #blob;

                const METHODS: &'static [::wslink::MethodInfo] = &[#(#infos),*];
                const TOPICS: &'static [::wslink::TopicInfo] = &[#(Self::#topics.info()),*];

                #decode
                #call
                #(#hooks)*
            }
        };
    }
}

/// The enums of requests and replies: a variant for each method, by its name.
struct Enums<'s> {
    request: Ident,
    requests: Slots<'s>,
    request_variants: Vec<TokenStream>,
    reply: Ident,
    replies: Slots<'s>,
    reply_variants: Vec<TokenStream>,
}

impl<'s> Enums<'s> {
    fn new(service: &'s Service) -> Self {
        let Service { item, methods, .. } = service;
        let of = check::last_name(&item.self_ty).map_or_else(String::new, Ident::to_string);
        let mut requests = Slots::new(&item.generics);
        let mut replies = Slots::new(&item.generics);
        let (mut request_variants, mut reply_variants) = (Vec::new(), Vec::new());
        for method in methods {
            let Method { ident, output, .. } = method;
            request_variants.push(if method.runs_at_once() {
                let reply = requests.add(output.value().clone());
                quote!(#ident(#reply))
            } else {
                let fields = method.arguments().map(|Param { ident, ty, .. }| {
                    let ty = requests.add(ty.clone());
                    quote!(#ident: #ty)
                });
                quote!(#ident { #(#fields),* })
            });
            let reply = replies.add(output.value().clone());
            reply_variants.push(quote!(#ident(#reply)));
        }
        Self {
            request: format_ident!("__{of}Request"),
            requests,
            request_variants,
            reply: format_ident!("__{of}Reply"),
            replies,
            reply_variants,
        }
    }

    fn define(&self, methods: &[Method]) -> TokenStream {
        let Self { request, requests, request_variants, reply, replies, reply_variants } = self;
        let request_params = requests.params(None);
        let reply_params = replies.params(None);
        let bounded = replies.params(Some(quote!(::wslink::__private::Answer)));
        let arms = methods.iter().map(|Method { ident, output, .. }| {
            let serialize = quote_spanned!(output.value().span()=>
                ::wslink::__private::serialize(reply, serializer)
            );
            quote!(Self::#ident(reply) => #serialize)
        });
        let value = if methods.is_empty() { quote!(*self) } else { quote!(self) };
        quote! {
            /// A call, decoded; a method that runs at once is over, and this is what it gave back.
            #[allow(non_camel_case_types)]
            pub enum #request #request_params { #(#request_variants),* }

            /// What came of a call.
            #[allow(non_camel_case_types)]
            pub enum #reply #reply_params { #(#reply_variants),* }

            #[automatically_derived]
            impl #bounded ::wslink::__private::Serialize for #reply #reply_params {
                fn serialize<__S: ::wslink::__private::Serializer>(
                    &self,
                    serializer: __S,
                ) -> ::core::result::Result<__S::Ok, __S::Error> {
                    match #value { #(#arms),* }
                }
            }
        }
    }
}

fn method_info(method: &Method) -> TokenStream {
    let Method { name, doc, deadline, params, upload, output, .. } = method;
    let with = if *upload { quote!(with_upload) } else { quote!(with_params) };
    let params = params.iter().map(|param| {
        let (name, ty) = (&param.name, text::written(&param.ty));
        let ty = if *upload { "bytes".to_owned() } else { ty };
        let new = if param.is_optional() { quote!(optional) } else { quote!(required) };
        quote!(::wslink::ParamInfo::#new(#name).with_type(#ty))
    });
    let returns = text::written(output.value());
    let doc = (!doc.is_empty()).then(|| quote!(.with_doc(#doc)));
    let deadline = deadline.as_ref().map(|deadline| quote!(.with_deadline(#deadline)));
    quote! {
        ::wslink::MethodInfo::new(#name)
            .#with(&[#(#params),*])
            .with_returns(#returns)
            #doc
            #deadline
    }
}

fn decode(methods: &[Method], request: &Ident) -> TokenStream {
    let arms = methods.iter().enumerate().map(|(index, method)| {
        let Method { ident, .. } = method;
        let arguments = method.arguments().enumerate().map(argument);
        let names = method.arguments().map(|param| &param.ident);
        let ready = if method.runs_at_once() {
            let names = names.clone();
            let result = finish(method, quote!(Self::#ident(self, #(#names),*)), request);
            quote!(#result)
        } else {
            quote!(#request::#ident { #(#names),* })
        };
        quote! {
            #index => {
                #(#arguments)*
                #ready
            }
        }
    });
    let params = if methods.iter().all(|method| method.arguments().next().is_none()) {
        quote!(call.params()?;)
    } else {
        quote!(let __params = call.params()?;)
    };
    quote! {
        fn decode(
            &self,
            call: &::wslink::Call<'_>,
        ) -> ::core::result::Result<Self::Request, ::wslink::RpcError> {
            #params
            ::core::result::Result::Ok(match call.index {
                #(#arms)*
                _ => return ::core::result::Result::Err(::wslink::__private::unknown_method()),
            })
        }
    }
}

/// `let samples: u32 = ..;`
fn argument((index, param): (usize, &Param)) -> TokenStream {
    let Param { ident, ty, option, default, .. } = param;
    let wanted = option.as_ref().unwrap_or(ty);
    let span = wanted.span();
    let required =
        quote_spanned!(span=> ::wslink::__private::required::<#wanted>(&__params, #index)?);
    let optional =
        quote_spanned!(span=> ::wslink::__private::optional::<#wanted>(&__params, #index)?);
    let value = match (option, default) {
        (None, None) => required,
        (Some(_), None | Some(DefaultValue::OfType)) => optional,
        (None, Some(DefaultValue::OfType)) => {
            let of_type = quote_spanned!(span=> ::core::default::Default::default());
            quote! {
                match #optional {
                    ::core::option::Option::Some(value) => value,
                    ::core::option::Option::None => #of_type,
                }
            }
        }
        (None, Some(DefaultValue::Value(value))) => quote! {
            match #optional {
                ::core::option::Option::Some(value) => value,
                ::core::option::Option::None => {
                    let default: #ty = #value;
                    default
                }
            }
        },
        // What is null is none, and only what is left out is the default.
        (Some(_), Some(DefaultValue::Value(value))) => quote! {
            match __params.value(#index) {
                ::core::option::Option::Some(_) => #optional,
                ::core::option::Option::None => {
                    let default: #ty = #value;
                    default
                }
            }
        },
    };
    quote!(let #ident: #ty = #value;)
}

fn call(methods: &[Method], request: &Ident, reply: &Ident) -> TokenStream {
    let arms = methods.iter().map(|method| {
        let Method { ident, is_async, cx, upload, .. } = method;
        if method.runs_at_once() {
            return quote!(#request::#ident(reply) => #reply::#ident(reply));
        }
        let names = method.arguments().map(|param| &param.ident);
        let fields = names.clone();
        let cx = cx.as_ref().map(|ty| quote_spanned!(ty.span()=> __cx,));
        let upload = upload.then(|| quote!(__cx.upload()?));
        let wait = is_async.then(|| quote!(.await));
        let result =
            finish(method, quote!(Self::#ident(self, #cx #(#names),* #upload) #wait), reply);
        quote!(#request::#ident { #(#fields),* } => #result)
    });
    let cx = if methods.iter().any(|method| method.cx.is_some() || method.upload) {
        quote!(__cx)
    } else {
        quote!(_)
    };
    quote! {
        async fn call(
            &self,
            #cx: ::wslink::Cx<'_, Self::Blob>,
            request: Self::Request,
        ) -> ::core::result::Result<Self::Reply, ::wslink::RpcError> {
            ::core::result::Result::Ok(match request { #(#arms),* })
        }
    }
}

/// Makes a variant of what the method gave back.
fn finish(method: &Method, result: TokenStream, variant_of: &Ident) -> TokenStream {
    let Method { ident, output, .. } = method;
    if output.ok.is_none() {
        return quote!(#variant_of::#ident(#result));
    }
    let error = quote_spanned!(output.ty.span()=>
        ::wslink::__private::Failure(error).into_rpc_error()
    );
    quote! {
        match #result {
            ::core::result::Result::Ok(value) => #variant_of::#ident(value),
            ::core::result::Result::Err(error) => {
                #[allow(unused_imports)]
                use ::wslink::__private::{ByDisplay as _, ByInto as _, Silent as _};
                return ::core::result::Result::Err(#error);
            }
        }
    }
}

/// A method of the trait that goes on to the user's.
fn hook(hook: &Hook) -> TokenStream {
    let ImplItemFn { sig, .. } = &hook.item;
    let (ident, output) = (&sig.ident, &sig.output);
    let trait_name = Ident::new(hook.name.as_str(), ident.span());
    let inputs = &sig.inputs;
    let names = inputs.iter().filter_map(|input| match input {
        FnArg::Typed(PatType { pat, .. }) => match &**pat {
            Pat::Ident(pat) => Some(&pat.ident),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    });
    let (asyncness, wait) = if hook.name == HookName::Authorize {
        (Some(quote!(async)), sig.asyncness.map(|_| quote!(.await)))
    } else {
        (None, None)
    };
    quote! {
        #asyncness fn #trait_name(#inputs) #output {
            Self::#ident(self, #(#names),*) #wait
        }
    }
}
