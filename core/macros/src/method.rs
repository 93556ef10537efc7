//! A method that clients call, as it is written: name, options, parameters, result.

use crate::check::{self, Mistakes};
use crate::text;
use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, GenericParam, Ident, ImplItemFn, Lit, LitStr, Pat,
    PatType, Receiver, ReceiverKind, ReturnType, Safety, Signature, Token, Type, parse_quote,
};

/// A method that clients call.
pub(crate) struct Method {
    pub(crate) ident: Ident,
    pub(crate) name: LitStr,
    pub(crate) doc: String,
    pub(crate) deadline: Option<TokenStream>,
    pub(crate) is_async: bool,
    /// The type of its context, if it takes one.
    pub(crate) cx: Option<Type>,
    pub(crate) params: Vec<Param>,
    /// Whether the only parameter is read as it comes.
    pub(crate) upload: bool,
    pub(crate) output: Output,
}

/// A parameter that clients give.
pub(crate) struct Param {
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) ty: Type,
    /// What `Option` holds.
    pub(crate) option: Option<Type>,
    pub(crate) default: Option<DefaultValue>,
}

/// What stands for an argument that is left out.
pub(crate) enum DefaultValue {
    /// `#[rpc(default)]`
    OfType,
    /// `#[rpc(default = expression)]`
    Value(Box<Expr>),
}

/// What a method gives back.
pub(crate) struct Output {
    pub(crate) ty: Type,
    /// The value, if the type is a `Result`.
    pub(crate) ok: Option<Type>,
}

impl Method {
    /// Whether it is run while the call is decoded, so that its arguments may be borrowed.
    pub(crate) const fn runs_at_once(&self) -> bool {
        !self.is_async && self.cx.is_none()
    }

