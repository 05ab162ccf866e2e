//! What rave's pages for browsers have in common: headers that let a page do nothing but what it is for, and files
//! that are part of the program.

use std::sync::Arc;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::digest::Digest;

/// Headers of every answer. The policy (CSP level 3) lets a page load its own scripts, styles and data, nothing
/// inline and nothing from elsewhere.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        HeaderName::from_static("content-security-policy"),
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    (HeaderName::from_static("x-frame-options"), "DENY"),
    (HeaderName::from_static("referrer-policy"), "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Content types.
pub const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file that is part of the program.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Its name; how it ends tells its type.
    pub name: &'static str,
    /// What is in it.
    pub content: &'static str,
}

/// Colours and letters of all pages.
pub const BASE: Asset = Asset { name: "base.css", content: include_str!("assets/base.css") };
/// Lets a page be dark or light by a button, besides what the browser asks for.
pub const THEME: Asset = Asset { name: "theme.js", content: include_str!("assets/theme.js") };
/// The icon of all pages.
pub const ICON: Asset = Asset { name: "icon.svg", content: include_str!("assets/icon.svg") };

impl Asset {
    fn kind(&self) -> &'static str {
        match self.name.rsplit_once('.') {
            Some((_, "css")) => CSS,
            Some((_, "js")) => JAVASCRIPT,
            Some((_, "svg")) => SVG,
            _ => HTML,
        }
    }
}

/// Adds files at `path` followed by their names. They are asked for anew each time, and sent only if they differ from
/// what the browser has (RFC 9110, 13).
pub fn with_assets<S: Clone + Send + Sync + 'static>(mut routes: Router<S>, path: &str, assets: &[Asset]) -> Router<S> {
    for asset in assets.iter().copied() {
        routes = routes.route(&format!("{path}{}", asset.name), page(asset));
    }
    routes
}

/// Answers with one file.
pub fn page<S: Clone + Send + Sync + 'static>(asset: Asset) -> axum::routing::MethodRouter<S> {
    let tag: Arc<str> = format!("\"{}\"", Digest::of(asset.content.as_bytes())).into();
    get(async move |headers: HeaderMap| file(asset, &tag, &headers))
}

/// Adds the headers to whatever is answered; what is not a file of the program is kept nowhere.
pub fn secured(routes: Router) -> Router {
    routes.layer(map_response(async |mut response: Response| {
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }))
}

fn file(asset: Asset, tag: &str, asked: &HeaderMap) -> Response {
    let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    // A proxy that compresses makes the tag a weak one.
    let fresh = known
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|value| value == "*" || value.strip_prefix("W/").unwrap_or(value) == tag);
    let headers = [(ETAG, tag), (CACHE_CONTROL, "no-cache")];
    if fresh {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(CONTENT_TYPE, asset.kind())], asset.content).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn files_have_types_and_are_sent_once() {
        let routes = secured(with_assets(Router::new(), "/assets/", &[BASE, THEME]));
        let ask = async |path: &str, tag: &str| {
            let request = Request::get(path).header(IF_NONE_MATCH, tag).body(Body::empty()).unwrap();
            routes.clone().oneshot(request).await.unwrap()
        };
        let first = ask("/assets/theme.js", "\"other\"").await;
        assert_eq!(
            (first.status(), &first.headers()[CONTENT_TYPE]),
            (StatusCode::OK, &HeaderValue::from_static(JAVASCRIPT))
        );
        assert_eq!(first.headers()[CACHE_CONTROL], "no-cache");
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            assert_eq!(ask("/assets/theme.js", &known).await.status(), StatusCode::NOT_MODIFIED, "{known}");
        }
        assert_eq!(ask("/assets/base.css", &tag).await.status(), StatusCode::OK);
        let missing = ask("/assets/none.js", "").await;
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        for response in [first, missing] {
            let policy = response.headers()["content-security-policy"].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
            assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        }
    }
}
