//! What a type looks like. The macros see names, not types: only the compiler knows what a name stands for.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericArgument, Ident, PathArguments, Type, TypeParamBound};

const HANDLES: [&str; 3] = ["ReadTransaction", "WriteTransaction", "Connection"];

/// The type without the groups that macros put around it.
pub(crate) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        other => other,
    }
}

/// The last segment of a type that is a path: its name and its type arguments.
pub(crate) fn last_segment(ty: &Type) -> Option<(&Ident, Vec<&Type>)> {
    let Type::Path(path) = bare(ty) else {
        return None;
    };
    let segment = path.path.segments.last()?;
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(angled) => angled
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    Some((&segment.ident, arguments))
}

/// The name of a handle: `ReadTransaction`, `WriteTransaction`, `Connection`.
pub(crate) fn handle_name(ty: &Type) -> Option<String> {
    let (last, _) = last_segment(pointee(ty))?;
    HANDLES
        .iter()
        .any(|name| last == name)
        .then(|| last.to_string())
}

/// Whether a handle is anywhere in the type: `Option<&mut ReadTransaction>`, `&mut impl Handle`.
pub(crate) fn mentions_handle(ty: &Type) -> bool {
    mentions(ty, |name| {
        name == "Handle" || HANDLES.iter().any(|handle| name == handle)
    })
}

/// Whether a wanted name is anywhere in the type.
pub(crate) fn mentions(ty: &Type, is_wanted: impl Fn(&Ident) -> bool) -> bool {
    fn any(tokens: TokenStream, is_wanted: &dyn Fn(&Ident) -> bool) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(name) => is_wanted(&name),
            TokenTree::Group(group) => any(group.stream(), is_wanted),
            _ => false,
        })
    }
    any(ty.to_token_stream(), &is_wanted)
}

/// Whether a value of the type certainly runs no code of the program when it is dropped.
pub(crate) fn is_plain(ty: &Type) -> bool {
    const PLAIN: &str =
        "String bool char f32 f64 i128 i16 i32 i64 i8 isize u128 u16 u32 u64 u8 usize";
    match bare(ty) {
        Type::Reference(_) => true,
        Type::Array(array) => is_plain(&array.elem),
        Type::Tuple(tuple) => tuple.elems.iter().all(is_plain),
        ty => last_segment(ty).is_some_and(|(name, arguments)| {
            if name == "Option" || name == "Vec" {
                arguments.into_iter().all(is_plain)
            } else {
                PLAIN.split(' ').any(|plain| name == plain)
            }
        }),
    }
}

pub(crate) fn is_mutable_reference(ty: &Type) -> bool {
    matches!(bare(ty), Type::Reference(reference) if reference.mutability.is_some())
}

/// The type behind a reference; of any other type, the type itself.
pub(crate) fn pointee(ty: &Type) -> &Type {
    match bare(ty) {
        Type::Reference(reference) => bare(&reference.elem),
        other => other,
    }
}

/// The `T` of a declared `Result<T, E>`. `None` if an alias hides it.
pub(crate) fn value_type(declared: &Type) -> Option<&Type> {
    let (last, arguments) = last_segment(declared)?;
    if last == "Result" {
        arguments.first().copied()
    } else {
        None
    }
}

/// The `T` of `impl Future<Output = T>`.
pub(crate) fn future_output(declared: &Type) -> Option<&Type> {
    let Type::ImplTrait(bounds) = bare(declared) else {
        return None;
    };
    bounds.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else {
            return None;
        };
        let last = bound
            .path
            .segments
            .last()
            .filter(|last| last.ident == "Future")?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else {
            return None;
        };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(output) => Some(&output.ty),
            _ => None,
        })
    })
}

/// Whether the declared type can be a `Result`.
pub(crate) fn is_fallible(declared: &Type) -> bool {
    !is_plainly_not(declared, "Result")
}

/// Whether the type is certainly not `wanted`. An unknown name may be an alias, so it is left to the compiler.
pub(crate) fn is_plainly_not(ty: &Type, wanted: &str) -> bool {
    const STANDARD: &str = "Arc BTreeMap BTreeSet Box Cow Duration HashMap HashSet Instant NonZeroU32 NonZeroU64 Option \
        OsString PathBuf Rc Result Self String SystemTime Vec VecDeque bool char f32 f64 i128 i16 i32 i64 i8 isize str \
        u128 u16 u32 u64 u8 usize";
    let is_standard = |name: &Ident| STANDARD.split(' ').any(|standard| name == standard);
    match bare(pointee(ty)) {
        Type::Path(_) => {
            last_segment(pointee(ty)).is_some_and(|(last, _)| last != wanted && is_standard(last))
        }
        Type::Macro(_) | Type::Verbatim(_) => false,
        _ => true,
    }
}

/// The type as a user would write it.
pub(crate) fn shown(ty: &Type) -> String {
    let spaced = ty.to_token_stream().to_string();
    [
        (" < ", "<"),
        (" >", ">"),
        (" :: ", "::"),
        ("& ", "&"),
        (" ,", ","),
        ("' ", "'"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
    ]
    .iter()
    .fold(spaced, |text, (from, to)| text.replace(from, to))
}