    /// What is decoded from a call: all parameters, but for an upload.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Param> + Clone {
        let all = if self.upload { &[][..] } else { &*self.params };
        all.iter()
    }

    /// Reads a method with its `#[rpc(..)]`, and takes the attributes of its parameters away.
    pub(crate) fn read(
        item: &mut ImplItemFn,
        rpc: &Attribute,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let options = mistakes.keep(rpc.parse_args::<Options>().map_err(|error| {
            if matches!(rpc.meta, syn::Meta::Path(_)) {
                Error::new_spanned(
                    rpc,
                    "the name that clients call is missing: #[rpc(\"scope.capture\")]",
                )
            } else {
                error
            }
        }));
        if let Some(options) = &options {
            mistakes.keep(check::name(&options.name, "a method"));
        }
        if let Some(cfg) = item.attrs.iter().find(|attr| attr.path().is_ident("cfg")) {
            mistakes.push(Error::new_spanned(
                cfg,
                "a method that clients call cannot be left out by `cfg`; leave out its service, \
                    and join services by #[derive(wslink::Service)]",
            ));
        }
        let signature = &mut item.sig;
        is_callable(signature, mistakes);
        let is_async = signature.asyncness.is_some();
        let cx = context(signature, mistakes);
        let borrows = match (is_async, &cx) {
            (false, None) => None,
            (true, _) => Some("this method is `async`"),
            (false, Some(_)) => Some("this method takes `cx`"),
        };
        let upload = takes_upload(signature, is_async, mistakes);
        let borrows = borrows.filter(|_| !upload);
        let mut params = Vec::new();
        for input in &mut signature.inputs {
            let FnArg::Typed(input) = input else { continue };
            if is_cx(&input.ty) {
                continue;
            }
            let Some(param) = mistakes.keep(Param::read(input, borrows)) else { continue };
            if params.iter().any(|other: &Param| other.name == param.name) {
                let message = format!("two parameters are called `{}`", param.name);
                mistakes.push(Error::new_spanned(&param.ident, message));
            }
            params.push(param);
        }
        let output = mistakes.keep(Output::read(&signature.output));
        // Clients give as many as the method is about; a struct in between would change that.
        if signature.inputs.len() > 7 {
            item.attrs.push(parse_quote!(#[allow(clippy::too_many_arguments)]));
        }
        let Options { name, deadline } = options?;
        Some(Self {
            ident: signature.ident.clone(),
            name,
            doc: text::doc(&item.attrs),
            deadline,
            is_async,
            cx,
            params,
            upload,
            output: output?,
        })
    }
}

/// What stands in a method's `#[rpc(..)]`.
struct Options {
    name: LitStr,
    deadline: Option<TokenStream>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if !input.peek(LitStr) {
            return Err(
                input.error("first comes the name that clients call: #[rpc(\"scope.capture\")]")
            );
        }
        let mut it = Self { name: input.parse()?, deadline: None };
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            let option = input.call(Ident::parse_any)?;
            if option != "deadline" {
                let message = format!("unknown option `{option}`; there is: deadline = \"5s\"");
                return Err(Error::new_spanned(&option, message));
            }
            if it.deadline.is_some() {
                return Err(Error::new_spanned(&option, "`deadline` is given twice"));
            }
            input.parse::<Token![=]>()?;
            it.deadline = Some(match input.parse()? {
                Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
                    let duration = text::duration(&text)?;
                    let (secs, nanos) = (duration.as_secs(), duration.subsec_nanos());
                    quote!(::core::time::Duration::new(#secs, #nanos))
                }
                Expr::Lit(other) => {
                    let message = "a deadline has a unit, as in \"5s\"";
                    return Err(Error::new_spanned(&other, message));
                }
                expression => quote!(#expression),
            });
        }
        Ok(it)
    }
}

/// Refuses what no client can call.
fn is_callable(signature: &Signature, mistakes: &mut Mistakes) {
    if let Some(param) = signature.generics.params.first() {
        mistakes.push(Error::new_spanned(
            param,
            match param {
                GenericParam::Lifetime(_) => {
                    "a method that clients call has no lifetimes of its own; leave them out, or \
                        write `'_`"
                }
                _ => {
                    "a method that clients call cannot be generic: they could not say for which \
                    type"
                }
            },
        ));
    }
    let by_reference = |receiver: &Receiver| {
        matches!(receiver.kind, ReceiverKind::Reference(_, _, None))
            && receiver.mutability.is_none()
    };
    match signature.receiver() {
        Some(receiver) if by_reference(receiver) => {}
        Some(receiver) => mistakes.push(Error::new_spanned(
            receiver,
            "a method that clients call takes `&self`: calls run side by side",
        )),
        None => mistakes.push(Error::new_spanned(
            &signature.ident,
            "a method that clients call takes `&self` first",
        )),
    }
    if let Safety::Unsafe(token) = signature.safety {
        let message = "a method that clients call cannot be `unsafe`";
        mistakes.push(Error::new(token.span, message));
    }
}

/// The type of the call's context, if that is the first argument.
fn context(signature: &Signature, mistakes: &mut Mistakes) -> Option<Type> {
    let mut context = None;
    for (place, input) in signature.inputs.iter().enumerate() {
        let FnArg::Typed(PatType { pat, ty, .. }) = input else { continue };
        let named_cx = matches!(&**pat, Pat::Ident(pat) if pat.ident == "cx");
        match (is_cx(ty), place) {
            (true, 1) => context = Some((**ty).clone()),
            (true, _) => mistakes.push(Error::new_spanned(
                input,
                "the context comes first: `&self, cx: Cx<'_, ..>`, then what clients give",
            )),
            (false, _) if named_cx => mistakes.push(Error::new_spanned(
                ty,
                "`cx` is the call's context, of the type `Cx<'_, ..>`; call this parameter \
                    otherwise, or rename it to clients: #[rpc(name = \"cx\")]",
            )),
            _ => {}
        }
    }
    context
}

/// Whether a parameter is an upload, which then has to be the only one.
fn takes_upload(signature: &Signature, is_async: bool, mistakes: &mut Mistakes) -> bool {
    let typed = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(input) if !is_cx(&input.ty) => Some(input),
        _ => None,
    });
    let is_upload = |ty| check::last_name(ty).is_some_and(|name| name == "Upload");
    let (uploads, others): (Vec<_>, Vec<_>) = typed.partition(|input| is_upload(&input.ty));
    let Some((upload, more)) = uploads.split_first() else { return false };
    for other in more.iter().chain(&others) {
        let message = "a method that takes an `Upload` takes nothing else: it is all that clients \
            give";
        mistakes.push(Error::new_spanned(other, message));
    }
    if !is_async {
        let message = "an upload is read as it comes, by `upload.read(&mut buffer).await`; make \
            this an `async fn`";
        mistakes.push(Error::new_spanned(upload, message));
    }
    for attr in &upload.attrs {
        let is_default = |input: ParseStream<'_>| {
            let options = Punctuated::<ParamOption, Token![,]>::parse_terminated(input)?;
            Ok(options.iter().any(|it| matches!(it, ParamOption::Default(..))))
        };
        if attr.path().is_ident("rpc") && attr.parse_args_with(is_default).unwrap_or(false) {
            mistakes.push(Error::new_spanned(attr, "an upload cannot be left out"));
        }
    }
    true
}

fn is_cx(ty: &Type) -> bool {
    check::last_name(ty).is_some_and(|name| name == "Cx")
}

impl Param {
    /// `owned` says why its type cannot borrow from the call.
    fn read(input: &mut PatType, owned: Option<&str>) -> syn::Result<Self> {
        let mut options = ParamOptions::default();
        for attr in take(&mut input.attrs, "rpc") {
            attr.parse_args_with(|input: ParseStream<'_>| options.read(input))?;
        }
        let Pat::Ident(pat) = &*input.pat else {
            let message = match &*input.pat {
                Pat::Wild(_) => "a parameter has a name, by which clients may give it",
                _ => "a parameter is one name, by which clients may give it; take it apart inside",
            };
            return Err(Error::new_spanned(&input.pat, message));
        };
        let ty = (*input.ty).clone();
        if check::is_opaque(&ty) || matches!(ty, Type::ImplTrait(_)) {
            let message = "a parameter has one type, to which what clients give is turned; it \
                cannot be `impl Trait`";
            return Err(Error::new_spanned(&ty, message));
        }
        if let Some(why) = owned
            && check::borrows(&ty)
        {
            let message = format!(
                "a borrowed argument is gone when the call runs, and {why}; take an owned type, \
                    or make it a plain `fn` without `cx`, which runs while the message is there"
            );
            return Err(Error::new_spanned(&ty, message));
        }
        let name = match options.name {
            Some(name) => name.value(),
            None => pat.ident.unraw().to_string(),
        };
        if name == "wslink_token" {
            let message = "`wslink_token` is taken away before a method sees its arguments";
            return Err(Error::new_spanned(&pat.ident, message));
        }
        let is_option = check::last_name(&ty).is_some_and(|name| name == "Option");
        let option = is_option.then(|| check::first_argument(&ty).cloned()).flatten();
        Ok(Self { ident: pat.ident.clone(), name, ty, option, default: options.default })
    }

    /// Whether clients may leave it out.
    pub(crate) const fn is_optional(&self) -> bool {
        self.option.is_some() || self.default.is_some()
    }
}

/// What stands in a parameter's `#[rpc(..)]`.
#[derive(Default)]
struct ParamOptions {
    name: Option<LitStr>,
    default: Option<DefaultValue>,
}

impl ParamOptions {
    fn read(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        for option in Punctuated::<ParamOption, Token![,]>::parse_terminated(input)? {
            let (span, again) = match option {
                ParamOption::Name(span, name) => (span, self.name.replace(name).is_some()),
                ParamOption::Default(span, default) => {
                    (span, self.default.replace(default).is_some())
                }
            };
            if again {
                return Err(Error::new(span, "this option is given twice"));
            }
        }
        Ok(())
    }
}

enum ParamOption {
    Name(Span, LitStr),
    Default(Span, DefaultValue),
}

impl Parse for ParamOption {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let option = input.call(Ident::parse_any)?;
        let span = option.span();
        if option == "default" {
            if input.parse::<Option<Token![=]>>()?.is_none() {
                return Ok(Self::Default(span, DefaultValue::OfType));
            }
            Ok(Self::Default(span, DefaultValue::Value(input.parse()?)))
        } else if option == "name" {
            input.parse::<Token![=]>()?;
            Ok(Self::Name(span, input.parse()?))
        } else {
            let message = format!(
                "unknown option `{option}`; there are: default, default = .., name = \"..\""
            );
            Err(Error::new(span, message))
        }
    }
}

impl Output {
    fn read(output: &ReturnType) -> syn::Result<Self> {
        let ty: Type = match output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        if check::is_opaque(&ty) {
            let message = "a result has a type by name: it is kept until it is sent; for a \
                future write `async fn`";
            return Err(Error::new_spanned(&ty, message));
        }
        if check::elides(&ty) {
            let message = "a result cannot borrow: it is sent when the method is over; give back \
                an owned value, or attach a blob";
            return Err(Error::new_spanned(&ty, message));
        }
        let ok = check::last_name(&ty).filter(|name| *name == "Result").map(|_| {
            check::first_argument(&ty)
                .cloned()
                .unwrap_or_else(|| parse_quote!(<#ty as ::wslink::__private::Outcome>::Value))
        });
        Ok(Self { ty, ok })
    }

    /// What is sent.
    pub(crate) fn value(&self) -> &Type {
        self.ok.as_ref().unwrap_or(&self.ty)
    }
}

/// Takes the attributes of this name away.
pub(crate) fn take(attrs: &mut Vec<Attribute>, name: &str) -> Vec<Attribute> {
    attrs.extract_if(.., |attr| attr.path().is_ident(name)).collect()
}
